//go:build cgo && (linux || windows)

package vulkan

import (
	"github.com/ullm/ullm/tensor"
)

// Dot says whether quantised weights are multiplied by integer dot products, with activations rounded to 8 bits in blocks of
// 32, as package cpu has them, or as floats.
type Dot uint8

const (
	DotFast   Dot = iota // where the device says that it accelerates them
	DotAlways            // where it has them at all: for tests in software
	DotNever
)

func (o Dot) on(p *physical) bool {
	switch o {
	case DotAlways:
		return p.integer_dot != 0
	case DotFast:
		return p.integer_dot_fast != 0
	}
	return false
}

// dotClusters is how many clusters a workgroup of the dot shader has.
const dotClusters = 32

// dotHalves is a flag beside those of the linear shader: results are rounded to f16.
const dotHalves = 4

// dotProduct multiplies by one weight, to columns of y from first.
func (b *binder) dotProduct(x, y tensor.Value, w *weight, bias uint64, first, rows int, swiglu bool) {
	l, stride := w.layout, b.graph.ColsOf(y)
	tokens, cols := b.capacity(x), int64(w.spec.Cols)
	bytes, scales := b.rounded(x, asBytes)
	to := b.roundedTo(y)
	for p := range pieces(w, tokens, b.reach(cols), rows, b.take(w, rows, swiglu), swiglu) {
		at := bytes + cols*int64(p.token)
		skip := at % alignment
		in := window{b.scratch, at - skip, cols*int64(p.tokens) + skip}
		g := geometryOf(p.tokens, p.rows, b.d.physical.appetite(), b.d.physical.reuse(), swiglu)
		deep := 1 // clusters of tokens in a workgroup, where a block of 32 results is left to it
		for deep < min(4, g.rows) && deep*g.tile < p.tokens {
			deep *= 2
		}
		wide := dotClusters / deep * g.rows
		b.launch(kernel{"dot", [numConstants]uint32{uint32(w.spec.Format), uint32(g.tile), uint32(g.rows), g.flags | b.halves(y, dotHalves) | uint32(deep)<<8}},
			[3]int{(p.rows + wide - 1) / wide, (p.tokens + deep*g.tile - 1) / (deep * g.tile), 1},
			new(push).address(b.floats(y), biasAt(bias, first+p.row), b.count(x), b.arena+uint64(scales)).address(to...).
				u32(b.live(x), p.token, stride, first+p.row, p.rows, l.chunks, l.padded, int(skip/chunkValues)),
			append(w.windows(p.row, p.span), in)...)
	}
}
