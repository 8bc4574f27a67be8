// Package ref is the executable definition of the tensor package: one goroutine, plain loops, sums in float64, weights
// decoded row by row by package quant. It is slow and made to be read; every other backend is compared with it.
//
// Results are rounded to float32 between operations and nowhere else.
package ref

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

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
	if o.Depth == 0 {
		o.Depth = 2
	}
	if o.Depth < 1 || o.Depth > 2 {
		return nil, fmt.Errorf("ref: depth %d; use 1 or 2", o.Depth)
	}
	d := &device{options: o, live: map[child]bool{}, stopped: make(chan struct{})}
	d.changed.L = &d.mu
	go d.work()
	return d, nil
}

// device runs its programs on one goroutine, in the order in which they were started.
type device struct {
	options Options
	ledger  tensor.Ledger
	stopped chan struct{} // closed when the goroutine has ended
	close   sync.Once
	leaks   error // what Close answers

	memory sync.Mutex // held while a program runs and while a state is exported or imported

	mu      sync.Mutex
	changed sync.Cond // signalled when anything below changes
	closed  bool
	queue   []*step // started, not begun
	flying  int     // started, not done
	live    map[child]bool
}

// child is something that was made on the device and must be closed before it.
type child interface {
	Close() error
	what() string
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
		lost := d.ledger.Stats().Lost
		for _, c := range left {
			err := c.Close()
			if !lost {
				d.leaks = errors.Join(d.leaks, fmt.Errorf("ref: closed while %s was still open", c.what()), err)
			}
		}
	})
	return d.leaks
}

// call asks the injected fault, and fails on a device that is closed or lost.
func (d *device) call(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("ref: %s: device is %w", what, tensor.ErrClosed)
	case d.ledger.Stats().Lost:
		return fmt.Errorf("ref: %s: %w", what, tensor.ErrDeviceLost)
	}
	return d.fault(what)
}

func (d *device) fault(what string) error {
	if d.options.Fault == nil {
		return nil
	}
	err := d.options.Fault(what)
	if err == nil {
		return nil
	}
	if errors.Is(err, tensor.ErrDeviceLost) {
		d.ledger.SetLost()
	}
	return fmt.Errorf("ref: %s: %w", what, err)
}

// add registers c, unless the device was closed meanwhile.
func (d *device) add(c child) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("ref: %s: device is %w", c.what(), tensor.ErrClosed)
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

// work runs what is started until the device is closed and its queue is empty.
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
		d.queue = d.queue[1:]
		d.mu.Unlock()
		d.memory.Lock()
		c := s.program.clock(s.started)
		s.err = s.program.run(s.in, s.out, c)
		d.memory.Unlock()
		c.report()
		d.ledger.Free(tensor.UseStaging, int64(len(s.in)))
		d.mu.Lock()
		d.flying--
		s.program.flying--
		close(s.done)
		d.changed.Broadcast()
	}
}
