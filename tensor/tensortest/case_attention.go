package tensortest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ullm/ullm/tensor"
)

// headShapes are the numbers of query heads for each KV head, and of KV heads.
var headShapes = [][2]int{{1, 1}, {2, 2}, {3, 1}, {4, 2}, {5, 1}, {6, 1}, {7, 1}, {8, 2}, {1, 5}, {16, 1}}

var headDims = []int{32, 64, 128}

func headAttr(shape [2]int, dim int) tensor.HeadAttr {
	return tensor.HeadAttr{QueryHeads: shape[0] * shape[1], KVHeads: shape[1], HeadDim: dim, Eps: 1e-6,
		Scale: float32(1 / math.Sqrt(float64(dim)))}
}

// span is one sequence's tokens of a step: count of them from position start.
type span struct{ start, count int }

// sequences lays spans out: each has a slot and pages of its own, in shuffled order.
type sequences struct {
	spans []span
	slots *Slots
	pages int                          // pages in all, more than are used
	rows  [][tensor.TokenColumns]int32 // Prepare's Tokens
}

func layOut(spans []span) *sequences {
	q := &sequences{spans: spans}
	maxPages := 1
	for _, s := range spans {
		n := (s.start + s.count + tensor.PageTokens - 1) / tensor.PageTokens
		q.pages += n
		maxPages = max(maxPages, n)
	}
	q.pages += 3
	free := rand.New(rand.NewPCG(uint64(q.pages), 1)).Perm(q.pages)
	q.slots = NewSlots(tensor.SlotSpec{Slots: len(spans) + 1, MaxPages: maxPages + 2, Vocab: 8, Bias: 1})
	for i, s := range spans {
		slot := len(spans) - i // slot 0 is nobody's
		for p := range (s.start + s.count + tensor.PageTokens - 1) / tensor.PageTokens {
			q.slots.Page(slot, p, free[0])
			for j := range tensor.PageTokens {
				if at := p*tensor.PageTokens + j; at >= s.start && at < s.start+s.count {
					q.rows = append(q.rows, [tensor.TokenColumns]int32{0, int32(at), int32(free[0]*tensor.PageTokens + j), int32(slot)})
				}
			}
			free = free[1:]
		}
	}
	return q
}

// cell is where a position of span i lies.
func (q *sequences) cell(i, position int) int {
	layout := q.slots.Spec.Layout()
	word := (len(q.spans)-i)*q.slots.Spec.MaxPages + position/tensor.PageTokens
	b := q.slots.Data[layout.Pages+4*int64(word):]
	page := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	return page*tensor.PageTokens + position%tensor.PageTokens
}

// Spans around the borders of pages and of attention's chunks.
var (
	decodeSpans = []span{{0, 1}, {14, 1}, {15, 1}, {16, 1}, {30, 1}, {32, 1}, {254, 1}, {255, 1}, {256, 1}, {257, 1}, {510, 1}, {511, 1}, {512, 1}}
	mixedSpans  = []span{{0, 33}, {40, 1}, {250, 17}, {0, 1}, {15, 2}, {509, 5}}
	promptSpan  = []span{{0, 65}}
)

// covering calls do for every cache format with every shape of heads. Head sizes and spans turn with these, so that every
// pair of a format, a shape, a head size and a kind of spans is met. The whole product would be nine times as long, most of it
// spent by drivers that compile a kernel for each combination, and no combination of three has code of its own.
func covering(formats []tensor.Format, do func(f tensor.Format, shape [2]int, dim int, spans []span)) {
	for i, f := range formats {
		for n, shape := range headShapes {
			do(f, shape, headDims[(n+i)%3], [][]span{decodeSpans, mixedSpans, promptSpan}[(n+2*i)%3])
		}
	}
}

