//go:build cgo && (linux || windows)

package vulkan_test

import (
	"errors"
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Under the validation layers tests take hardly longer: what is slow is the software that plays a GPU.
var validate = flag.Bool("validate", true, "run everything under the validation layers, where they are installed; closing a device fails with what they say")

// full is for a GPU, or for somebody who can wait: in software the whole suite takes the better part of an hour.
var full = flag.Bool("full", false, "run the whole conformance suite, not every third case")

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

func TestConformance(t *testing.T) { conformance(t, vulkan.DotNever) }

// TestConformanceDot runs quantised weights by integer dot products, which software has, and slowly.
func TestConformanceDot(t *testing.T) { conformance(t, vulkan.DotAlways) }

func conformance(t *testing.T, dot vulkan.Dot) {
	tensortest.Run(t, func(t testing.TB, fault tensortest.Fault) tensor.Device {
		opened := false // the suite's devices must open; TestOpenFaults fails what Open calls
		d := open(t, vulkan.Options{Dot: dot, Fault: func(call string) error {
			if !opened || fault == nil {
				return nil
			}
			return fault(call)
		}})
		opened = true
		return d
	}, tensortest.Config{Quick: !*full})
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
