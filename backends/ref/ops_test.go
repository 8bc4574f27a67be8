package ref_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// open makes a device that is closed, and found empty, at the test's end.
func open(t testing.TB, o ref.Options) tensor.Device {
	t.Helper()
	d, err := ref.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if n := d.Stats().Total(); n != (tensor.Count{}) {
			t.Errorf("still held: %s", d.Stats())
		}
	})
	return d
}

// run compiles a graph and runs it once.
func run(t testing.TB, g *tensor.Graph, s tensortest.Setup, in []byte) []byte {
	t.Helper()
	d := open(t, ref.Options{Poison: true})
	r, err := tensortest.NewRig(d, s, true, g)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := r.Run(0, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func floatBlock(v ...float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func intBlock(v ...int32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, uint32(x))
	}
	return b
}

func floatsOf(b []byte) (v []float32) {
	for ; len(b) > 0; b = b[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return v
}

func want(t testing.TB, have []float32, want ...float64) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%d values, want %d", len(have), len(want))
	}
	for i, w := range want {
		if math.Abs(float64(have[i])-w) > 1e-6*(1+math.Abs(w)) {
			t.Errorf("value %d is %v, want %v", i, have[i], w)
		}
	}
}

// The operations by hand, in numbers small enough to follow.

func TestLinearByHand(t *testing.T) {
	w := tensortest.SourceOf(tensortest.Spec("w", tensor.F32, 3, 1, 1), []float32{1, 2, 3, 4, 5, 6})
	bias := tensortest.SourceOf(tensortest.Spec("bias", tensor.F32, 2, 1), []float32{1000, 0.5})
	g := tensor.NewGraph("linear")
	g.Output(g.Linear(g.Input(0, tensor.F32, tensor.Static(2), 3), g.Weight(bias.Spec), g.Weight(w.Spec)))
	out := run(t, g, tensortest.Setup{Weights: []*tensortest.Source{w, bias}}, floatBlock(1, 10, 100, -1, 0, 0))
	want(t, floatsOf(out), 1321, 654.5, 999, -3.5)
}

func TestSwiGLUByHand(t *testing.T) {
	silu := func(a float64) float64 { return a / (1 + math.Exp(-a)) }
	g := tensor.NewGraph("swiglu")
	x := g.Input(0, tensor.F32, tensor.Static(1), 4)
	w := tensortest.SourceOf(tensortest.Spec("w", tensor.F32, 4, 1, 1), []float32{1, 0, 1, 0, 0, 1, 0, 0})
	first := g.Output(g.SwiGLU(x))
	g.Output(g.LinearSwiGLU(x, g.Weight(w.Spec)))
	out := run(t, g, tensortest.Setup{Weights: []*tensortest.Source{w}}, floatBlock(1, -2, 3, 4))
	want(t, floatsOf(out[first:]), silu(1)*3, silu(-2)*4, silu(4)*-2)
}

func TestAddRMSNormByHand(t *testing.T) {
	w := tensortest.SourceOf(tensortest.Spec("w", tensor.F32, 2, 1), []float32{1, 10})
	g := tensor.NewGraph("norm")
	x, delta := g.Input(0, tensor.F32, tensor.Static(1), 2), g.Input(8, tensor.F32, tensor.Static(1), 2)
	sum, normed := g.AddRMSNorm(x, delta, g.Weight(w.Spec), 0.5)
	g.Output(sum)
	g.Output(normed)
	out := run(t, g, tensortest.Setup{Weights: []*tensortest.Source{w}}, floatBlock(1, 5, 2, -1))
	// Mean square of (3, 4) is 12.5; with eps 13.
	want(t, floatsOf(out), 3, 4, 3/math.Sqrt(13), 40/math.Sqrt(13))
}

