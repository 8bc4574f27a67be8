//go:build cgo && (linux || windows)

package vulkan_test

import (
	"errors"
	"flag"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Under the validation layers tests take hardly longer: what is slow is the software that plays a GPU.
var validate = flag.Bool("validate", true, "run everything under the validation layers, where they are installed; closing a device fails with what they say")

// open opens the first device, and skips where there is none.
func open(t testing.TB, o vulkan.Options) tensor.Device {
	t.Helper()
	o.Validate = *validate
	d, err := vulkan.Open(o)
	if errors.Is(err, vulkan.ErrNoLayers) {
		o.Validate = false
		d, err = vulkan.Open(o)
	}
	if errors.Is(err, vulkan.ErrNoVulkan) {
		t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	conformance(t, vulkan.Options{Dot: vulkan.DotNever, Matrix: vulkan.MatrixNever}, nil)
}

// TestConformanceDot runs quantised weights by integer dot products, which software has, and slowly.
func TestConformanceDot(t *testing.T) {
	conformance(t, vulkan.Options{Dot: vulkan.DotAlways, Matrix: vulkan.MatrixNever},
		slices.DeleteFunc(tensor.WeightFormats(), func(f tensor.Format) bool { return !f.Quantized() }))
}

// TestConformanceMatrix runs 16-bit weights by cooperative matrices, which software may have.
func TestConformanceMatrix(t *testing.T) {
	needMatrices(t)
	conformance(t, vulkan.Options{Matrix: vulkan.MatrixAlways}, []tensor.Format{tensor.F16, tensor.BF16})
}

// needMatrices skips where the first device has no cooperative matrices.
func needMatrices(t *testing.T) {
	t.Helper()
	d := open(t, vulkan.Options{Matrix: vulkan.MatrixAlways})
	has := vulkan.Matrices(d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !has {
		t.Skipf("%s (%s) has no cooperative matrices (lavapipe has them since Mesa 26)", d.Info().Name, d.Info().Detail)
	}
}

// conformance runs the whole suite; with formats, what multiplies by weights of these.
func conformance(t *testing.T, o vulkan.Options, formats []tensor.Format) {
	tensortest.Run(t, func(t testing.TB, fault tensortest.Fault) tensor.Device {
		opened := false // the suite's devices must open; TestOpenFaults fails what Open calls
		o := o
		o.Fault = func(call string) error {
			if !opened || fault == nil {
				return nil
			}
			return fault(call)
		}
		d := open(t, o)
		opened = true
		return d
	}, tensortest.Config{Formats: formats})
}

// openValidated opens the first device with the validation layers on, and skips where they are not installed.
func openValidated(t testing.TB, o vulkan.Options) tensor.Device {
	t.Helper()
	o.Validate = true
	d, err := vulkan.Open(o)
	if errors.Is(err, vulkan.ErrNoVulkan) || errors.Is(err, vulkan.ErrNoLayers) {
		t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers, vulkan-validationlayers)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}