func attentionCases(i tensor.Info, add func(*opCase)) {
	covering(i.KVFormats, func(f tensor.Format, shape [2]int, dim int, spans []span) {
		add(attentionCase(f, shape, dim, spans, 1))
	})
	for n, f := range i.KVFormats {
		dim := headDims[n%3]
		add(attentionCase(f, [2]int{2, 2}, dim, decodeSpans, 8))  // sharp: few positions matter
		add(attentionCase(f, [2]int{2, 2}, dim, mixedSpans, 100)) // sharper than exp's range
		add(attentionCase(f, [2]int{2, 1}, 64, nil, 1))
	}
}

// attentionCase attends from the last positions of each span; cells that no sequence owns are NaN.
func attentionCase(f tensor.Format, shape [2]int, dim int, spans []span, sharp float64) *opCase {
	a := headAttr(shape, dim)
	c := &opCase{name: fmt.Sprintf("Attention/%s/%dx%dx%d/%v/%g", f, shape[0], shape[1], dim, spans, sharp), op: tensor.OpAttention, format: f}
	q := layOut(spans)
	spec := tensor.KVSpec{Pages: q.pages, KVHeads: a.KVHeads, HeadDim: dim, Format: f}
	k, v := newKV(spec), newKV(spec)
	for i, s := range spans {
		for position := range s.start + s.count {
			for h := range a.KVHeads {
				row, seed := k.row(q.cell(i, position), h), uint64(i*1000000+position*1000+h)
				k.set(row, Normal(dim, 1, seed))
				v.set(row, Normal(dim, 1, seed+1<<40))
			}
		}
	}
	c.setup.States = []StateInit{k.state("k"), v.state("v"), q.slots.State("slots")}
	tokens, capacity := len(q.rows), len(q.rows)+3
	cols := a.QueryHeads * dim
	x := Normal(tokens*cols, sharp, 77)
	in := *new(block).ints(int32(tokens))
	in = append(in, tokenTable(capacity, q.rows...)...)
	at := len(in)
	in.floats(x...).nan(3 * cols)
	live := tensor.Rows{Cap: capacity, Count: 0}
	g := tensor.NewGraph(c.name)
	o := g.Attention(g.Input(at, tensor.F32, live, cols), g.Input(4, tensor.I32, live, tensor.TokenColumns),
		g.State(c.setup.States[0].Spec), g.State(c.setup.States[1].Spec), g.State(c.setup.States[2].Spec), a)
	c.checks = []check{{name: "o", at: g.Output(o), n: tokens * cols, scale: func() (scale []float64) {
		t := 0
		for i, s := range spans {
			for position := s.start; position < s.start+s.count; position++ {
				for h := range a.QueryHeads {
					keys, values := make([][]float32, position+1), make([][]float32, position+1)
					for j := range keys {
						row := k.row(q.cell(i, j), h/shape[0])
						keys[j], values[j] = k.get(row), v.get(row)
					}
					scale = append(scale, attentionScale(x[t*cols+h*dim:][:dim], keys, values, float64(a.Scale))...)
				}
				t++
			}
		}
		return scale
	}}}
	for _, r := range q.rows {
		c.macs += int64(2 * cols * int(r[tensor.TokenPosition]+1))
	}
	c.graph, c.in = g, in
	return c
}

// attentionScale is the root of the sum of squares of the terms softmax·value, times what an error of the score, whose own
// scale is that of its terms, makes of a term.
func attentionScale(q []float32, keys, values [][]float32, factor float64) []float64 {
	scores := make([]float64, len(keys))
	peak, spread := math.Inf(-1), 0.0
	for j, k := range keys {
		squares := 0.0
		for d := range q {
			p := float64(q[d]) * float64(k[d]) * factor
			scores[j] += p
			squares += p * p
		}
		peak, spread = max(peak, scores[j]), max(spread, squares)
	}
	total := 0.0
	for j := range scores {
		scores[j] = math.Exp(scores[j] - peak)
		total += scores[j]
	}
	out := make([]float64, len(q))
	for d := range out {
		for j, v := range values {
			p := scores[j] / total * float64(v[d])
			out[d] += p * p
		}
		out[d] = math.Sqrt(out[d] * (1 + spread))
	}
	return out
}

