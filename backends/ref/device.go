// Package ref is the executable definition of the tensor package: one goroutine, plain loops, sums in float64, weights
// decoded row by row by package quant. It is slow and made to be read; every other backend is compared with it.
//
// Results are rounded to float32 between operations and nowhere else.
package ref

import (
	"runtime"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// Options choose how a device behaves; the zero Options are a device for use.
type Options struct {
	Depth  int   // runs that may be in flight: 1 or 2; 0 is 2
	Memory int64 // bytes after which allocations fail with tensor.ErrOutOfMemory; 0: no limit
	Poison bool  // fill the arena with NaN before each run, so that whatever reads garbage shows
	// Fault, when set, is asked before every call that could fail on a real device: each allocation, piece of an
	// upload, compilation, start and wait. The call fails with what it answers. An answer that wraps
	// tensor.ErrDeviceLost loses the device.
	Fault   func(call string) error
	Profile tensor.Profile // nil: nothing is timed
}

// Open makes a device.
func Open(o Options) (tensor.Device, error) {
	var err error
	if o.Depth, err = lifetime.Depth("ref", o.Depth); err != nil {
		return nil, err
	}
	d := &device{options: o}
	d.Init("ref", o.Depth, o.Fault)
	go d.Work()
	return d, nil
}

// device runs its programs on one goroutine, in the order in which they were started.
type device struct {
	lifetime.Device
	options Options
}

func (d *device) Info() tensor.Info {
	return tensor.Info{
		Backend:   "ref",
		Name:      "reference",
		Detail:    runtime.GOARCH + ", float64 sums",
		Memory:    d.options.Memory,
		Free:      d.options.Memory,
		Shared:    true,
		Threads:   1,
		Depth:     d.options.Depth,
		HeadRows:  64,
		Formats:   tensor.WeightFormats(),
		KVFormats: kvFormats(),
	}
}

func kvFormats() []tensor.Format {
	return []tensor.Format{tensor.F32, tensor.F16, tensor.BF16, tensor.Q8_0}
}

func (d *device) Close() error { return d.Shut(func() error { return nil }) }
