package tensor_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestPrints compares the prints of whole models with golden files, so that an operation that creeps in is seen.
func TestPrints(t *testing.T) {
	limits := tensor.ForwardLimits{Tokens: 8, Seqs: 4, Rows: 4, Pages: 4, Params: 4, History: 16, Bias: 8}
	mixed := func(name string, layer int) tensor.Format {
		if name == "v_proj" || name == "down_proj" || name == "up_proj" && layer == 1 {
			return tensor.Q6_K
		}
		return tensor.Q4_K
	}
	for name, m := range map[string]*tensortest.Model{
		"bf16":  tensortest.SmallModel("bf16", tensor.BF16, tensortest.One(tensor.BF16)),
		"mixed": tensortest.SmallModel("mixed", tensor.Q8_0, mixed),
	} {
		head, _, _ := m.Head(4)
		forward := m.Forward(limits)
		for _, g := range []*tensor.Graph{forward, head} {
			if g.Err() != nil {
				t.Fatal(g.Err())
			}
		}
		golden(t, name+".txt", forward.String()+head.String())
	}
}

func golden(t *testing.T, name, have string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run go test with -update", err)
	}
	if have != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s differs; have:\n%s", path, have)
	}
}

// parts are values of every kind, to make mistakes with.
type parts struct {
	g                                             *tensor.Graph
	x, other, odd, tokens, one, head, bytes       tensor.Value // inputs
	matrix, pair, uneven, norm, narrow, rope, tok tensor.Value // weights
	k, v, slots, hidden, few                      tensor.Value // states
	heads                                         tensor.HeadAttr
}

func newParts() *parts {
	g := tensor.NewGraph("wrong")
	p := &parts{g: g, heads: tensor.HeadAttr{QueryHeads: 2, KVHeads: 1, HeadDim: 16, Scale: 0.25}}
	p.x = g.Input(0, tensor.F32, tensor.Static(4), 64)
	p.other = g.Input(0, tensor.F32, tensor.Static(5), 64)
	p.odd = g.Input(0, tensor.F32, tensor.Static(4), 63)
	p.tokens = g.Input(0, tensor.I32, tensor.Static(4), tensor.TokenColumns)
	p.one = g.Input(0, tensor.I32, tensor.Static(4), 1)
	p.head = g.HeadInput(4)
	p.matrix = g.Weight(tensortest.Spec("matrix", tensor.F32, 64, 32))
	p.pair = g.Weight(tensortest.Spec("pair", tensor.F32, 64, 32, 32))
	p.uneven = g.Weight(tensortest.Spec("uneven", tensor.F32, 64, 32, 31))
	p.norm = g.Weight(tensortest.Spec("norm", tensor.F32, 64, 1))
	p.narrow = g.Weight(tensortest.Spec("narrow", tensor.F32, 16, 1))
	p.rope = g.Weight(tensortest.Spec("rope", tensor.F32, 16, 9))
	p.tok = g.Weight(tensortest.Spec("half", tensor.F16, 64, 1))
	kv := tensor.KVSpec{Pages: 1, KVHeads: 1, HeadDim: 16, Format: tensor.F32}
	p.k = g.State(tensor.StateSpec{Name: "k", KV: &kv})
	p.v = g.State(tensor.StateSpec{Name: "v", KV: &kv})
	p.slots = g.State(tensor.StateSpec{Name: "slots", Slots: &tensor.SlotSpec{Slots: 1, MaxPages: 1, Vocab: 64}})
	p.hidden = g.State(tensor.StateSpec{Name: "hidden", Rows: &tensor.RowSpec{Rows: 4, Cols: 64}})
	p.few = g.State(tensor.StateSpec{Name: "few", Rows: &tensor.RowSpec{Rows: 3, Cols: 64}})
	return p
}

