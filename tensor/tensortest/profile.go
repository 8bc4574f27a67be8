package tensortest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Profiled checks what a backend tells a Profile: open opens a device with it.
func Profiled(t *testing.T, open func(testing.TB, tensor.Profile) tensor.Device) {
	var mu sync.Mutex
	var runs []tensor.Run
	opened := time.Now()
	d := open(t, func(r tensor.Run) {
		mu.Lock()
		defer mu.Unlock()
		r.Spans = slices.Clone(r.Spans)
		runs = append(runs, r)
	})
	x, err := newSession(d, lifeModel(d.Info()))
	if err != nil {
		t.Fatal(err)
	}
	a := newSequence(0, 20)
	if _, err := x.step(piece{a, 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.step(piece{a, 1}); err != nil {
		t.Fatal(err)
	}
	graphs := x.rig.graphs
	if err := x.rig.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil { // whoever tells has told everything now
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	runs = slices.DeleteFunc(runs, func(r tensor.Run) bool { return r.Program == "poison" })
	if len(runs) != 4 {
		t.Fatalf("two steps were %d runs, want 4: Forward and Head of each", len(runs))
	}
	for _, r := range runs {
		i := slices.IndexFunc(graphs, func(g *tensor.Graph) bool { return g.Name == r.Program })
		if i < 0 {
			t.Errorf("there is no program %q", r.Program)
			continue
		}
		checkRun(t, graphs[i], r)
		if r.Started.Before(opened) {
			t.Errorf("%s was started at %v, before its device was opened", r.Program, r.Started)
		}
	}
}

// checkRun checks that a run's spans are its graph's operations, in order, within the run.
func checkRun(t *testing.T, g *tensor.Graph, r tensor.Run) {
	t.Helper()
	length := r.End.Sub(r.Begin)
	if length < 0 || r.End.Before(r.Started) {
		t.Errorf("%s: started %v, from %v to %v", r.Program, r.Started, r.Begin, r.End)
	}
	at, last := 0, time.Duration(0)
	for i, s := range r.Spans {
		switch {
		case i > 0 && at > 0 && s.Op == g.Nodes[at-1].Op && (at == len(g.Nodes) || g.Nodes[at].Op != s.Op):
			// another launch of the same operation
		case at < len(g.Nodes) && g.Nodes[at].Op == s.Op:
			read, written := g.Traffic(&g.Nodes[at])
			if s.Bytes != read+written {
				t.Errorf("%s: span %d, %s, moves %d bytes, want %d", r.Program, i, s.Op, s.Bytes, read+written)
			}
			at++
		default:
			t.Fatalf("%s: span %d is %s; the graph is\n%s", r.Program, i, s.Op, g)
		}
		if s.Begin < 0 || s.End < s.Begin || s.End < last || s.End > length+time.Millisecond {
			t.Errorf("%s: span %d, %s, is from %v to %v of %v; the one before ended at %v", r.Program, i, s.Op, s.Begin, s.End, length, last)
		}
		last = s.End
	}
	if at != len(g.Nodes) {
		t.Errorf("%s: %d of %d operations were told", r.Program, at, len(g.Nodes))
	}
}
