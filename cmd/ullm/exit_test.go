package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

func TestExitCode(t *testing.T) {
	cancelled := fmt.Errorf("loading: %w", context.Canceled)
	for _, c := range []struct {
		err         error
		interrupted bool
		want        int
	}{
		{nil, false, 0},
		{nil, true, 0},
		{cancelled, true, 0},
		{cancelled, false, 1},
		{errors.New("x"), true, 1},
		{fmt.Errorf("x: %w", tensor.ErrDeviceLost), true, 1},
		{usagef("x"), false, 2},
		{fmt.Errorf("x: %w", sched.ErrCut), true, 3},
		{errors.Join(sched.ErrCut, cancelled), true, 3},
		{errors.Join(sched.ErrCut, fmt.Errorf("x: %w", ullm.ErrLeaked)), true, 4},
		{loggedError{errors.Join(tensor.ErrDeviceLost, ullm.ErrLeaked)}, false, 4},
	} {
		if got := exitCode(c.err, c.interrupted); got != c.want {
			t.Errorf("%v, interrupted %t: %d, want %d", c.err, c.interrupted, got, c.want)
		}
	}
}
