package tensortest

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// Model is a transformer in the shape of Qwen3, built with the operations directly, and small.
type Model struct {
	Name    string
	Layers  int
	Hidden  int
	FFN     int
	Vocab   int
	Heads   tensor.HeadAttr
	KV      tensor.Format
	Context int // positions
	Slots   int
	Pages   int
	Tied    bool
	// Format is that of a tensor, by the name that Qwen3's files use without prefix: "q_proj", "gate_proj", "lm_head" …
	Format func(tensor string, layer int) tensor.Format
}

// One is a Format function for a model whose matrices all have one format.
func One(f tensor.Format) func(string, int) tensor.Format {
	return func(string, int) tensor.Format { return f }
}

// SmallModel has two layers and every dimension a multiple of a K-quant's block.
func SmallModel(name string, kv tensor.Format, format func(string, int) tensor.Format) *Model {
	return &Model{Name: name, Layers: 2, Hidden: 256, FFN: 512, Vocab: 300, Heads: headAttr([2]int{2, 2}, 64), KV: kv,
		Context: 400, Slots: 4, Pages: 80, Format: format}
}

// eps is Qwen3's.
const eps = 1e-6

func (m *Model) slots() *Slots {
	return NewSlots(tensor.SlotSpec{Slots: m.Slots, MaxPages: (m.Context + tensor.PageTokens - 1) / tensor.PageTokens, Vocab: m.Vocab, Bias: 4})
}

func (m *Model) hidden() StateInit {
	return StateInit{Spec: tensor.StateSpec{Name: "hidden", Rows: &tensor.RowSpec{Rows: 16, Cols: m.Hidden}}}
}

// Setup makes random weights and empty states.
func (m *Model) Setup() Setup {
	s := Setup{States: []StateInit{m.slots().State("slots"), m.hidden()}}
	for i := range m.Layers {
		for _, n := range []string{"k", "v"} {
			kv := newKV(tensor.KVSpec{Pages: m.Pages, KVHeads: m.Heads.KVHeads, HeadDim: m.Heads.HeadDim, Format: m.KV})
			s.States = append(s.States, kv.state(fmt.Sprintf("%s.%d", n, i)))
		}
	}
	add := func(w tensor.WeightSpec) {
		if w.Name == "" {
			return
		}
		src := RandomSource(w, uint64(len(s.Weights)+1))
		if w.Rows() == 1 { // a norm: around one
			v := Normal(w.Cols, 0.1, uint64(len(s.Weights)+1))
			for i := range v {
				v[i]++
			}
			src = SourceOf(w, v)
		}
		s.Weights = append(s.Weights, src)
	}
	add(m.embed())
	add(m.head())
	add(m.norm("norm", m.Hidden, tensor.OpKeepRows))
	for i := range m.Layers {
		for _, w := range m.layer(i) {
			add(w)
		}
	}
	s.Weights = append(s.Weights, ropeTable(m.Context, m.Heads.HeadDim, 1e4))
	return s
}

func (m *Model) embed() tensor.WeightSpec {
	w := read(Spec("embed_tokens", m.Format("embed_tokens", 0), m.Hidden, m.Vocab), tensor.OpEmbed)
	if m.Tied {
		w.Readers = append(w.Readers, tensor.OpLinear)
	}
	return w
}

func (m *Model) head() tensor.WeightSpec {
	if m.Tied {
		return tensor.WeightSpec{}
	}
	return read(Spec("lm_head", m.Format("lm_head", 0), m.Hidden, m.Vocab), tensor.OpLinear)
}

func (m *Model) norm(name string, cols int, reader tensor.Op) tensor.WeightSpec {
	return read(Spec(name, tensor.F32, cols, 1), reader)
}

// The weights of a layer, by their place in layer's answer.
const (
	inputNorm = iota
	queryNorm
	keyNorm
	postNorm
	outProj
	downProj
	gateUp // and up by itself behind it, where formats differ
	up
	qkv // one weight for each run of equal formats, to the end
)

func (m *Model) layer(i int) []tensor.WeightSpec {
	name := func(s string) string { return fmt.Sprintf("layers.%d.%s", i, s) }
	f := func(tensor string) tensor.Format { return m.Format(tensor, i) }
	h := m.Heads
	list := make([]tensor.WeightSpec, qkv)
	list[inputNorm] = m.norm(name("input_layernorm"), m.Hidden, tensor.OpAddRMSNorm)
	list[queryNorm] = m.norm(name("q_norm"), h.HeadDim, tensor.OpQKNormRopeStore)
	list[keyNorm] = m.norm(name("k_norm"), h.HeadDim, tensor.OpQKNormRopeStore)
	list[postNorm] = m.norm(name("post_attention_layernorm"), m.Hidden, tensor.OpAddRMSNorm)
	list[outProj] = read(Spec(name("o_proj"), f("o_proj"), h.QueryHeads*h.HeadDim, m.Hidden), tensor.OpLinear)
	list[downProj] = read(Spec(name("down_proj"), f("down_proj"), m.FFN, m.Hidden), tensor.OpLinear)
	if f("gate_proj") == f("up_proj") {
		list[gateUp] = read(Spec(name("gate_up_proj"), f("gate_proj"), m.Hidden, m.FFN, m.FFN), tensor.OpLinearSwiGLU)
	} else {
		list[gateUp] = read(Spec(name("gate_proj"), f("gate_proj"), m.Hidden, m.FFN), tensor.OpLinear)
		list[up] = read(Spec(name("up_proj"), f("up_proj"), m.Hidden, m.FFN), tensor.OpLinear)
	}
	for j, p := range []string{"q_proj", "k_proj", "v_proj"} {
		rows := h.KVHeads * h.HeadDim
		if j == 0 {
			rows = h.QueryHeads * h.HeadDim
		}
		last := len(list) - 1
		if last >= qkv && list[last].Format == f(p) {
			list[last].Parts = append(list[last].Parts, tensor.Part{Name: name(p), Rows: rows})
			continue
		}
		list = append(list, read(Spec(name(p), f(p), m.Hidden, rows), tensor.OpLinear))
	}
	return list
}