// TestRopeByHand turns a query at position 3 by angles 3 and 0.03, and compares the stored key.
func TestRopeByHand(t *testing.T) {
	a := tensor.HeadAttr{QueryHeads: 1, KVHeads: 1, HeadDim: 4, Eps: 0, Scale: 0.5}
	one := func(name string) *tensortest.Source {
		return tensortest.SourceOf(tensortest.Spec(name, tensor.F32, 4, 1), []float32{1, 1, 1, 1})
	}
	qNorm, kNorm := one("q"), one("k")
	table := make([]float32, 4*4)
	for p := range 4 {
		for i, angle := range []float64{float64(p), float64(p) / 100} {
			table[4*p+i], table[4*p+2+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
		}
	}
	rope := tensortest.SourceOf(tensortest.Spec("rope", tensor.F32, 4, 4), table)
	kv := tensor.KVSpec{Pages: 3, KVHeads: 1, HeadDim: 4, Format: tensor.F32}
	setup := tensortest.Setup{Weights: []*tensortest.Source{qNorm, kNorm, rope},
		States: []tensortest.StateInit{{Spec: tensor.StateSpec{Name: "k", KV: &kv}}, {Spec: tensor.StateSpec{Name: "v", KV: &kv}}}}
	g := tensor.NewGraph("rope")
	q := g.QKNormRopeStore(g.Input(16, tensor.F32, tensor.Static(1), 12), g.Weight(qNorm.Spec), g.Weight(kNorm.Spec), g.Weight(rope.Spec),
		g.Input(0, tensor.I32, tensor.Static(1), tensor.TokenColumns), g.State(setup.States[0].Spec), g.State(setup.States[1].Spec), a)
	g.Output(q)
	d := open(t, ref.Options{})
	r, err := tensortest.NewRig(d, setup, true, g)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const cell = 2*tensor.PageTokens + 5
	in := append(intBlock(7, 3, cell, 0), floatBlock(2, 0, 0, 0, 0, 3, 0, 0, 5, 6, 7, 8)...)
	out, err := r.Run(0, in)
	if err != nil {
		t.Fatal(err)
	}
	// Normalised, (2, 0, 0, 0) is twice the unit vector: its mean square is 1.
	want(t, floatsOf(out), 2*math.Cos(3), 0, 2*math.Sin(3), 0)
	for name, w := range map[string][]float64{"k": {0, 2 * math.Cos(0.03), 0, 2 * math.Sin(0.03)}, "v": {5, 6, 7, 8}} {
		data, err := r.Export(name)
		if err != nil {
			t.Fatal(err)
		}
		want(t, floatsOf(data[cell*16:][:16]), w...)
	}
}

// TestAttentionIsSoftmax compares attention over several chunks with a softmax over all positions at once.
func TestAttentionIsSoftmax(t *testing.T) {
	const dim, length = 8, 2*tensor.AttentionChunk + 37
	a := tensor.HeadAttr{QueryHeads: 2, KVHeads: 1, HeadDim: dim, Scale: 0.7}
	pages := (length + tensor.PageTokens - 1) / tensor.PageTokens
	kv := tensor.KVSpec{Pages: pages, KVHeads: 1, HeadDim: dim, Format: tensor.F32}
	keys, values, q := tensortest.Normal(pages*tensor.PageTokens*dim, 2, 1), tensortest.Normal(pages*tensor.PageTokens*dim, 1, 2), tensortest.Normal(2*dim, 1, 3)
	slots := tensortest.NewSlots(tensor.SlotSpec{Slots: 2, MaxPages: pages, Vocab: 4})
	for i := range pages {
		slots.Page(1, i, pages-1-i) // backwards
	}
	setup := tensortest.Setup{States: []tensortest.StateInit{
		{Spec: tensor.StateSpec{Name: "k", KV: &kv}, Data: floatBlock(keys...)},
		{Spec: tensor.StateSpec{Name: "v", KV: &kv}, Data: floatBlock(values...)}, slots.State("slots")}}
	at := func(position int) int {
		return ((pages-1-position/tensor.PageTokens)*tensor.PageTokens + position%tensor.PageTokens) * dim
	}
	for _, last := range []int{0, 1, tensor.AttentionChunk - 1, tensor.AttentionChunk, length - 1} {
		g := tensor.NewGraph("attention")
		g.Output(g.Attention(g.Input(16, tensor.F32, tensor.Static(1), 2*dim), g.Input(0, tensor.I32, tensor.Static(1), tensor.TokenColumns),
			g.State(setup.States[0].Spec), g.State(setup.States[1].Spec), g.State(setup.States[2].Spec), a))
		out := run(t, g, setup, append(intBlock(0, int32(last), 0, 1), floatBlock(q...)...))
		var expected []float64
		for h := range 2 {
			weights, total := make([]float64, last+1), 0.0
			for j := range weights {
				s := 0.0
				for i := range dim {
					s += float64(q[h*dim+i]) * float64(keys[at(j)+i])
				}
				weights[j] = math.Exp(s * float64(a.Scale))
				total += weights[j]
			}
			for i := range dim {
				o := 0.0
				for j, w := range weights {
					o += w / total * float64(values[at(j)+i])
				}
				expected = append(expected, o)
			}
		}
		want(t, floatsOf(out), expected...)
	}
}
