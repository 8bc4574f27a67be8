package tensortest

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// The cases of operations that work row by row.

// tokenTable is Prepare's Tokens in an input: one row for each id, and -1 in the rest of the capacity.
func tokenTable(capacity int, rows ...[tensor.TokenColumns]int32) []byte {
	var b block
	for _, r := range rows {
		b.ints(r[:]...)
	}
	b.nan((capacity - len(rows)) * tensor.TokenColumns)
	return b
}

func embedCases(i tensor.Info, add func(*opCase)) {
	for _, f := range i.Formats {
		for n, cols := range []int{f.Block(), 3 * f.Block(), 1024} {
			for _, tied := range []bool{false, true} {
				add(embedCase(f, cols, []int{1, 33, 100}[n], []int{5, 1, 65}[n], tied))
			}
		}
	}
}

// embedCase gathers rows: first, last, and ids that are outside the table. A tied one multiplies by the same weight too.
func embedCase(f tensor.Format, cols, vocab, tokens int, tied bool) *opCase {
	c := &opCase{name: fmt.Sprintf("Embed/%s/%dx%d/%d", f, vocab, cols, tokens), op: tensor.OpEmbed, format: f}
	w := RandomSource(read(Spec("table", f, cols, vocab), tensor.OpEmbed), uint64(cols))
	capacity := tokens + 2
	var rows [][tensor.TokenColumns]int32
	for t := range tokens {
		id := []int32{int32(vocab - 1), 0, int32(vocab), -1, math.MaxInt32, math.MinInt32, int32(t * 7 % vocab)}[min(t, 6)]
		rows = append(rows, [tensor.TokenColumns]int32{id, 0, 0, 0})
	}
	c.in = append(*new(block).ints(int32(tokens)), tokenTable(capacity, rows...)...)
	live := tensor.Rows{Cap: capacity, Count: 0}
	at := len(c.in)
	x := Normal(tokens*cols, 1, 5)
	if tied {
		w.Spec.Readers = append(w.Spec.Readers, tensor.OpLinear)
		c.in = *(*block)(&c.in).floats(x...).nan((capacity - tokens) * cols)
	}
	c.setup.Weights = []*Source{w}
	g := tensor.NewGraph(c.name)
	table := g.Weight(w.Spec)
	y := g.Embed(table, g.Input(4, tensor.I32, live, tensor.TokenColumns))
	c.checks = []check{{name: "x", at: g.Output(y), n: tokens * cols}} // decoding is exact
	if tied {
		c.name += "/tied"
		c.op = tensor.OpLinear // whose tolerance holds for the product
		z := g.Linear(g.Input(at, tensor.F32, live, cols), 0, table)
		c.checks = append(c.checks, check{name: "y", at: g.Output(z), n: tokens * vocab, scale: func() []float64 {
			_, scale := products(x, w.Values(), cols, nil)
			return scale
		}})
	}
	c.graph = g
	return c
}

func normCases(_ tensor.Info, add func(*opCase)) {
	for n, cols := range []int{1, 3, 16, 33, 64, 100, 1024, 1025, 5120} {
		tokens := []int{1, 2, 7, 17, 65, 1, 3, 33, 1}[n]
		add(normCase(cols, tokens, true, 1))
		add(normCase(cols, tokens, false, 1))
	}
	add(normCase(64, 0, true, 1))
	add(normCase(64, 3, true, 1e-6)) // eps outweighs the mean square
	add(normCase(64, 3, true, 1e18)) // squares near the end of f32
}

func keepCases(_ tensor.Info, add func(*opCase)) {
	add(keepCase(64, 9, true))
	add(keepCase(100, 1, false))
	add(keepCase(33, 65, true))
}

func normCase(cols, tokens int, residual bool, size float64) *opCase {
	c := &opCase{name: fmt.Sprintf("AddRMSNorm/%d/%d/%v/%g", cols, tokens, residual, size), op: tensor.OpAddRMSNorm}
	capacity := tokens + 3
	w := RandomSource(Spec("norm", tensor.F32, cols, 1), 9)
	c.setup.Weights = []*Source{w}
	live := tensor.Rows{Cap: capacity, Count: 0}
	var in block
	in.ints(int32(tokens))
	g := tensor.NewGraph(c.name)
	rows := func(seed uint64) tensor.Value {
		at := len(in)
		in.floats(Normal(tokens*cols, size, seed)...).nan((capacity - tokens) * cols)
		return g.Input(at, tensor.F32, live, cols)
	}
	x, delta := rows(1), tensor.Value(0)
	if residual {
		delta = rows(2)
	}
	sum, normed := g.AddRMSNorm(x, delta, g.Weight(w.Spec), 1e-6)
	if residual {
		c.checks = append(c.checks, check{name: "sum", at: g.Output(sum), n: tokens * cols}) // one addition is exact
	}
	c.checks = append(c.checks, check{name: "normed", at: g.Output(normed), n: tokens * cols, size: ownSize})
	c.graph, c.in = g, in
	return c
}

