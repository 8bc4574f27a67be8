package backends

import (
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
)

// cpuBackend is every machine's fallback.
func cpuBackend() Backend {
	open := func() (tensor.Device, error) { return ref.Open(ref.Options{}) } // until backends/cpu lands
	return Backend{
		Name:    "cpu",
		Auto:    always,
		Devices: func() ([]tensor.Info, error) { return describe(open) },
		Open:    func(id int, _ Options) (tensor.Device, error) { return single("cpu", id, open) },
	}
}