func TestBuilderErrors(t *testing.T) {
	for name, build := range map[string]func(*parts){
		"input: offset":             func(p *parts) { p.g.Input(2, tensor.F32, tensor.Static(1), 1) },
		"input: block":              func(p *parts) { p.g.Input(0, tensor.Q8_0, tensor.Static(1), 31) },
		"weight: no rows":           func(p *parts) { p.g.Weight(tensortest.Spec("w", tensor.F32, 8)) },
		"weight: no format":         func(p *parts) { p.g.Weight(tensortest.Spec("w", tensor.NoFormat, 8, 1)) },
		"weight: half a block":      func(p *parts) { p.g.Weight(tensortest.Spec("w", tensor.Q4_K, 128, 1)) },
		"output: of an input":       func(p *parts) { p.g.Output(p.x) },
		"output: of nothing":        func(p *parts) { p.g.Output(0) },
		"Prepare: of a cache":       func(p *parts) { p.g.Prepare(tensor.ForwardLimits{}, p.k) },
		"Prepare: of a weight":      func(p *parts) { p.g.Prepare(tensor.ForwardLimits{}, p.matrix) },
		"Embed: not a weight":       func(p *parts) { p.g.Embed(p.x, p.tokens) },
		"Embed: not tokens":         func(p *parts) { p.g.Embed(p.matrix, p.one) },
		"AddRMSNorm: rows":          func(p *parts) { p.g.AddRMSNorm(p.x, p.other, p.norm, 0) },
		"AddRMSNorm: columns":       func(p *parts) { p.g.AddRMSNorm(p.x, p.odd, p.norm, 0) },
		"AddRMSNorm: weight":        func(p *parts) { p.g.AddRMSNorm(p.x, 0, p.narrow, 0) },
		"AddRMSNorm: 16 bits":       func(p *parts) { p.g.AddRMSNorm(p.x, 0, p.tok, 0) },
		"AddRMSNorm: of tokens":     func(p *parts) { p.g.AddRMSNorm(p.tokens, 0, p.norm, 0) },
		"KeepRows: state":           func(p *parts) { p.g.KeepRows(p.x, 0, p.norm, p.one, p.slots, 0) },
		"KeepRows: too few":         func(p *parts) { p.g.KeepRows(p.x, 0, p.norm, p.one, p.few, 0) },
		"TakeRows: state":           func(p *parts) { p.g.TakeRows(p.k, p.head) },
		"TakeRows: head":            func(p *parts) { p.g.TakeRows(p.hidden, p.one) },
		"Linear: no weight":         func(p *parts) { p.g.Linear(p.x, 0) },
		"Linear: columns":           func(p *parts) { p.g.Linear(p.odd, 0, p.matrix) },
		"Linear: second weight":     func(p *parts) { p.g.Linear(p.x, 0, p.matrix, p.rope) },
		"Linear: bias":              func(p *parts) { p.g.Linear(p.x, p.norm, p.matrix) },
		"Linear: not of this graph": func(p *parts) { p.g.Linear(p.x, 0, 99) },
		"LinearSwiGLU: one part":    func(p *parts) { p.g.LinearSwiGLU(p.x, p.matrix) },
		"LinearSwiGLU: parts":       func(p *parts) { p.g.LinearSwiGLU(p.x, p.uneven) },
		"SwiGLU: odd":               func(p *parts) { p.g.SwiGLU(p.odd) },
		"QKNormRopeStore: columns":  func(p *parts) { p.g.QKNormRopeStore(p.odd, p.narrow, p.narrow, p.rope, p.tokens, p.k, p.v, p.heads) },
		"QKNormRopeStore: norm":     func(p *parts) { p.g.QKNormRopeStore(p.x, p.norm, p.narrow, p.rope, p.tokens, p.k, p.v, p.heads) },
		"QKNormRopeStore: rope":     func(p *parts) { p.g.QKNormRopeStore(p.x, p.narrow, p.narrow, p.matrix, p.tokens, p.k, p.v, p.heads) },
		"QKNormRopeStore: cache":    func(p *parts) { p.g.QKNormRopeStore(p.x, p.narrow, p.narrow, p.rope, p.tokens, p.k, p.slots, p.heads) },
		"QKNormRopeStore: geometry": func(p *parts) { p.g.QKNormRopeStore(p.x, 0, 0, 0, 0, 0, 0, tensor.HeadAttr{}) },
		"QKNormRopeStore: heads": func(p *parts) {
			p.g.QKNormRopeStore(p.x, p.narrow, p.narrow, p.rope, p.tokens, p.k, p.v, tensor.HeadAttr{QueryHeads: 3, KVHeads: 2, HeadDim: 16})
		},
		"Attention: columns":               func(p *parts) { p.g.Attention(p.x, p.tokens, p.k, p.v, p.slots, p.heads) },
		"Sample: of a state without slots": func(p *parts) { p.g.Sample(p.x, p.head, p.hidden) },
		"Sample: vocabulary":               func(p *parts) { p.g.Sample(p.odd, p.head, p.slots) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newParts()
			if p.g.Err() != nil {
				t.Fatal(p.g.Err())
			}
			build(p)
			op, _, _ := strings.Cut(name, ":")
			first := p.g.Err()
			if first == nil || !strings.Contains(first.Error(), "wrong") || !strings.Contains(first.Error(), op) {
				t.Fatalf("want an error that names the graph and %s, have %v", op, first)
			}
			// What follows a mistake does nothing and keeps the first error.
			nodes := len(p.g.Nodes)
			p.g.Output(p.g.SwiGLU(p.x))
			p.g.Linear(p.x, 0)
			if p.g.Err() != first || len(p.g.Nodes) != nodes {
				t.Errorf("after a mistake the graph went on: %v, %d nodes", p.g.Err(), len(p.g.Nodes))
			}
		})
	}
}

