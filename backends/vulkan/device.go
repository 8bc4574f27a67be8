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

	"github.com/ullm/ullm/tensor"
)

// device submits its programs' runs to one queue in the order in which they were started; a goroutine waits for them in
// that order.
type device struct {
	options  Options
	instance *instance
	physical *physical
	raw      *C.ullm_device
	memory   memory
	shaders  shaders
	transfer transfer
	ledger   tensor.Ledger
	stopped  chan struct{} // closed when the waiting goroutine has ended
	close    sync.Once
	leaks    error       // what Close answers
	hung     atomic.Bool // it did not answer in time: nothing may wait for it, or touch what it works on

	submit sync.Mutex // one submission at a time

	mu      sync.Mutex
	changed sync.Cond // signalled when anything below changes
	closed  bool
	queue   []*step // submitted, not done
	flying  int     // started, not done
	live    map[child]bool
}

// child is something that was made on the device and must be closed before it.
type child interface {
	Close() error
	what() string
}

func newDevice(in *instance, p *physical, o Options) (*device, error) {
	d := &device{options: o, instance: in, physical: p, live: map[child]bool{}, stopped: make(chan struct{})}
	d.changed.L = &d.mu
	if o.Patience == 0 {
		d.options.Patience = time.Minute
		if p.software() {
			d.options.Patience = time.Hour
		}
	}
	if err := d.fault("vkCreateDevice"); err != nil {
		return nil, err
	}
	if r := C.ullm_device_create(in.getProc, in.raw(), unsafe.Pointer(p.handle), &p.facts, &d.raw); r != 0 {
		return nil, result(vk.Result(r), "open "+p.name())
	}
	d.memory.init(d)
	if err := d.shaders.init(d); err != nil {
		C.ullm_device_destroy(d.raw)
		return nil, err
	}
	go d.work()
	return d, nil
}

func (d *device) Info() tensor.Info {
	i := d.physical.info()
	i.Depth = d.options.Depth
	return i
}

func (d *device) Stats() tensor.Stats { return d.ledger.Stats() }

func (d *device) Close() error {
	d.close.Do(func() {
		d.mu.Lock()
		d.closed = true
		d.changed.Broadcast()
		left := make([]child, 0, len(d.live))
		for c := range d.live {
			left = append(left, c)
		}
		d.mu.Unlock()
		<-d.stopped
		lost := d.lost()
		for _, c := range left {
			err := c.Close()
			if !lost {
				d.leaks = errors.Join(d.leaks, fmt.Errorf("vulkan: closed while %s was still open", c.what()), err)
			}
		}
		if d.hung.Load() {
			return // what the device may still be working on is left to the system, which takes it when the process ends
		}
		C.ullm_device_wait_idle(d.raw)
		d.transfer.destroy()
		d.shaders.destroy()
		d.memory.destroy()
		C.ullm_device_destroy(d.raw)
		d.leaks = errors.Join(d.leaks, d.instance.close())
	})
	return d.leaks
}

// call asks the injected fault, and fails on a device that is closed or lost.
func (d *device) call(format string, args ...any) error {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("vulkan: %s: device is %w", fmt.Sprintf(format, args...), tensor.ErrClosed)
	case d.lost():
		return fmt.Errorf("vulkan: %s: %w", fmt.Sprintf(format, args...), tensor.ErrDeviceLost)
	}
	return d.fault(format, args...)
}

// lost tells whether the device does not answer any more.
func (d *device) lost() bool { return d.ledger.Stats().Lost }

// fault asks the injected fault.
func (d *device) fault(format string, args ...any) error {
	if d.options.Fault == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	err := d.options.Fault(what)
	if err == nil {
		return nil
	}
	if errors.Is(err, tensor.ErrDeviceLost) {
		d.ledger.SetLost()
	}
	return fmt.Errorf("vulkan: %s: %w", what, err)
}

// check turns a call's result into an error; a lost device is remembered.
func (d *device) check(r C.int, what string) error {
	if r == 0 {
		return nil
	}
	err := result(vk.Result(r), what)
	if errors.Is(err, tensor.ErrDeviceLost) {
		d.ledger.SetLost()
	}
	return err
}

// add registers c, unless the device was closed meanwhile.
func (d *device) add(c child) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("vulkan: %s: device is %w", c.what(), tensor.ErrClosed)
	}
	d.live[c] = true
	return nil
}

// remove unregisters c and tells whether it was registered: whether this is its first Close.
func (d *device) remove(c child) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.live[c] {
		return false
	}
	delete(d.live, c)
	return true
}

// await waits for a submission as long as patience lasts. A device that does not answer is lost.
func (d *device) await(c *C.ullm_commands, what string) error {
	if d.hung.Load() {
		return fmt.Errorf("vulkan: %s: %w", what, tensor.ErrDeviceLost)
	}
	r := C.ullm_wait(d.raw, c, C.uint64_t(d.options.Patience))
	if r != C.int(vk.Timeout) {
		return d.check(r, what)
	}
	d.hung.Store(true)
	C.ullm_device_abandon(d.raw)
	d.ledger.SetLost()
	return fmt.Errorf("vulkan: %s: no answer in %v: %w", what, d.options.Patience, tensor.ErrDeviceLost)
}

// work waits for what was started until the device is closed and nothing is left.
func (d *device) work() {
	defer close(d.stopped)
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		for len(d.queue) == 0 && !d.closed {
			d.changed.Wait()
		}
		if len(d.queue) == 0 {
			return
		}
		s := d.queue[0]
		d.queue = append(d.queue[:0], d.queue[1:]...)
		d.mu.Unlock()
		s.finish()
		d.mu.Lock()
		d.flying--
		s.program.flying--
		s.program.slots = append(s.program.slots, s.slot)
		s.done <- struct{}{}
		d.changed.Broadcast()
	}
}
