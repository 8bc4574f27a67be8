//go:build cgo && (linux || windows)

// Package vulkan runs graphs on GPUs through Vulkan, software ones included.
//
// A graph becomes a list of dispatches that is recorded into command buffers once, when it is compiled, and submitted again
// for each step. Shaders reach all memory by device addresses, which arrive in push constants: nothing is bound, and no
// buffer is too large. What is needed: Vulkan 1.1, 64-bit integers in shaders and VK_KHR_buffer_device_address.
//
// Calls that take arrays of structs, and what is newer than the binding, go through the C in this package (vk.h).
package vulkan

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Options choose a device and how it behaves; the zero Options are a device for use.
type Options struct {
	Device int // its number in the order of Devices
	Depth  int // runs that may be in flight: 1 or 2; 0 is 2
	// Fraction of the memory that was free when the device was opened which allocations may take; 0: all that the driver
	// gives. A thirty-second more is let pass: who divides the memory counts bytes, and blocks are larger.
	Fraction float64
	// Staged keeps weights out of reach of the processor even where it could write them directly: for tests of the path
	// that discrete GPUs take.
	Staged bool
	// Patience is how long a run may take before the device counts as lost; 0: a minute, an hour on a processor.
	Patience time.Duration
	Dot      Dot    // the arithmetic of quantised weights
	Matrix   Matrix // that of 16-bit ones
	// Validate turns the validation layers on; Close then fails with what they said.
	Validate bool
	// CacheDir is where compiled pipelines are kept; "": nowhere.
	CacheDir string
	// Fault, when set, is asked before every call that can fail. The call fails with what it answers. An answer that
	// wraps tensor.ErrDeviceLost loses the device.
	Fault func(call string) error
	// Profile is told of every run, with the times of its launches; nil: nothing is timed.
	Profile tensor.Profile
}

// Open opens a device.
func Open(o Options) (tensor.Device, error) {
	if o.Depth == 0 {
		o.Depth = 2
	}
	if o.Depth < 1 || o.Depth > 2 {
		return nil, fmt.Errorf("vulkan: depth %d; use 1 or 2", o.Depth)
	}
	in, err := newInstance(o.Validate)
	if err != nil {
		return nil, err
	}
	list, err := in.physicals()
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	if o.Device < 0 || o.Device >= len(list) {
		return nil, errors.Join(fmt.Errorf("vulkan: there is no device %d; there are %d, beginning with 0", o.Device, len(list)), in.close())
	}
	if lacks := list[o.Device].lacks(); len(lacks) > 0 {
		return nil, errors.Join(fmt.Errorf("vulkan: device %d, %s, cannot be used: it lacks %s", o.Device, list[o.Device].name(), strings.Join(lacks, ", ")), in.close())
	}
	d, err := newDevice(in, list[o.Device], o)
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	return d, nil
}

// Devices lists the devices, the most capable kind first: discrete GPUs, integrated ones, virtual ones, software, and last
// those that cannot be opened.
func Devices() ([]tensor.Info, error) {
	in, err := newInstance(false)
	if err != nil {
		return nil, err
	}
	list, err := in.physicals()
	if err != nil {
		return nil, errors.Join(err, in.close())
	}
	infos := make([]tensor.Info, len(list))
	for i, p := range list {
		infos[i] = p.info()
	}
	return infos, in.close()
}

// Software tells whether a device that Devices listed is a processor that plays a GPU.
func Software(i tensor.Info) bool { return i.Threads > 0 }
