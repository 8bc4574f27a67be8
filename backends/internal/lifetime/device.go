// Package lifetime is what the devices of all backends share: what is open on them, their memory on the ledger, the runs in
// flight and their order, the faults that tests inject, and an end that frees everything and names what was left open.
package lifetime

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ullm/ullm/tensor"
)

// Device is the part of a device that does not depend on what it is. A backend's device embeds it, calls Init, and has Work
// running on a goroutine until Shut returns.
type Device struct {
	Ledger  tensor.Ledger
	backend string
	depth   int
	inject  func(call string) error
	stopped chan struct{} // closed when Work has ended
	shut    sync.Once
	leaks   error // what Shut answers

	mu      sync.Mutex
	changed sync.Cond // signalled when anything below changes
	closed  bool
	alone   bool    // somebody has the device's memory to himself
	queue   []*step // started, not done
	flying  int     // how many they are
	open    map[Child]bool
}

// Child is something that was made on a device and must be closed before it.
type Child interface {
	Close() error
	What() string // its name in messages
}

// Init readies a device of the named backend for depth runs in flight. inject is asked before every call that could fail
// (nil: none is failed): the call fails with what it answers, and an answer that wraps tensor.ErrDeviceLost loses the device.
func (d *Device) Init(backend string, depth int, inject func(call string) error) {
	d.backend, d.depth, d.inject = backend, depth, inject
	d.stopped = make(chan struct{})
	d.changed.L = &d.mu
	d.open = map[Child]bool{}
}

// Depth is how many runs may be in flight: 1 or 2, where options 0 stands for 2.
func Depth(backend string, depth int) (int, error) {
	switch depth {
	case 0:
		return 2, nil
	case 1, 2:
		return depth, nil
	}
	return 0, fmt.Errorf("%s: depth %d; use 1 or 2", backend, depth)
}

// Stats reads the ledger.
func (d *Device) Stats() tensor.Stats { return d.Ledger.Stats() }

// Lost tells whether the device does not answer any more.
func (d *Device) Lost() bool { return d.Ledger.Stats().Lost }

// Call asks whether a call may be made: not on a device that is closed or lost, nor one whose fault is injected.
func (d *Device) Call(what string) error {
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: %s: device is %w", d.backend, what, tensor.ErrClosed)
	case d.Lost():
		return fmt.Errorf("%s: %s: %w", d.backend, what, tensor.ErrDeviceLost)
	}
	return d.Fault(what)
}

// Fault asks for an injected fault alone.
func (d *Device) Fault(what string) error {
	if d.inject == nil {
		return nil
	}
	err := d.inject(what)
	if err == nil {
		return nil
	}
	if errors.Is(err, tensor.ErrDeviceLost) {
		d.Ledger.SetLost()
	}
	return fmt.Errorf("%s: %s: %w", d.backend, what, err)
}

// Add registers c, unless the device was closed meanwhile.
func (d *Device) Add(c Child) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("%s: %s: device is %w", d.backend, c.What(), tensor.ErrClosed)
	}
	d.open[c] = true
	return nil
}

// Remove unregisters c and tells whether it was registered: whether this is its first Close.
func (d *Device) Remove(c Child) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.open[c] {
		return false
	}
	delete(d.open, c)
	return true
}

// Open is everything that is registered.
func (d *Device) Open() []Child {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := make([]Child, 0, len(d.open))
	for c := range d.open {
		open = append(open, c)
	}
	return open
}

// Alone calls f while no run is in flight and none may start.
func (d *Device) Alone(f func() error) error {
	d.mu.Lock()
	for d.flying > 0 || d.alone {
		d.changed.Wait()
	}
	d.alone = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.alone = false
		d.changed.Broadcast()
		d.mu.Unlock()
	}()
	return f()
}

// Work finishes what is started, in order, until the device is shut and nothing is left.
func (d *Device) Work() {
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
		p := s.program
		s.err = p.runner.Finish(s.slot, s.out, s.started)
		d.mu.Lock()
		d.flying--
		p.flying--
		p.slots = append(p.slots, s.slot)
		s.done <- struct{}{}
		d.changed.Broadcast()
	}
}

// Shut refuses what comes, waits for what was started, closes what is still open, and calls end. Its error names what was
// open, unless the device was lost: then nobody could have freed it. Later calls answer what the first did.
func (d *Device) Shut(end func() error) error {
	d.shut.Do(func() {
		d.mu.Lock()
		d.closed = true
		d.changed.Broadcast()
		d.mu.Unlock()
		<-d.stopped
		lost := d.Lost()
		for _, c := range d.Open() {
			err := c.Close()
			if !lost {
				d.leaks = errors.Join(d.leaks, fmt.Errorf("%s: closed while %s was still open", d.backend, c.What()), err)
			}
		}
		d.leaks = errors.Join(d.leaks, end())
	})
	return d.leaks
}
