//go:build cgo && (linux || windows)

package qwen3_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/model/internal/golden"
	"github.com/ullm/ullm/tensor"
)

// TestVulkanGoldens holds the Vulkan backend against transformers: as it serves, it must not be further off than
// transformers' own bfloat16; with all in float32, no further than the oracle may. With integer dot products it rounds
// activations as the CPU does, and may be as far off.
func TestVulkanGoldens(t *testing.T) {
	cases, err := golden.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			d := openVulkan(t, vulkan.Options{Dot: vulkan.DotNever, Matrix: vulkan.MatrixNever})
			diff := compare(t, d, c, d.Info().KVFormats[0])
			t.Logf("mean %.2g worst %.2g; transformers in bfloat16: mean %.2g worst %.2g", diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			if diff.Mean > c.BF16.Mean || diff.Worst > c.BF16.Worst {
				t.Errorf("mean difference in logprob %g, worst %g; transformers in bfloat16 has %g and %g",
					diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			}
			if c.Format != tensor.F32.String() {
				return
			}
			if exactly := compare(t, openVulkan(t, vulkan.Options{Dot: vulkan.DotNever, Matrix: vulkan.MatrixNever}), c, tensor.F32); exactly.Worst > exact {
				t.Errorf("all in float32: worst difference in logprob %g, want at most %g", exactly.Worst, exact)
			}
		})
	}
	for _, c := range cases {
		if f, err := tensor.ParseFormat(c.Format); err == nil && !f.Quantized() {
			continue
		}
		t.Run(c.Name+", integer dot products", func(t *testing.T) {
			d := openVulkan(t, vulkan.Options{Dot: vulkan.DotAlways})
			diff := compare(t, d, c, d.Info().KVFormats[0])
			t.Logf("mean %.2g worst %.2g; transformers in bfloat16: mean %.2g worst %.2g", diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			if diff.Mean > int8Factor*c.BF16.Mean || diff.Worst > int8Factor*c.BF16.Worst {
				t.Errorf("mean difference in logprob %g, worst %g; transformers in bfloat16 has %g and %g, of which %g times are allowed",
					diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst, int8Factor)
			}
		})
	}
}

// TestVulkanMatrixGoldens: 16-bit weights by cooperative matrices, whose activations are rounded to f16, are no further from
// transformers than its own bfloat16 is.
func TestVulkanMatrixGoldens(t *testing.T) {
	probe := openVulkan(t, vulkan.Options{})
	limits := strings.Join(probe.Info().Limits, "; ")
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}
	if has, lacks, _ := strings.Cut(limits, "; not "); strings.Contains(lacks, "cooperative matrices") || !strings.Contains(has, "cooperative matrices") {
		t.Skipf("%s has no cooperative matrices (lavapipe has them since Mesa 26)", probe.Info().Name)
	}
	cases, err := golden.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if c.Format != tensor.F16.String() && c.Format != tensor.BF16.String() {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			d := openVulkan(t, vulkan.Options{Matrix: vulkan.MatrixAlways})
			diff := compare(t, d, c, d.Info().KVFormats[0])
			t.Logf("mean %.2g worst %.2g; transformers in bfloat16: mean %.2g worst %.2g", diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			if diff.Mean > c.BF16.Mean || diff.Worst > c.BF16.Worst {
				t.Errorf("mean difference in logprob %g, worst %g; transformers in bfloat16 has %g and %g",
					diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			}
		})
	}
}

// openVulkan opens the first Vulkan device, and skips where there is none.
func openVulkan(t *testing.T, o vulkan.Options) tensor.Device {
	t.Helper()
	d, err := vulkan.Open(o)
	if errors.Is(err, vulkan.ErrNoVulkan) {
		t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}
