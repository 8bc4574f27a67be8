//go:build cgo && (linux || windows)

package vulkan_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

var update = flag.Bool("update", false, "write golden files anew")

// rows is an F32 weight whose row i is all i mod 1,000.
type rows struct{ cols int }

func (r rows) Rows(_, first, n int, use func([]byte) error) error {
	b := make([]byte, 0, 4*n*r.cols)
	for i := first; i < first+n; i++ {
		for range r.cols {
			b = append(b, floatBytes(float32(i%1000))...)
		}
	}
	return use(b)
}

// sums is a graph that sums a row of cols values times each row of a weight.
func sums(cols, n int) (*tensor.Graph, tensor.WeightSpec) {
	w := tensor.WeightSpec{Name: "w", Format: tensor.F32, Cols: cols, Parts: []tensor.Part{{Name: "w", Rows: n}}, Readers: []tensor.Op{tensor.OpLinear}}
	g := tensor.NewGraph("sums")
	g.Output(g.Linear(g.Input(0, tensor.F32, tensor.Static(1), cols), 0, g.Weight(w)))
	return g, w
}

// run uploads, compiles and runs sums once, and closes what it made.
func run(d tensor.Device, cols, n int) (out []byte, err error) {
	g, spec := sums(cols, n)
	var list []interface{ Close() error }
	defer func() {
		for i := len(list) - 1; i >= 0; i-- {
			err = errors.Join(err, list[i].Close())
		}
	}()
	w, err := d.Upload(context.Background(), spec, rows{cols})
	if err != nil {
		return nil, err
	}
	list = append(list, w)
	plan, err := d.Plan(g)
	if err != nil {
		return nil, err
	}
	a, err := d.NewArena(plan.Scratch())
	if err != nil {
		return nil, err
	}
	list = append(list, a)
	p, err := d.Compile(plan, tensor.Bindings{Weights: map[string]tensor.Weight{"w": w}, Arena: a})
	if err != nil {
		return nil, err
	}
	list = append(list, p)
	in := make([]byte, 0, 4*cols)
	for range cols {
		in = append(in, floatBytes(1)...)
	}
	s, err := p.Start(in)
	if err != nil {
		return nil, err
	}
	out = make([]byte, g.OutputBytes())
	return out, s.Wait(context.Background(), out)
}