// Forward runs a step's tokens through the layers and keeps the last hidden rows.
func (m *Model) Forward(l tensor.ForwardLimits) *tensor.Graph {
	g := tensor.NewGraph(fmt.Sprintf("%s forward %d", m.Name, l.Tokens))
	slots := g.State(m.slots().State("slots").Spec)
	p := g.Prepare(l, slots)
	x := g.Embed(g.Weight(m.embed()), p.Tokens)
	rope := g.Weight(ropeTable(m.Context, m.Heads.HeadDim, 1e4).Spec)
	delta := tensor.Value(0)
	for i := range m.Layers {
		w := m.layer(i)
		var k, v tensor.Value
		for _, s := range []struct {
			name string
			to   *tensor.Value
		}{{"k", &k}, {"v", &v}} {
			*s.to = g.State(tensor.StateSpec{Name: fmt.Sprintf("%s.%d", s.name, i), KV: &tensor.KVSpec{Pages: m.Pages,
				KVHeads: m.Heads.KVHeads, HeadDim: m.Heads.HeadDim, Format: m.KV}})
		}
		var normed tensor.Value
		x, normed = g.AddRMSNorm(x, delta, g.Weight(w[inputNorm]), eps)
		var parts []tensor.Value
		for _, s := range w[qkv:] {
			parts = append(parts, g.Weight(s))
		}
		q := g.QKNormRopeStore(g.Linear(normed, 0, parts...), g.Weight(w[queryNorm]), g.Weight(w[keyNorm]), rope, p.Tokens, k, v, m.Heads)
		o := g.Linear(g.Attention(q, p.Tokens, k, v, slots, m.Heads), 0, g.Weight(w[outProj]))
		x, normed = g.AddRMSNorm(x, o, g.Weight(w[postNorm]), eps)
		var inner tensor.Value
		if w[up].Name == "" {
			inner = g.LinearSwiGLU(normed, g.Weight(w[gateUp]))
		} else {
			inner = g.SwiGLU(g.Linear(normed, 0, g.Weight(w[gateUp]), g.Weight(w[up])))
		}
		delta = g.Linear(inner, 0, g.Weight(w[downProj]))
	}
	g.KeepRows(x, delta, g.Weight(m.norm("norm", m.Hidden, tensor.OpKeepRows)), p.Kept, g.State(m.hidden().Spec), eps)
	return g
}

// Head makes logits of kept rows and samples from them; both are outputs, at these byte offsets.
func (m *Model) Head(rows int) (g *tensor.Graph, sampled, logits int) {
	g = tensor.NewGraph(fmt.Sprintf("%s head %d", m.Name, rows))
	head := g.HeadInput(rows)
	w := m.head()
	if m.Tied {
		w = m.embed()
	}
	l := g.Linear(g.TakeRows(g.State(m.hidden().Spec), head), 0, g.Weight(w))
	sampled = g.Output(g.Sample(l, head, g.State(m.slots().State("slots").Spec)))
	return g, sampled, g.Output(l)
}

// models are those that the suite runs on a device: its formats are all met, with every cache format.
func models(i tensor.Info) []*Model {
	var list []*Model
	for n, f := range i.Formats {
		m := SmallModel(f.String(), i.KVFormats[n%len(i.KVFormats)], One(f))
		m.Tied = n%2 == 1
		list = append(list, m)
	}
	has := func(want ...tensor.Format) bool {
		for _, w := range want {
			found := false
			for _, f := range i.Formats {
				found = found || f == w
			}
			if !found {
				return false
			}
		}
		return true
	}
	if has(tensor.Q4_K, tensor.Q6_K) {
		// As llama-quantize mixes them in Q4_K_M, and a gate beside an up of another format.
		list = append(list, SmallModel("mixed", i.KVFormats[0], func(name string, layer int) tensor.Format {
			switch name {
			case "v_proj", "down_proj", "lm_head":
				return tensor.Q6_K
			case "up_proj":
				if layer == 1 {
					return tensor.Q6_K
				}
			}
			return tensor.Q4_K
		}))
	}
	return list
}

// tolerance of a model's logits, relative to their own spread: the operations' errors add up over its layers.
func (m *Model) tolerance(s *suite) Tolerance {
	t := Tolerance{Reason: "the errors of the model's operations together"}
	add := func(o Tolerance, times float64) {
		t.RMS = math.Hypot(t.RMS, o.RMS*math.Sqrt(times))
	}
	n := float64(m.Layers)
	add(s.tolerance(tensor.OpLinear, m.Format("q_proj", 0)), 3*n)
	add(s.tolerance(tensor.OpLinearSwiGLU, m.Format("gate_proj", 0)), n)
	add(s.tolerance(tensor.OpLinear, m.Format("lm_head", 0)), 1)
	add(s.tolerance(tensor.OpAttention, m.KV), n)
	add(s.tolerance(tensor.OpQKNormRopeStore, m.KV), n)
	t.RMS = 2*t.RMS + 1e-6 // errors of a norm's input are amplified by what the next sum cancels
	t.Max = 6 * t.RMS
	return t
}
