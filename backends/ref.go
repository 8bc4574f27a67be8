package backends

import (
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
)

// refBackend is the oracle: always there, never chosen automatically.
func refBackend() Backend {
	open := func() (tensor.Device, error) { return ref.Open(ref.Options{}) }
	return Backend{
		Name:    "ref",
		Devices: func() ([]tensor.Info, error) { return describe(open) },
		Open:    func(id int, _ Options) (tensor.Device, error) { return single("ref", id, open) },
	}
}
