package cpu_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance runs every path that the machine has, at more threads than it may have cores.
func TestConformance(t *testing.T) {
	for _, level := range cpu.Levels() {
		t.Run(level.String(), func(t *testing.T) {
			tensortest.Run(t, func(t testing.TB, fault tensortest.Fault) tensor.Device {
				d, err := cpu.Open(cpu.Options{Level: level, Threads: 3, Guard: true, Fault: fault})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, config(level))
		})
	}
}

func config(l cpu.Level) tensortest.Config {
	c := tensortest.Config{Guards: cpu.CheckGuards}
	if l == cpu.AVX512BF16 {
		// The suite's figure is an average over many activations; some cases have a single one.
		const reason = "activations are rounded to bf16: by up to 2⁻⁸ where there is but one"
		for _, op := range []tensor.Op{tensor.OpLinear, tensor.OpLinearSwiGLU, tensor.OpEmbed} {
			c.Tolerances = append(c.Tolerances, tensortest.Tolerance{Op: op, Format: tensor.BF16, RMS: 4e-3, Max: 2e-2, Reason: reason})
		}
	}
	return c
}