// smallPrograms compiles a small model with weights in a format and gives its Forward and Head to check.
func smallPrograms(t *testing.T, o vulkan.Options, f tensor.Format, check func(m *tensortest.Model, forward, head string)) {
	t.Helper()
	d := open(t, o)
	m := tensortest.SmallModel("small", tensor.F16, tensortest.One(f))
	head, _, _ := m.Head(4)
	forward := m.Forward(tensor.ForwardLimits{Tokens: 8, Seqs: 4, Rows: 4, Pages: 8, Params: 4, History: 8, Bias: 4})
	r, err := tensortest.NewRig(d, m.Setup(), false, forward, head)
	if err != nil {
		t.Fatal(err)
	}
	check(m, r.Programs[0].String(), r.Programs[1].String())
	if err := errors.Join(r.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// TestDispatches holds the kernels, grids and bytes of a small model's programs against testdata/dispatches.txt, so that a
// launch which creeps in is seen in review. A layer is eight.
func TestDispatches(t *testing.T) {
	smallPrograms(t, vulkan.Options{}, tensor.Q8_0, func(m *tensortest.Model, forward, head string) {
		const golden = "testdata/dispatches.txt"
		if *update {
			if err := os.WriteFile(golden, []byte(forward+head), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if have := forward + head; have != string(want) {
			t.Errorf("have\n%swant\n%s(go test -run TestDispatches -update writes it anew)", have, want)
		}
		// Prepare, Embed, 8 for each layer, KeepRows.
		if n := launches(forward); n != 2+8*m.Layers+1 {
			t.Errorf("%d dispatches for %d layers", n, m.Layers)
		}
	})
}

// launches counts the launches of a print, which has a line for each below its heading.
func launches(print string) int { return strings.Count(print, "\n") - 1 }

// roundedDispatches counts a small model's launches, and those of a kernel that takes rounded activations: what makes
// activations rounds them, so that a layer is eight dispatches here too.
func roundedDispatches(t *testing.T, o vulkan.Options, f tensor.Format, kernel string) {
	t.Helper()
	smallPrograms(t, o, f, func(m *tensortest.Model, forward, head string) {
		for _, p := range []struct {
			print              string
			launches, products int
		}{{forward, 2 + 8*m.Layers + 1, 4 * m.Layers}, {head, 3, 1}} {
			if n, products := launches(p.print), strings.Count(p.print, " "+kernel+"["); n != p.launches || products != p.products {
				t.Errorf("%s: %d dispatches, %d of them %s; want %d and %d:\n%s", f, n, products, kernel, p.launches, p.products, p.print)
			}
		}
	})
}

func TestDotDispatches(t *testing.T) {
	roundedDispatches(t, vulkan.Options{Dot: vulkan.DotAlways}, tensor.Q8_0, "dot")
}

// TestEager checks that launches one by one, each awaited by the next, give the same bits as all at once.
func TestEager(t *testing.T) {
	d := open(t, vulkan.Options{})
	m := tensortest.SmallModel("small", tensor.F16, tensortest.One(tensor.Q8_0))
	limits := tensor.ForwardLimits{Tokens: 8, Seqs: 1, Rows: 1, Pages: 1, Params: 1, History: 1, Bias: 1}
	forward := m.Forward(limits)
	setup := m.Setup()
	step := tensor.ForwardStep{IDs: []int32{5, 6, 7}, Seqs: []tensor.SeqStep{{Count: 3, Keep: 1, Reset: true}}, Pages: []tensor.PageWrite{{Page: 3}}}
	in := make([]byte, limits.Bytes())
	if err := limits.Encode(in, &step); err != nil {
		t.Fatal(err)
	}
	weights := map[string]tensor.Weight{}
	for _, w := range setup.Weights {
		var err error
		if weights[w.Spec.Name], err = d.Upload(t.Context(), w.Spec, w); err != nil {
			t.Fatal(err)
		}
	}
	setup.Weights = nil
	var hidden [2][]byte
	for i := range hidden {
		r, err := tensortest.NewRig(d, setup, false)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := d.Plan(forward)
		if err != nil {
			t.Fatal(err)
		}
		a, err := d.NewArena(plan.Scratch())
		if err != nil {
			t.Fatal(err)
		}
		p, err := d.Compile(plan, tensor.Bindings{Weights: weights, States: r.States, Arena: a, Eager: i == 1})
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Start(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if hidden[i], err = r.Export("hidden"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(p.Close(), a.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	}
	if !bytes.Equal(hidden[0], hidden[1]) {
		t.Error("the hidden rows differ")
	}
	for _, w := range weights {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// checkSums checks that output o is cols·(o mod 1,000).
func checkSums(t *testing.T, out []byte, cols, n int) {
	t.Helper()
	for _, o := range []int{0, 1, 31, 32, n / 2, n - 2, n - 1} {
		if have, want := bytesFloat(out[4*o:]), float32(cols*(o%1000)); have != want {
			t.Errorf("row %d: have %g, want %g", o, have, want)
		}
	}
}

// TestLargeBuffer multiplies by a weight that is larger than any storage buffer binding of lavapipe, 128 MiB.
func TestLargeBuffer(t *testing.T) {
	d := open(t, vulkan.Options{})
	const cols, n = 32, 1<<20 + 1<<18
	out, err := run(d, cols, n)
	if err != nil {
		t.Error(err)
	} else {
		checkSums(t, out, cols, n)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestStaged takes the path of a GPU whose memory the processor does not reach: weights of several pieces, states, models.
func TestStaged(t *testing.T) {
	d := open(t, vulkan.Options{Staged: true})
	const cols, n = 64, 100_000
	out, err := run(d, cols, n)
	if err != nil {
		t.Error(err)
	} else {
		checkSums(t, out, cols, n)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestValidated runs what TestLargeBuffer and TestStaged run, smaller, under the validation layers; Close tells what they
// said.
func TestValidated(t *testing.T) {
	for _, staged := range []bool{false, true} {
		d := openValidated(t, vulkan.Options{Staged: staged})
		if _, err := run(d, 64, 100); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenFaults fails every call of opening, one after the other.
func TestOpenFaults(t *testing.T) {
	for n := 1; ; n++ {
		c := tensortest.FailNth(n, nil)
		d, err := vulkan.Open(vulkan.Options{Fault: c.Fault})
		if errors.Is(err, vulkan.ErrNoVulkan) {
			t.Skip(err)
		}
		if c.Hit() == "" {
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, tensortest.ErrInjected) {
			t.Fatalf("call %d (%s) failed; have %v", n, c.Hit(), err)
		}
	}
}

func TestWrongDevice(t *testing.T) {
	for _, n := range []int{-1, 1000} {
		if _, err := vulkan.Open(vulkan.Options{Device: n}); err == nil {
			t.Errorf("device %d was opened", n)
		}
	}
}

// TestOutOfMemory asks for more than may be used: the error says what was asked for and what to do.
func TestOutOfMemory(t *testing.T) {
	d := open(t, vulkan.Options{Fraction: 1e-6})
	_, err := d.NewArena(1 << 30)
	if !errors.Is(err, tensor.ErrOutOfMemory) {
		t.Fatalf("have %v", err)
	}
	for _, says := range []string{"1073741824 bytes", "are free", "--gpu-memory-utilization", "--context-len"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	if n := d.Stats().Total(); n != (tensor.Count{}) {
		t.Errorf("the ledger holds %+v", n)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestPipelineCache checks that a cache is written, and that a damaged one does no harm and is replaced.
func TestPipelineCache(t *testing.T) {
	dir := t.TempDir()
	var damaged []byte
	for i := range 3 {
		d := open(t, vulkan.Options{CacheDir: dir})
		if _, err := run(d, 32, 32); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(files) != 1 {
			t.Fatalf("cache files: %v, %v", files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil || len(b) == 0 {
			t.Fatalf("the cache has %d bytes, %v", len(b), err)
		}
		if i == 2 && bytes.Equal(b, damaged) {
			t.Error("the damaged cache was not replaced")
		}
		if i == 1 {
			for j := range b {
				b[j] ^= 0x55
			}
			damaged = b[:len(b)-3]
			if err := os.WriteFile(files[0], damaged, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func floatBytes(v float32) []byte {
	return binary.LittleEndian.AppendUint32(nil, math.Float32bits(v))
}

func bytesFloat(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }
