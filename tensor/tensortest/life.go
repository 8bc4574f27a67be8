package tensortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
)

// life checks what happens at the ends: refusals, cancelled waits, closing, leaks and failing calls.
func (s *suite) life(t *testing.T) {
	t.Run("refuses", s.refuses)
	t.Run("waits", s.waits)
	t.Run("close", s.closes)
	t.Run("running", s.closesRunning)
	t.Run("leaks", s.leaks)
	t.Run("upload", s.uploads)
	t.Run("faults", s.faults)
}

// lifeModel is small: it is set up again and again. It is in the device's first formats.
func lifeModel(i tensor.Info) *Model {
	m := SmallModel("life", i.KVFormats[0], One(i.Formats[0]))
	m.Layers, m.Hidden, m.FFN, m.Pages, m.Context = 1, 32, 32, 24, 370
	m.Heads = headAttr([2]int{2, 1}, 32)
	return m
}

// empty fails when the device holds anything.
func empty(t *testing.T, d tensor.Device) {
	t.Helper()
	if n := d.Stats().Total(); n != (tensor.Count{}) {
		t.Errorf("the ledger still holds %s", d.Stats())
	}
}

// refuses checks that what is not supported, and what does not fit, is an error that says so.
func (s *suite) refuses(t *testing.T) {
	dut, _ := s.pair(t)
	info := dut.Info()
	supported := func(list []tensor.Format, f tensor.Format) bool {
		for _, x := range list {
			if x == f {
				return true
			}
		}
		return false
	}
	for _, f := range append(tensor.WeightFormats(), tensor.I32) {
		if !supported(info.Formats, f) {
			w := Spec("w", f, 256, 8)
			g := tensor.NewGraph("linear")
			g.Linear(g.Input(0, tensor.F32, tensor.Static(1), 256), 0, g.Weight(w))
			_, err := dut.Plan(g)
			unsupported(t, err, "Linear", f.String())
		}
		if !supported(info.KVFormats, f) {
			state, err := dut.NewState(tensor.StateSpec{Name: "k.0", KV: &tensor.KVSpec{Pages: 1, KVHeads: 1, HeadDim: 256, Format: f}})
			if err == nil {
				_ = state.Close()
			}
			unsupported(t, err, "k.0", f.String())
		}
	}
	bad := tensor.NewGraph("bad")
	bad.SwiGLU(bad.Input(0, tensor.F32, tensor.Static(1), 3))
	if _, err := dut.Plan(bad); err == nil || !strings.Contains(err.Error(), "SwiGLU") {
		t.Errorf("planning a graph with a mistake: %v", err)
	}

	g, w := oneLinear(info)
	plan, err := dut.Plan(g)
	if err != nil {
		t.Fatal(err)
	}
	if plan.String() == "" {
		t.Error("a plan should say what it launches")
	}
	if plan.Scratch() > 0 {
		arena, err := dut.NewArena(plan.Scratch() - 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := dut.Compile(plan, tensor.Bindings{Arena: arena}); err == nil {
			t.Error("compiling without weights, in an arena too small, should fail")
		}
		if err := arena.Close(); err != nil {
			t.Error(err)
		}
	}
	r, err := NewRig(dut, Setup{Weights: []*Source{w}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRig(t, r)
	if _, err := dut.Compile(plan, tensor.Bindings{Arena: r.arena}); err == nil || !strings.Contains(err.Error(), "w") {
		t.Errorf("compiling without its weight: %v", err)
	}
	for _, n := range []int{0, g.InputBytes() - 4, g.InputBytes() + 4} {
		if _, err := r.Programs[0].Start(make([]byte, n)); err == nil {
			t.Errorf("a step block of %d bytes where %d are wanted should be refused", n, g.InputBytes())
		}
	}
}

func unsupported(t *testing.T, err error, what ...string) {
	t.Helper()
	if !errors.Is(err, tensor.ErrUnsupported) {
		t.Errorf("%v: want ErrUnsupported, have %v", what, err)
		return
	}
	names(t, err, what...)
}

// oneLinear is a graph with one product.
func oneLinear(i tensor.Info) (*tensor.Graph, *Source) {
	w := RandomSource(read(Spec("w", i.Formats[0], 256, 64), tensor.OpLinear), 1)
	g := tensor.NewGraph("linear")
	g.Output(g.Linear(g.Input(0, tensor.F32, tensor.Static(16), 256), 0, g.Weight(w.Spec)))
	return g, w
}

// waits checks that a Wait whose context ends can be repeated, and that outputs may be shorter than there is.
func (s *suite) waits(t *testing.T) {
	dut, _ := s.pair(t)
	g, w := oneLinear(dut.Info())
	r, err := NewRig(dut, Setup{Weights: []*Source{w}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRig(t, r)
	in := *new(block).floats(Normal(16*256, 1, 1)...)
	want, err := r.Run(0, in)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		step, err := r.Programs[0].Start(in)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, len(want))
		if err := step.Wait(ended, out); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("want the context's error, have %v", err)
			}
			if err := step.Wait(context.Background(), out); err != nil {
				t.Fatalf("waiting again: %v", err)
			}
		}
		if !bytes.Equal(out, want) {
			t.Fatal("a run that was waited for twice has other results")
		}
	}
	for _, n := range []int{0, 4, len(want) - 4} {
		step, err := r.Programs[0].Start(in)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, n)
		if err := step.Wait(context.Background(), out); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out, want[:n]) {
			t.Errorf("the first %d bytes differ from those of the whole", n)
		}
	}
	// Starts from several goroutines all end, however few may be in flight.
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			out, err := r.Run(0, in)
			if err != nil {
				t.Error(err)
			} else if !bytes.Equal(out, want) {
				t.Error("a run beside others has other results")
			}
		})
	}
	group.Wait()
}

