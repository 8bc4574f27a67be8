//go:build cgo && (linux || windows)

package vulkan_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// compiled is a program with what it needs.
type compiled struct {
	tensor.Program
	graph   *tensor.Graph
	closers []func() error
}

// compile uploads and compiles sums.
func compile(t *testing.T, d tensor.Device, cols, n int) *compiled {
	t.Helper()
	g, spec := sums(cols, n)
	return compileGraph(t, d, g, spec)
}

// compileGraph uploads a graph's only weight and compiles the graph.
func compileGraph(t *testing.T, d tensor.Device, g *tensor.Graph, spec tensor.WeightSpec) *compiled {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := d.Upload(context.Background(), spec, rows{spec.Cols})
	must(err)
	plan, err := d.Plan(g)
	must(err)
	a, err := d.NewArena(plan.Scratch())
	must(err)
	p, err := d.Compile(plan, tensor.Bindings{Weights: map[string]tensor.Weight{"w": w}, Arena: a})
	must(err)
	return &compiled{p, g, []func() error{p.Close, a.Close, w.Close}}
}

func (c *compiled) close(t *testing.T) {
	t.Helper()
	for _, f := range c.closers {
		if err := f(); err != nil {
			t.Error(err)
		}
	}
}

// all is a row of n times v.
func all(n int, v float32) (b []byte) {
	for range n {
		b = append(b, floatBytes(v)...)
	}
	return b
}

// TestWaitTwice checks that waiting again for a step that is done answers the same at once, also when others were started
// meanwhile, and that steps which nobody waits for do no harm.
func TestWaitTwice(t *testing.T) {
	d := open(t, vulkan.Options{})
	const cols, n = 32, 64
	c := compile(t, d, cols, n)
	out, again := make([]byte, c.graph.OutputBytes()), make([]byte, c.graph.OutputBytes())
	for i := range 10 {
		first, err := c.Start(all(cols, 1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Start(all(cols, 2)); err != nil { // for nobody
			t.Fatal(err)
		}
		for range 2 {
			if err := first.Wait(t.Context(), out); err != nil {
				t.Fatal(err)
			}
		}
		checkSums(t, out, cols, n)
		other, err := c.Start(all(cols, 3))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(first.Wait(t.Context(), again), other.Wait(t.Context(), nil)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, again) {
			t.Fatalf("round %d: waiting once more gave other results", i)
		}
	}
	c.close(t)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestStartAllocatesNothing runs steps, two in flight, and counts what that leaves to the garbage collector.
func TestStartAllocatesNothing(t *testing.T) {
	d := open(t, vulkan.Options{})
	const cols, n = 32, 64
	c := compile(t, d, cols, n)
	in, out := all(cols, 1), make([]byte, c.graph.OutputBytes())
	ctx := context.Background()
	var before tensor.Step
	allocations := testing.AllocsPerRun(50, func() {
		s, err := c.Start(in)
		if err == nil && before != nil {
			err = before.Wait(ctx, out)
		}
		if before = s; err != nil {
			t.Fatal(err)
		}
	})
	if err := before.Wait(ctx, out); err != nil {
		t.Fatal(err)
	}
	if allocations != 0 {
		t.Errorf("a step allocates %g objects", allocations)
	}
	checkSums(t, out, cols, n)
	c.close(t)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestHung gives a device no time: it is lost, everything that waits for it fails, and nothing waits for it in the end.
func TestHung(t *testing.T) {
	d := open(t, vulkan.Options{Patience: time.Nanosecond})
	const count, cols, n = 64, 256, 1 << 16 // far more work than may be done before somebody looks, on a busy machine too
	_, spec := sums(cols, n)
	g := tensor.NewGraph("long")
	g.Output(g.Linear(g.Input(0, tensor.F32, tensor.Static(count), cols), 0, g.Weight(spec)))
	c := compileGraph(t, d, g, spec)
	var steps []tensor.Step
	for range 2 {
		s, err := c.Start(all(count*cols, 1))
		if err != nil && !errors.Is(err, tensor.ErrDeviceLost) {
			t.Fatal(err)
		}
		if err == nil {
			steps = append(steps, s)
		}
	}
	for i, s := range steps {
		if err := s.Wait(t.Context(), nil); !errors.Is(err, tensor.ErrDeviceLost) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if _, err := c.Start(all(count*cols, 1)); !errors.Is(err, tensor.ErrDeviceLost) {
		t.Errorf("starting on a lost device: %v", err)
	}
	c.close(t)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if s := d.Stats(); !s.Lost || s.Total() != (tensor.Count{}) {
		t.Errorf("the ledger says lost: %t, and holds %s", s.Lost, s)
	}
}

func TestProfile(t *testing.T) {
	tensortest.Profiled(t, func(t testing.TB, p tensor.Profile) tensor.Device { return open(t, vulkan.Options{Profile: p}) })
}
