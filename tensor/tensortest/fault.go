package tensortest

import (
	"errors"
	"fmt"
	"sync"
)

// Fault is asked by a device before every call that could fail on real hardware; what it answers becomes that call's
// error.
type Fault func(call string) error

// ErrInjected is what a FaultCounter answers.
var ErrInjected = errors.New("injected fault")

// FaultCounter counts a device's calls and fails one of them.
type FaultCounter struct {
	mu    sync.Mutex
	nth   int
	err   error
	calls int
	hit   string
}

// FailNth fails the nth call (from 1; 0: none) with err, or with ErrInjected where err is nil.
func FailNth(nth int, err error) *FaultCounter {
	if err == nil {
		err = ErrInjected
	}
	return &FaultCounter{nth: nth, err: err}
}

// Fault is what goes into a backend's options.
func (c *FaultCounter) Fault(call string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	if c.calls != c.nth {
		return nil
	}
	c.hit = call
	return fmt.Errorf("call %d, %s: %w", c.calls, call, c.err)
}

// Calls is how many calls there were.
func (c *FaultCounter) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// Hit names the call that failed; empty when none did.
func (c *FaultCounter) Hit() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hit
}