// keepCase keeps every other token's row, last first, in a state with room for more.
func keepCase(cols, tokens int, residual bool) *opCase {
	c := &opCase{name: fmt.Sprintf("KeepRows/%d/%d/%v", cols, tokens, residual), op: tensor.OpKeepRows}
	w := RandomSource(Spec("norm", tensor.F32, cols, 1), 9)
	kept := (tokens + 1) / 2
	hidden := StateInit{Spec: tensor.StateSpec{Name: "hidden", Rows: &tensor.RowSpec{Rows: kept + 3, Cols: cols}}}
	hidden.Data = *new(block).floats(Normal((kept+3)*cols, 1, 3)...)
	c.setup = Setup{Weights: []*Source{w}, States: []StateInit{hidden}}
	var in block
	in.ints(int32(tokens), int32(kept))
	g := tensor.NewGraph(c.name)
	live := tensor.Rows{Cap: tokens + 1, Count: 0}
	rows := func(seed uint64) tensor.Value {
		at := len(in)
		in.floats(Normal(tokens*cols, 1, seed)...).nan(cols)
		return g.Input(at, tensor.F32, live, cols)
	}
	x, delta := rows(1), tensor.Value(0)
	if residual {
		delta = rows(2)
	}
	at := len(in)
	for i := range kept {
		in.ints(int32(tokens - 1 - 2*i))
	}
	in.nan(1)
	g.KeepRows(x, delta, g.Weight(w.Spec), g.Input(at, tensor.I32, tensor.Rows{Cap: kept + 1, Count: 4}, 1), g.State(hidden.Spec), 1e-6)
	c.checks = []check{{name: "hidden", state: "hidden", view: floatsOf, size: ownSize},
		{name: "rows beyond", state: "hidden", bits: func(b []byte) []byte { return b[kept*cols*4:] }}}
	c.graph, c.in = g, in
	return c
}

func takeCases(_ tensor.Info, add func(*opCase)) {
	for _, rows := range []int{1, 5, 64} {
		const cols, have = 100, 70
		c := &opCase{name: fmt.Sprintf("TakeRows/%d", rows), op: tensor.OpTakeRows}
		hidden := StateInit{Spec: tensor.StateSpec{Name: "hidden", Rows: &tensor.RowSpec{Rows: have, Cols: cols}}}
		hidden.Data = *new(block).floats(Normal(have*cols, 1, 3)...)
		c.setup.States = []StateInit{hidden}
		var head []tensor.HeadRow
		for i := range rows {
			head = append(head, tensor.HeadRow{Row: int32((have - 1 + 11*i) % have), Ask: -1})
		}
		c.in = headBlock(rows+2, head)
		g := tensor.NewGraph(c.name)
		x := g.TakeRows(g.State(hidden.Spec), g.HeadInput(rows+2))
		c.checks = []check{{name: "x", at: g.Output(x), n: rows * cols}}
		c.graph = g
		add(c)
	}
}

// headBlock is a Head block with capacity for rows, -1 in those that are not used.
func headBlock(capacity int, rows []tensor.HeadRow) []byte {
	b := make([]byte, tensor.HeadBytes(capacity))
	for i := range b {
		b[i] = 0xff
	}
	if err := tensor.EncodeHead(b, rows); err != nil {
		panic(err) // the suite's own mistake
	}
	return b
}

func swigluCases(_ tensor.Info, add func(*opCase)) {
	for n, ffn := range []int{1, 7, 32, 33, 1000} {
		tokens := []int{65, 1, 0, 8, 3}[n]
		c := &opCase{name: fmt.Sprintf("SwiGLU/%d/%d", ffn, tokens), op: tensor.OpSwiGLU}
		x := Normal(tokens*2*ffn, 4, uint64(ffn))
		for i := range x {
			// Gates at which the exponential leaves f32, and zeros of both signs, stand among the others.
			if i%(2*ffn) < ffn && i%5 == 0 {
				x[i] = []float32{-200, -88, -30, -1e-10, float32(math.Copysign(0, -1)), 0, 1e-10, 30, 89, 200, 1e30}[i/5%11]
			}
		}
		var scale []float64
		for t := range tokens {
			for o := range ffn {
				gate, up := float64(x[t*2*ffn+o]), float64(x[t*2*ffn+ffn+o])
				// Below e⁻⁸⁰ only the size matters.
				scale = append(scale, math.Abs(gate/(1+math.Exp(-gate))*up)+math.Abs(up)*1e-30)
			}
		}
		c.in = *new(block).ints(int32(tokens)).floats(x...).nan(2 * 2 * ffn)
		g := tensor.NewGraph(c.name)
		y := g.SwiGLU(g.Input(4, tensor.F32, tensor.Rows{Cap: tokens + 2, Count: 0}, 2*ffn))
		c.checks = []check{{name: "y", at: g.Output(y), n: len(scale), scale: func() []float64 { return scale }}}
		c.graph = g
		add(c)
	}
}
