//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// device submits its programs' runs to one queue in the order in which they were started; a goroutine waits for them in
// that order.
type device struct {
	lifetime.Device
	options  Options
	instance *instance
	physical *physical
	raw      *C.ullm_device
	memory   memory
	shaders  shaders
	transfer transfer
	matrix   matrix
	dot      bool        // quantised weights are multiplied by integer dot products
	hung     atomic.Bool // it did not answer in time: nothing may wait for it, or touch what it works on
	submit   sync.Mutex  // one submission at a time
}

func newDevice(in *instance, p *physical, o Options) (*device, error) {
	d := &device{options: o, instance: in, physical: p, dot: o.Dot.on(p), matrix: o.Matrix.on(p)}
	d.Init("vulkan", o.Depth, o.Fault)
	if o.Patience == 0 {
		d.options.Patience = time.Minute
		if p.software() {
			d.options.Patience = time.Hour
		}
	}
	if err := d.Fault("vkCreateDevice"); err != nil {
		return nil, err
	}
	if r := C.ullm_device_create(in.getProc, in.raw(), unsafe.Pointer(p.handle), &p.facts, C.int(min(d.matrix.m, 1)), &d.raw); r != 0 {
		return nil, result(vk.Result(r), "open "+p.name())
	}
	d.memory.init(d)
	if err := d.shaders.init(d); err != nil {
		C.ullm_device_destroy(d.raw)
		return nil, err
	}
	go d.Work()
	return d, nil
}

func (d *device) Info() tensor.Info {
	i := d.physical.info()
	i.Depth = d.options.Depth
	return i
}

func (d *device) Close() error {
	return d.Shut(func() error {
		if d.hung.Load() {
			return nil // what the device may still be working on is left to the system, which takes it when the process ends
		}
		C.ullm_device_wait_idle(d.raw)
		d.transfer.destroy()
		d.shaders.destroy()
		d.memory.destroy()
		C.ullm_device_destroy(d.raw)
		return d.instance.close()
	})
}

// check turns a call's result into an error; a lost device is remembered.
func (d *device) check(r C.int, what string) error {
	if r == 0 {
		return nil
	}
	err := result(vk.Result(r), what)
	if errors.Is(err, tensor.ErrDeviceLost) {
		d.Ledger.SetLost()
	}
	return err
}

// await waits for a submission as long as patience lasts. A device that does not answer is lost, and so is one that cannot be
// asked: a wait may fail for want of memory while the run goes on, and what it works on must not be touched.
func (d *device) await(c *C.ullm_commands, what string) error {
	if d.hung.Load() {
		return fmt.Errorf("vulkan: %s: %w", what, tensor.ErrDeviceLost)
	}
	r := vk.NotReady
	for tries := 0; r != vk.Timeout && tries < 10; tries++ {
		r = vk.Result(C.ullm_wait(d.raw, c, C.uint64_t(d.options.Patience)))
		if r == vk.Success || r == vk.ErrorDeviceLost {
			return d.check(C.int(r), what)
		}
	}
	d.hung.Store(true)
	C.ullm_device_abandon(d.raw)
	d.Ledger.SetLost()
	return fmt.Errorf("vulkan: %s: no answer in %v (result %d): %w", what, d.options.Patience, r, tensor.ErrDeviceLost)
}
