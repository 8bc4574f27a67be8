package tensor

import "time"

// Profile is told of every run of a Program when the run is done: once for each, in the order of Start, by one goroutine of
// the device at a time. It must be quick, since the device's next run may wait for it. A backend's options take one; nil
// measures nothing.
type Profile func(Run)

// Run is how one run of a Program went.
type Run struct {
	Program string    // the graph's name
	Started time.Time // when Start was called
	Begin   time.Time // when the device began with it
	End     time.Time // when its outputs were there
	Spans   []Span    // in order; valid until Profile returns
}

// Span is the time of one launch. Launches that do not depend on one another may overlap.
type Span struct {
	Op         Op            // the operation that it belongs to, or a part of
	Kernel     string        // what ran, as the Program's print names it
	Bytes      int64         // that the operation reads and writes at capacity, as Graph.Traffic counts; with its first launch
	Begin, End time.Duration // since the run's Begin
}
