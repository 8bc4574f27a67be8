package tensortest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// rowOp is an operation whose result for a row must not depend on the other rows.
type rowOp struct {
	name   string
	op     tensor.Op
	format tensor.Format
	setup  Setup
	cols   int                          // of the rows
	tokens [][tensor.TokenColumns]int32 // their token table, where the operation wants one
	build  func(g *tensor.Graph, x, tokens tensor.Value) tensor.Value
}

// batches are the sizes in which each row is computed again.
var batches = []int{1, 2, 3, 7, 8, 9, 16, 17, 31, 32, 33, 64, 65}

const mostRows = 65

// rows checks that a row's result has the same bits by itself and in every batch, at every place of it, in programs of
// every capacity.
func (s *suite) rows(t *testing.T) {
	dut, _ := s.pair(t)
	for n, o := range rowOps(s.formats(dut)) {
		if s.quick && n%3 != 0 || s.config.Formats != nil && o.op != tensor.OpLinear && o.op != tensor.OpLinearSwiGLU {
			continue
		}
		t.Run(o.name, func(t *testing.T) { s.invariant(t, dut, o) })
	}
}

func (s *suite) invariant(t *testing.T, dut tensor.Device, o *rowOp) {
	var graphs []*tensor.Graph
	for _, n := range batches {
		graphs = append(graphs, o.graph(n))
	}
	r, err := NewRig(dut, o.setup, true, graphs...)
	if s.missing(t, &opCase{op: o.op, format: o.format}, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer closeRig(t, r)
	x := Normal(mostRows*o.cols, 1, 42)
	run := func(i int, rows []int) []float32 {
		out, err := r.Run(i, o.block(x, batches[i], rows))
		if err != nil {
			t.Fatal(err)
		}
		return floatsOf(out)
	}
	var alone [][]float32
	for row := range mostRows {
		alone = append(alone, run(0, []int{row}))
	}
	width := len(alone[0])
	check := func(i int, rows []int) {
		out := run(i, rows)
		for at, row := range rows {
			if err := s.sameRow(dut.Info().Name, o.op, o.format, len(rows), out[at*width:(at+1)*width], alone[row]); err != nil {
				t.Fatalf("row %d at %d of %d, capacity %d: %v", row, at, len(rows), batches[i], err)
			}
		}
	}
	order := func(n, first, step int) (rows []int) {
		for i := range n {
			rows = append(rows, (first+i*step)%mostRows)
		}
		return rows
	}
	for i, n := range batches {
		check(i, order(n, 0, 1))
		check(i, order(n, 64, 64)) // the last row first
		check(i, order((n+1)/2, 5, 7))
	}
	last := len(batches) - 1
	for n := 0; n < mostRows && width*o.cols <= 1<<15; n++ {
		check(last, order(n+1, n, 1)) // every number of rows in the largest program
	}
	s.guards(t, dut)
}

func (o *rowOp) graph(capacity int) *tensor.Graph {
	g := tensor.NewGraph(fmt.Sprintf("%s, %d rows", o.name, capacity))
	live := tensor.Rows{Cap: capacity, Count: 0}
	at, tokens := 4, tensor.Value(0)
	if o.tokens != nil {
		tokens = g.Input(at, tensor.I32, live, tensor.TokenColumns)
		at += capacity * tensor.TokenColumns * 4
	}
	g.Output(o.build(g, g.Input(at, tensor.F32, live, o.cols), tokens))
	return g
}

func (o *rowOp) block(x []float32, capacity int, rows []int) []byte {
	in := *new(block).ints(int32(len(rows)))
	if o.tokens != nil {
		var table [][tensor.TokenColumns]int32
		for _, i := range rows {
			table = append(table, o.tokens[i])
		}
		in = append(in, tokenTable(capacity, table...)...)
	}
	for _, i := range rows {
		in.floats(x[i*o.cols : (i+1)*o.cols]...)
	}
	return *in.nan((capacity - len(rows)) * o.cols)
}

func rowOps(i tensor.Info) []*rowOp {
	var list []*rowOp
	norm := RandomSource(Spec("norm", tensor.F32, 200, 1), 9)
	list = append(list,
		&rowOp{name: "AddRMSNorm", op: tensor.OpAddRMSNorm, setup: Setup{Weights: []*Source{norm}}, cols: 200,
			build: func(g *tensor.Graph, x, _ tensor.Value) tensor.Value {
				_, y := g.AddRMSNorm(x, x, g.Weight(norm.Spec), 1e-6)
				return y
			}},
		&rowOp{name: "SwiGLU", op: tensor.OpSwiGLU, cols: 200,
			build: func(g *tensor.Graph, x, _ tensor.Value) tensor.Value { return g.SwiGLU(x) }})
	for _, f := range i.Formats {
		for _, cols := range []int{256, 1280} {
			// A norm before the product, as in a model, so that a backend may hand its result over in a form of its own.
			norm := RandomSource(Spec("norm", tensor.F32, cols, 1), 9)
			w := RandomSource(read(Spec("w", f, cols, 100), tensor.OpLinear), 1)
			up := RandomSource(read(Spec("w", f, cols, 50, 50), tensor.OpLinearSwiGLU), 1)
			list = append(list,
				&rowOp{name: fmt.Sprintf("Linear/%s/%d", f, cols), op: tensor.OpLinear, format: f, setup: Setup{Weights: []*Source{w, norm}}, cols: cols,
					build: func(g *tensor.Graph, x, _ tensor.Value) tensor.Value {
						_, y := g.AddRMSNorm(x, 0, g.Weight(norm.Spec), 1e-6)
						return g.Linear(y, 0, g.Weight(w.Spec))
					}},
				&rowOp{name: fmt.Sprintf("LinearSwiGLU/%s/%d", f, cols), op: tensor.OpLinearSwiGLU, format: f, setup: Setup{Weights: []*Source{up}}, cols: cols,
					build: func(g *tensor.Graph, x, _ tensor.Value) tensor.Value { return g.LinearSwiGLU(x, g.Weight(up.Spec)) }})
		}
	}
	for _, f := range i.KVFormats {
		list = append(list, ropeRows(f), attentionRows(f))
	}
	return list
}

// spread are 65 tokens of several sequences: prompts in pieces and single tokens, short and long.
var spread = []span{{0, 20}, {100, 1}, {250, 13}, {300, 1}, {511, 3}, {2046, 3}, {7, 1}, {0, 23}}

func ropeRows(f tensor.Format) *rowOp {
	a, q := headAttr([2]int{2, 2}, 64), layOut(spread)
	spec := tensor.KVSpec{Pages: q.pages, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Format: f}
	k, v := newKV(spec).state("k"), newKV(spec).state("v")
	qNorm, kNorm := RandomSource(Spec("q_norm", tensor.F32, 64, 1), 1), RandomSource(Spec("k_norm", tensor.F32, 64, 1), 2)
	rope := ropeTable(2100, 64, 1e6)
	return &rowOp{name: "QKNormRopeStore/" + f.String(), op: tensor.OpQKNormRopeStore, format: f, cols: (a.QueryHeads + 2*a.KVHeads) * a.HeadDim,
		setup: Setup{Weights: []*Source{qNorm, kNorm, rope}, States: []StateInit{k, v}}, tokens: q.rows,
		build: func(g *tensor.Graph, x, tokens tensor.Value) tensor.Value {
			return g.QKNormRopeStore(x, g.Weight(qNorm.Spec), g.Weight(kNorm.Spec), g.Weight(rope.Spec), tokens, g.State(k.Spec), g.State(v.Spec), a)
		}}
}

func attentionRows(f tensor.Format) *rowOp {
	a, q := headAttr([2]int{4, 2}, 64), layOut(spread)
	spec := tensor.KVSpec{Pages: q.pages, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Format: f}
	var states []StateInit
	for i, name := range []string{"k", "v"} {
		c := newKV(spec)
		for row := range c.rows() {
			c.set(row, Normal(a.HeadDim, 1, uint64(row+i<<20)))
		}
		states = append(states, c.state(name))
	}
	states = append(states, q.slots.State("slots"))
	return &rowOp{name: "Attention/" + f.String(), op: tensor.OpAttention, format: f, cols: a.QueryHeads * a.HeadDim,
		setup: Setup{States: states}, tokens: q.rows,
		build: func(g *tensor.Graph, x, tokens tensor.Value) tensor.Value {
			return g.Attention(x, tokens, g.State(states[0].Spec), g.State(states[1].Spec), g.State(states[2].Spec), a)
		}}
}

// replays checks that the same run gives the same bits again.
func (s *suite) replays(t *testing.T) {
	dut, _ := s.pair(t)
	for _, f := range s.formats(dut).Formats {
		c := linearCase(f, 512, 33, 40, true, 100)
		r, err := NewRig(dut, c.setup, true, c.graph)
		if s.missing(t, c, err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var first []byte
		for i := range 5 {
			out, err := r.Run(0, c.in)
			if err != nil {
				t.Fatal(err)
			}
			out = out[:4*c.checks[0].n]
			if i == 0 {
				first = out
			} else if !bytes.Equal(out, first) {
				t.Errorf("%s: run %d differs from the first", c.name, i)
			}
		}
		closeRig(t, r)
	}
}
