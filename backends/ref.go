package backends

import (
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
)

// refBackend is the oracle: always there, never chosen automatically.
func refBackend() Backend {
	return Backend{
		Name: "ref",
		Devices: func() ([]tensor.Info, error) {
			return describe(func() (tensor.Device, error) { return ref.Open(ref.Options{}) })
		},
		Open: func(id int, o Options) (tensor.Device, error) {
			return single("ref", id, func() (tensor.Device, error) { return ref.Open(ref.Options{Profile: o.Profile}) })
		},
	}
}