func TestGraphSizes(t *testing.T) {
	g := tensor.NewGraph("sizes")
	x := g.Input(8, tensor.F32, tensor.Rows{Cap: 3, Count: 100}, 4)
	if g.InputBytes() != 104 {
		t.Errorf("the step block has %d bytes; the count's word ends at 104", g.InputBytes())
	}
	_, y := g.AddRMSNorm(x, 0, g.Weight(tensortest.Spec("norm", tensor.F32, 4, 1)), 0)
	z := g.Linear(y, 0, g.Weight(tensortest.Spec("a", tensor.BF16, 4, 2)), g.Weight(tensortest.Spec("b", tensor.F16, 4, 3)))
	first, second := g.Output(z), g.Output(y)
	if first != 0 || second != 3*5*4 || g.Output(z) != first || g.OutputBytes() != 60+48 {
		t.Errorf("outputs at %d and %d of %d", first, second, g.OutputBytes())
	}
	if g.Err() != nil {
		t.Error(g.Err())
	}
	if g.ColsOf(z) != 5 || g.RowsOf(z) != g.RowsOf(x) || g.KindOf(z) != tensor.Result || g.BytesOf(z) != 60 {
		t.Errorf("the product is %v × %d", g.RowsOf(z), g.ColsOf(z))
	}
	if _, ok := g.OutputOf(x); ok {
		t.Error("an input is no output")
	}
	read, written := g.Traffic(&g.Nodes[1])
	if read != 48+16+24 || written != 60 {
		t.Errorf("the product reads %d and writes %d bytes", read, written)
	}
}

func TestFormats(t *testing.T) {
	if !slices.Contains(tensor.WeightFormats(), tensor.Q4_K) || slices.Contains(tensor.WeightFormats(), tensor.I32) {
		t.Error("weights can be in Q4_K and not in I32")
	}
	for _, f := range tensor.WeightFormats() {
		back, err := tensor.ParseFormat(f.String())
		if err != nil || back != f {
			t.Errorf("%s parsed as %s, %v", f, back, err)
		}
		if n := 3 * f.Block(); f.RowBytes(n) != 3*f.BlockBytes() || f.Quantized() != (f.Block() > 1) {
			t.Errorf("%s: %d values are %d bytes", f, n, f.RowBytes(n))
		}
	}
	if _, err := tensor.ParseFormat("iq2_xs"); err == nil || !strings.Contains(err.Error(), "q4_k") {
		t.Errorf("an unknown format should be refused with those there are: %v", err)
	}
	if s := tensor.Format(200).String(); s != "format(200)" {
		t.Errorf("a format out of the table prints as %s", s)
	}
}
