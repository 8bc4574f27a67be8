package model

import (
	"context"
	"errors"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// fakeStep ends when its channel is closed.
type fakeStep struct {
	done  chan struct{}
	err   error
	waits int // that saw the end
}

func (s *fakeStep) Wait(ctx context.Context, out []byte) error {
	select {
	case <-s.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.waits++
	if s.err == nil && out != nil {
		(&tensor.Sampled{ID: 7}).Put(out)
	}
	return s.err
}

// TestWaitKeepsFailures interrupts the wait between a Forward that failed and its Head: the failure must come out in the
// end, and each Program must be waited for once.
func TestWaitKeepsFailures(t *testing.T) {
	for _, failure := range []error{nil, errors.New("broken")} {
		forward := &fakeStep{done: make(chan struct{}), err: failure}
		head := &fakeStep{done: make(chan struct{})}
		ticket := &Ticket{forward: forward, heads: []headStep{{head, make([]byte, tensor.SampledBytes), 1}}}
		in := &Instance{}
		interrupted, cancel := context.WithCancelCause(t.Context())
		patience := errors.New("out of patience")
		cancel(patience)
		for range 2 {
			if _, err := in.Wait(interrupted, ticket); !errors.Is(err, patience) {
				t.Fatalf("interrupted before the Forward's end: %v", err)
			}
		}
		close(forward.done)
		for forward.waits == 0 { // a select picks among what is ready
			if _, err := in.Wait(interrupted, ticket); !errors.Is(err, patience) {
				t.Fatalf("interrupted between Forward and Head: %v", err)
			}
		}
		close(head.done)
		for range 2 {
			sampled, err := in.Wait(t.Context(), ticket)
			if !errors.Is(err, failure) || failure == nil && (len(sampled) != 1 || sampled[0].ID != 7) {
				t.Errorf("a Forward that ended with %v: %v, %v", failure, sampled, err)
			}
		}
		if forward.waits != 1 || head.waits != 1 {
			t.Errorf("waited %d and %d times", forward.waits, head.waits)
		}
	}
}

func TestCloseGoesOn(t *testing.T) {
	var order []int
	broken := []error{errors.New("first"), nil, errors.New("third")}
	in := &Instance{}
	for i, err := range broken {
		in.closers = append(in.closers, func() error { order = append(order, i); return err })
	}
	err := in.Close()
	if !errors.Is(err, broken[0]) || !errors.Is(err, broken[2]) {
		t.Errorf("close: %v", err)
	}
	if again := in.Close(); again != nil || len(order) != 3 || order[0] != 2 || order[2] != 0 {
		t.Errorf("closed in the order %v, and again: %v", order, again)
	}
}