func ropeCases(i tensor.Info, add func(*opCase)) {
	covering(i.KVFormats, func(f tensor.Format, shape [2]int, dim int, spans []span) { add(ropeCase(f, shape, dim, spans)) })
	for _, f := range i.KVFormats {
		add(ropeCase(f, [2]int{2, 1}, 64, nil))
	}
}

// ropeCase makes queries ready and stores keys and values; all other cells must stay as they are.
func ropeCase(f tensor.Format, shape [2]int, dim int, spans []span) *opCase {
	a := headAttr(shape, dim)
	c := &opCase{name: fmt.Sprintf("QKNormRopeStore/%s/%dx%dx%d/%v", f, shape[0], shape[1], dim, spans), op: tensor.OpQKNormRopeStore, format: f}
	q := layOut(spans)
	spec := tensor.KVSpec{Pages: q.pages, KVHeads: a.KVHeads, HeadDim: dim, Format: f}
	k, v := newKV(spec), newKV(spec)
	c.setup.States = []StateInit{k.state("k"), v.state("v")}
	qNorm := SourceOf(read(Spec("q_norm", tensor.F32, dim, 1), c.op), Normal(dim, 1, 1))
	kNorm := SourceOf(read(Spec("k_norm", tensor.F32, dim, 1), c.op), Normal(dim, 1, 2))
	rope := ropeTable(520, dim, 1e6)
	c.setup.Weights = []*Source{qNorm, kNorm, rope}
	tokens, capacity := len(q.rows), len(q.rows)+2
	cols := (a.QueryHeads + 2*a.KVHeads) * dim
	in := *new(block).ints(int32(tokens))
	in = append(in, tokenTable(capacity, q.rows...)...)
	at := len(in)
	in.floats(Normal(tokens*cols, 3, 7)...).nan(2 * cols)
	live := tensor.Rows{Cap: capacity, Count: 0}
	g := tensor.NewGraph(c.name)
	y := g.QKNormRopeStore(g.Input(at, tensor.F32, live, cols), g.Weight(qNorm.Spec), g.Weight(kNorm.Spec), g.Weight(rope.Spec),
		g.Input(4, tensor.I32, live, tensor.TokenColumns), g.State(c.setup.States[0].Spec), g.State(c.setup.States[1].Spec), a)
	var stored []int
	for _, r := range q.rows {
		for h := range a.KVHeads {
			stored = append(stored, k.row(int(r[tensor.TokenCell]), h))
		}
	}
	size := pairSize(dim)
	if f.Quantized() {
		size = groupSize(f.Block(), 1) // a block's values share their rounding
	}
	c.checks = []check{
		{name: "q", at: g.Output(y), n: tokens * a.QueryHeads * dim, size: pairSize(dim), format: tensor.F32},
		{name: "k", state: "k", view: func(b []byte) []float32 { return k.of(b).written(stored) }, size: size},
		{name: "other k", state: "k", bits: func(b []byte) []byte { return k.of(b).rest(stored) }},
		{name: "v", state: "v"}, // rounding is exact
	}
	c.graph, c.in = g, in
	return c
}

// ropeTable is the weight that QKNormRopeStore reads.
func ropeTable(positions, dim int, base float64) *Source {
	v := make([]float32, 0, positions*dim)
	for p := range positions {
		for _, f := range []func(float64) float64{math.Cos, math.Sin} {
			for i := range dim / 2 {
				v = append(v, float32(f(float64(p)*math.Pow(base, -2*float64(i)/float64(dim)))))
			}
		}
	}
	return SourceOf(read(Spec("rope", tensor.F32, dim, positions), tensor.OpQKNormRopeStore), v)
}
