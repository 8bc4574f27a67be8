package backends

import (
	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
)

// cpuBackend is every machine's fallback.
func cpuBackend() Backend {
	return Backend{
		Name: "cpu",
		Auto: always,
		Devices: func() ([]tensor.Info, error) {
			return describe(func() (tensor.Device, error) { return cpu.Open(cpu.Options{}) })
		},
		Open: func(id int, o Options) (tensor.Device, error) {
			return single("cpu", id, func() (tensor.Device, error) {
				level, err := cpu.ParseLevel(o.CPULevel)
				if err != nil {
					return nil, err
				}
				return cpu.Open(cpu.Options{Threads: o.Threads, Level: level, Profile: o.Profile})
			})
		},
	}
}
