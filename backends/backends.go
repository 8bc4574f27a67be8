// Package backends opens a device by name. One explicit table says what was built into this binary.
package backends

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/ullm/ullm/tensor"
)

// Options open a device.
type Options struct {
	Threads  int    // CPU worker threads; 0: one for each core
	CPULevel string // instructions that the CPU backend uses, as cpu.ParseLevel takes them; "": the best
	// MemoryUtilization is the share of the memory free when the device is opened that a GPU's allocations may take; 0: all.
	MemoryUtilization float64
	Profile           tensor.Profile // is told of every run; nil: nothing is timed
	Log               *slog.Logger
}

// Backend is a row of the table.
type Backend struct {
	Name string
	// Missing says why the backend is not in this binary and what to build instead; "" where it is.
	Missing string
	// Auto tells whether --backend auto may choose the device, given what it is.
	Auto func(tensor.Info) bool
	// Devices lists the devices, or says why there is none.
	Devices func() ([]tensor.Info, error)
	// Open opens device number id.
	Open func(id int, o Options) (tensor.Device, error)
}

// ErrMissing: the backend was not built into this binary.
var ErrMissing = errors.New("not in this build")

// Table lists the backends in the order in which "auto" tries them.
func Table() []Backend { return []Backend{cuda(), vulkan(), cpuBackend(), refBackend()} }

// Open opens device id of the named backend. "auto" takes the first backend that has a suitable device; the log says
// which, and why not the ones before it.
func Open(name string, id int, o Options) (tensor.Device, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if id < 0 {
		return nil, fmt.Errorf("backends: there is no device %d; devices are numbered from 0", id)
	}
	if name == "auto" {
		return openAuto(id, o)
	}
	var names []string
	for _, b := range Table() {
		names = append(names, b.Name)
		if b.Name != name {
			continue
		}
		if b.Missing != "" {
			return nil, fmt.Errorf("backends: %s is %w: %s", name, ErrMissing, b.Missing)
		}
		return b.Open(id, o)
	}
	return nil, fmt.Errorf("backends: there is no backend %q; use auto, %s", name, strings.Join(names, ", "))
}

func openAuto(id int, o Options) (tensor.Device, error) {
	for _, b := range Table() {
		if b.Auto == nil {
			continue
		}
		why := b.Missing
		if why == "" {
			switch infos, err := b.Devices(); {
			case err != nil:
				why = err.Error()
			case id >= len(infos):
				why = fmt.Sprintf("it has no device %d", id)
			case infos[id].Lacks != "":
				why = fmt.Sprintf("%s lacks %s", infos[id].Name, infos[id].Lacks)
			case !b.Auto(infos[id]):
				why = fmt.Sprintf("%s is not chosen automatically", infos[id].Name)
			default:
				d, err := b.Open(id, o)
				if err == nil {
					o.Log.Info("backend chosen", "backend", b.Name, "device", infos[id].Name)
					return d, nil
				}
				why = err.Error()
			}
		}
		o.Log.Info("backend passed over", "backend", b.Name, "why", why)
	}
	return nil, fmt.Errorf("backends: no usable device %d; the log says why each backend was passed over", id)
}

// any device will do.
func always(tensor.Info) bool { return true }

// single opens a backend that has one device.
func single(name string, id int, open func() (tensor.Device, error)) (tensor.Device, error) {
	if id != 0 {
		return nil, fmt.Errorf("backends: %s has one device, number 0; there is no device %d", name, id)
	}
	return open()
}

// describe opens a device just to tell what it is.
func describe(open func() (tensor.Device, error)) ([]tensor.Info, error) {
	d, err := open()
	if err != nil {
		return nil, err
	}
	info := d.Info()
	return []tensor.Info{info}, d.Close()
}
