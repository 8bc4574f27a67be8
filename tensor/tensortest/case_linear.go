package tensortest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ullm/ullm/tensor"
)

// linearCases are Linear and LinearSwiGLU in every format.
func linearCases(i tensor.Info, add func(*opCase)) {
	for n, f := range i.Formats {
		add(mixedCase([]tensor.Format{f, i.Formats[(n+1)%len(i.Formats)], i.Formats[(n+4)%len(i.Formats)]}))
		// Inner sizes: one block, odd numbers of blocks, more than any tile. Outer sizes: one row, around tile borders.
		inner := []int{f.Block(), 3 * f.Block(), 1280 + f.Block()}
		if f.Block() == 1 {
			inner = []int{1, 7, 31, 33, 64, 100, 257, 1000, 1536}
		}
		for k, cols := range inner {
			for n, rows := range []int{1, 3, 8, 17, 33, 64, 100} {
				tokens := []int{1, 2, 5, 8, 17, 33, 65}[(k+n)%7]
				add(linearCase(f, cols, tokens, tokens+n%3, false, rows))
			}
			add(swigluCase(f, cols, 1, 1, 7))
			add(swigluCase(f, cols, 5, 8, 24))
			add(swigluCase(f, cols, 33, 64, 65))
		}
		add(linearCase(f, 2*f.Block(), 0, 4, false, 16)) // no live row at all
		add(linearCase(f, 2*f.Block(), 3, 4, true, 16))
		add(linearCase(f, 256, 65, 65, true, 48, 16, 16)) // parts with a bias
	}
}

// linearCase multiplies tokens rows, of which a block with room for capacity holds the rest as NaN.
func linearCase(f tensor.Format, cols, tokens, capacity int, bias bool, rows ...int) *opCase {
	seed := uint64(cols*1000 + tokens)
	w := RandomSource(read(Spec("w", f, cols, rows...), tensor.OpLinear), seed)
	c := &opCase{name: fmt.Sprintf("Linear/%s/%dx%d/%dof%d", f, w.Spec.Rows(), cols, tokens, capacity), op: tensor.OpLinear, format: f}
	c.setup.Weights = []*Source{w}
	g := tensor.NewGraph(c.name)
	c.graph = g
	x := Normal(tokens*cols, 1, seed+1)
	c.in = *new(block).ints(int32(tokens)).floats(x...).nan((capacity - tokens) * cols)
	var b tensor.Value
	var shift []float32
	if bias {
		c.name += "/bias"
		v := RandomSource(read(Spec("bias", tensor.F32, w.Spec.Rows(), 1), tensor.OpLinear), seed+2)
		c.setup.Weights = append(c.setup.Weights, v)
		b, shift = g.Weight(v.Spec), v.Values()
	}
	y := g.Linear(g.Input(4, tensor.F32, tensor.Rows{Cap: capacity, Count: 0}, cols), b, g.Weight(w.Spec))
	c.checks = []check{{name: "y", at: g.Output(y), n: tokens * w.Spec.Rows(), scale: func() []float64 {
		_, scale := products(x, w.Values(), cols, shift)
		return scale
	}}}
	c.macs = int64(tokens) * int64(cols) * int64(w.Spec.Rows())
	return c
}

// mixedCase is a Linear over weights of several formats, one below the other, with a bias over all.
func mixedCase(formats []tensor.Format) *opCase {
	const cols, tokens, capacity = 512, 19, 32
	// The widest tolerance is that of the coarsest format: blocks before 16 bits before F32.
	rough := slices.MaxFunc(formats, func(a, b tensor.Format) int {
		return cmp.Or(cmp.Compare(a.Block(), b.Block()), cmp.Compare(b.BlockBytes(), a.BlockBytes()))
	})
	c := &opCase{name: fmt.Sprintf("Linear/%v", formats), op: tensor.OpLinear, format: rough}
	g := tensor.NewGraph(c.name)
	var weights []tensor.Value
	var values []float32
	for j, f := range formats {
		w := RandomSource(read(Spec(fmt.Sprint("w", j), f, cols, []int{48, 17, 33}[j]), tensor.OpLinear), uint64(j+1))
		c.setup.Weights = append(c.setup.Weights, w)
		weights = append(weights, g.Weight(w.Spec))
		values = append(values, w.Values()...)
	}
	bias := RandomSource(read(Spec("bias", tensor.F32, len(values)/cols, 1), tensor.OpLinear), 9)
	c.setup.Weights = append(c.setup.Weights, bias)
	x := Normal(tokens*cols, 1, 5)
	c.in = *new(block).ints(tokens).floats(x...).nan((capacity - tokens) * cols)
	y := g.Linear(g.Input(4, tensor.F32, tensor.Rows{Cap: capacity, Count: 0}, cols), g.Weight(bias.Spec), weights...)
	c.checks = []check{{name: "y", at: g.Output(y), n: tokens * len(values) / cols, scale: func() []float64 {
		_, scale := products(x, values, cols, bias.Values())
		return scale
	}}}
	c.graph = g
	return c
}

// swigluCase is LinearSwiGLU.
func swigluCase(f tensor.Format, cols, tokens, capacity, ffn int) *opCase {
	seed := uint64(cols*1001 + tokens)
	w := RandomSource(read(Spec("w", f, cols, ffn, ffn), tensor.OpLinearSwiGLU), seed)
	c := &opCase{name: fmt.Sprintf("LinearSwiGLU/%s/%dx%d/%dof%d", f, ffn, cols, tokens, capacity), op: tensor.OpLinearSwiGLU, format: f}
	c.setup.Weights = []*Source{w}
	g := tensor.NewGraph(c.name)
	c.graph = g
	x := Normal(tokens*cols, 2, seed+1)
	c.in = *new(block).ints(int32(tokens)).floats(x...).nan((capacity - tokens) * cols)
	y := g.LinearSwiGLU(g.Input(4, tensor.F32, tensor.Rows{Cap: capacity, Count: 0}, cols), g.Weight(w.Spec))
	c.checks = []check{{name: "y", at: g.Output(y), n: tokens * ffn, scale: func() []float64 { return swigluScale(x, w, ffn) }}}
	c.macs = int64(tokens) * int64(cols) * int64(w.Spec.Rows())
	return c
}

// swigluScale takes both factors' errors through the product; the slope of silu is at most 1.1.
func swigluScale(x []float32, w *Source, ffn int) (scale []float64) {
	sums, scales := products(x, w.Values(), w.Spec.Cols, nil)
	for t := 0; t < len(sums); t += 2 * ffn {
		row, of := sums[t:], scales[t:]
		for o := range ffn {
			gate, up := row[o], row[ffn+o]
			scale = append(scale, 1.1*of[o]*math.Abs(up)+math.Abs(gate/(1+math.Exp(-gate)))*of[ffn+o])
		}
	}
	return scale
}

// products are the sums x·w and the root of the sums of squares of their terms, for each row of x and each of w.
func products(x, w []float32, cols int, bias []float32) (sums, scales []float64) {
	for t := 0; t < len(x); t += cols {
		for o := 0; o < len(w); o += cols {
			sum, squares := 0.0, 0.0
			for k := range cols {
				p := float64(x[t+k]) * float64(w[o+k])
				sum += p
				squares += p * p
			}
			if bias != nil {
				b := float64(bias[o/cols])
				sum += b
				squares += b * b
			}
			sums, scales = append(sums, sum), append(scales, math.Sqrt(squares))
		}
	}
	return sums, scales
}