// closes checks Close: twice, beside a Wait, and what comes after it.
func (s *suite) closes(t *testing.T) {
	dut := s.open(t, nil)
	g, w := oneLinear(dut.Info())
	r, err := NewRig(dut, Setup{Weights: []*Source{w}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := dut.Plan(g)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]byte, g.InputBytes())
	var group sync.WaitGroup
	for range 4 {
		step, err := r.Programs[0].Start(in)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := step.Wait(context.Background(), nil); err != nil && !errors.Is(err, tensor.ErrClosed) {
				t.Errorf("waiting while the program is closed: %v", err)
			}
		})
	}
	for range 2 { // every Close is idempotent
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	group.Wait()
	if _, err := r.Programs[0].Start(in); !errors.Is(err, tensor.ErrClosed) {
		t.Errorf("starting a closed program: %v", err)
	}
	empty(t, dut)
	for range 3 {
		group.Go(func() {
			if err := dut.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for what, err := range map[string]error{
		"NewArena": second(dut.NewArena(64)),
		"NewState": second(dut.NewState(tensor.StateSpec{Name: "h", Rows: &tensor.RowSpec{Rows: 1, Cols: 1}})),
		"Upload":   second(dut.Upload(context.Background(), w.Spec, w)),
		"Compile":  second(dut.Compile(plan, tensor.Bindings{})),
	} {
		if !errors.Is(err, tensor.ErrClosed) {
			t.Errorf("%s on a closed device: %v", what, err)
		}
	}
}

// closesRunning closes the device under a run that is waited for: the device lets the run end, or the Wait says why not.
func (s *suite) closesRunning(t *testing.T) {
	dut := s.open(t, nil)
	g, w := oneLinear(dut.Info())
	r, err := NewRig(dut, Setup{Weights: []*Source{w}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	in := make([]byte, g.InputBytes())
	var group sync.WaitGroup
	for range dut.Info().Depth {
		step, err := r.Programs[0].Start(in)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			if err := step.Wait(context.Background(), make([]byte, g.OutputBytes())); err != nil && !errors.Is(err, tensor.ErrClosed) {
				t.Errorf("waiting while the device is closed: %v", err)
			}
		})
	}
	if err := dut.Close(); err == nil {
		t.Error("closing a device with everything still open should say so")
	}
	group.Wait()
	empty(t, dut)
	if err := r.Close(); err != nil {
		t.Errorf("closing what was made on a closed device: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// leaks leaves one thing open at a time: closing the device says so, and frees it nevertheless.
func (s *suite) leaks(t *testing.T) {
	info := s.info(t)
	g, w := oneLinear(info)
	hidden := StateInit{Spec: tensor.StateSpec{Name: "hidden.left", Rows: &tensor.RowSpec{Rows: 4, Cols: 4}}}
	w.Spec.Name = "w"
	for _, left := range []string{"program", "arena", "hidden.left", "w"} {
		dut := s.open(t, nil)
		r, err := NewRig(dut, Setup{Weights: []*Source{w}, States: []StateInit{hidden}}, false, g)
		if err != nil {
			t.Fatal(err)
		}
		closers := map[string]io.Closer{"program": r.Programs[0], "arena": r.arena, "hidden.left": r.States["hidden.left"], "w": r.weights["w"]}
		step, err := r.Programs[0].Start(make([]byte, g.InputBytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := step.Wait(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"program", "arena", "hidden.left", "w"} {
			if name == left {
				continue
			}
			if err := closers[name].Close(); err != nil {
				t.Error(err)
			}
		}
		if err := dut.Close(); err == nil || !strings.Contains(err.Error(), left) {
			t.Errorf("closing with %s left open: %v", left, err)
		}
		empty(t, dut)
		if err := closers[left].Close(); err != nil {
			t.Errorf("closing %s after its device: %v", left, err)
		}
	}
}

// failing is a source that fails after some rows, or ends its context.
type failing struct {
	*Source
	calls int
	fail  func(call int) error
}

func (f *failing) Rows(part, first, n int, use func([]byte) error) error {
	f.calls++
	if err := f.fail(f.calls); err != nil {
		return err
	}
	return f.Source.Rows(part, first, n, use)
}

// uploads checks uploads that do not come to their end.
func (s *suite) uploads(t *testing.T) {
	dut, _ := s.pair(t)
	// Large and of several parts, so that it comes in pieces.
	w := RandomSource(read(Spec("w", tensor.F32, 1024, 2500, 300, 300), tensor.OpLinear), 1)
	if f := dut.Info().Formats; f[0] != tensor.F32 {
		w = RandomSource(read(Spec("w", f[0], 1024, 2500, 300, 300), tensor.OpLinear), 1)
	}
	broken := errors.New("file is cut short")
	for n := 1; ; n++ {
		src := &failing{Source: w, fail: func(call int) error {
			if call == n {
				return broken
			}
			return nil
		}}
		got, err := dut.Upload(context.Background(), w.Spec, src)
		if err == nil {
			if src.calls < 2 {
				t.Errorf("%d bytes came in %d piece", w.Spec.Bytes(), src.calls)
			}
			if got.Bytes() <= 0 {
				t.Errorf("an uploaded weight of %d bytes says that it holds %d", w.Spec.Bytes(), got.Bytes())
			}
			if err := got.Close(); err != nil {
				t.Error(err)
			}
			break
		}
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "w") {
			t.Errorf("piece %d fails: %v", n, err)
		}
		empty(t, dut)
		if n > 1000 {
			t.Fatal("the upload never ends")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := dut.Upload(ctx, w.Spec, w); !errors.Is(err, context.Canceled) {
		t.Errorf("uploading under a cancelled context: %v", err)
	}
	empty(t, dut)
}

// faults fails the nth call of the device, for n = 1, 2, 3 … until none fails: each time an error is returned that names
// it, everything can be closed, and nothing is left. Goroutines that are left are for the backend's TestMain to find.
func (s *suite) faults(t *testing.T) {
	for _, injected := range []error{ErrInjected, tensor.ErrOutOfMemory, tensor.ErrDeviceLost} {
		for n := 1; ; n++ {
			counter := FailNth(n, injected)
			err := s.scenario(t, counter.Fault, injected == tensor.ErrDeviceLost)
			if counter.Hit() == "" {
				if err != nil {
					t.Fatalf("no call failed, and yet: %v", err)
				}
				if n < 10 {
					t.Errorf("the device asks for faults only %d times in a whole life", n-1)
				}
				break
			}
			if !errors.Is(err, injected) {
				t.Fatalf("call %d (%s) failed; want its error, have %v", n, counter.Hit(), err)
			}
			if n > 10000 {
				t.Fatal("never without a fault")
			}
		}
	}
}

// scenario is a device's whole life: set up a model, run steps, two in flight, export, close. It returns the first error
// and checks that nothing is left behind.
func (s *suite) scenario(t *testing.T, fault Fault, lost bool) (err error) {
	dut := s.open(t, fault)
	defer func() {
		closed := dut.Close()
		if n := dut.Stats().Total(); n != (tensor.Count{}) {
			t.Errorf("after %v: the ledger still holds %s", err, dut.Stats())
		}
		if closed != nil && !lost {
			t.Errorf("after %v: closing: %v", err, closed)
		}
		if lost && err != nil && !dut.Stats().Lost {
			t.Errorf("after %v: the ledger does not say that the device is lost", err)
		}
	}()
	x, err := newSession(dut, lifeModel(dut.Info()))
	if err != nil {
		return err
	}
	defer func() {
		if e := x.rig.Close(); e != nil && !lost {
			t.Errorf("after %v: closing: %v", err, e)
		}
	}()
	a := newSequence(0, 20)
	first, err := x.start(piece{a, 20})
	if err != nil {
		return err
	}
	next, err := x.start(piece{a, 1})
	_, firstErr := x.wait(first)
	if err != nil {
		return errors.Join(err, firstErr)
	}
	if _, err = x.wait(next); firstErr != nil || err != nil {
		return errors.Join(firstErr, err)
	}
	data, err := x.rig.Export("k.0")
	if err != nil {
		return err
	}
	if err := x.rig.States["k.0"].Import(bytes.NewReader(data)); err != nil {
		return err
	}
	if _, err := x.step(piece{a, 1}); err != nil {
		return fmt.Errorf("last step: %w", err)
	}
	return nil
}

// openRef opens the reference beside a device under test.
func openRef(t testing.TB) tensor.Device {
	d, err := ref.Open(ref.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
