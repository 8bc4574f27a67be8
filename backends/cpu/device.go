package cpu

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// device runs its programs on one goroutine, in the order in which they were started; that goroutine is also the first
// of the pool's threads.
type device struct {
	options               Options
	kernels               *simd.Kernels
	pool                  *pool
	memoryAll, memoryFree int64
	ledger                tensor.Ledger
	stopped               chan struct{} // closed when the goroutine has ended
	close                 sync.Once
	leaks                 error // what Close answers

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
		d.pool.close()
		lost := d.ledger.Stats().Lost
		for _, c := range left {
			err := c.Close()
			if !lost {
				d.leaks = errors.Join(d.leaks, fmt.Errorf("cpu: closed while %s was still open", c.what()), err)
			}
		}
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
		return fmt.Errorf("cpu: %s: device is %w", fmt.Sprintf(format, args...), tensor.ErrClosed)
	case d.ledger.Stats().Lost:
		return fmt.Errorf("cpu: %s: %w", fmt.Sprintf(format, args...), tensor.ErrDeviceLost)
	}
	return d.fault(format, args...)
}

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
	return fmt.Errorf("cpu: %s: %w", what, err)
}

// add registers c, unless the device was closed meanwhile.
func (d *device) add(c child) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("cpu: %s: device is %w", c.what(), tensor.ErrClosed)
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
		d.queue = append(d.queue[:0], d.queue[1:]...)
		d.mu.Unlock()
		d.memory.Lock()
		c := s.program.clock(s.started)
		s.err = s.program.run(s.in, s.out, c)
		d.memory.Unlock()
		c.report()
		d.mu.Lock()
		s.program.inputs = append(s.program.inputs, s.in)
		d.flying--
		s.program.flying--
		close(s.done)
		d.changed.Broadcast()
	}
}
