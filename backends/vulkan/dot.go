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
	each := max(1, int((int64(b.d.physical.max_storage_range)-alignment)/cols))
	take := b.take(w, rows, swiglu)
	for t := 0; t < tokens; t += each {
		n := min(each, tokens-t)
		at := bytes + cols*int64(t)
		skip := at % alignment
		in := window{b.scratch, at - skip, cols*int64(n) + skip}
		for r := 0; r < rows && take > 0; r += take {
			m := min(take, rows-r)
			span := m
			if swiglu {
				span = w.spec.Rows()
			}
			g := geometryOf(n, m, appetites[min(b.d.physical._type, 4)], b.d.physical.reuse(), swiglu)
			deep := 1 // clusters of tokens in a workgroup, where a block of 32 results is left to it
			for deep < min(4, g.rows) && deep*g.tile < n {
				deep *= 2
			}
			wide := dotClusters / deep * g.rows
			b.launch(kernel{"dot", [numConstants]uint32{uint32(w.spec.Format), uint32(g.tile), uint32(g.rows), g.flags | b.halves(y, dotHalves) | uint32(deep)<<8}},
				[3]int{(m + wide - 1) / wide, (n + deep*g.tile - 1) / (deep * g.tile), 1},
				new(push).address(b.floats(y), biasAt(bias, first+r), b.count(x), b.arena+uint64(scales)).address(to...).
					u32(b.live(x), t, stride, first+r, m, l.chunks, l.padded, int(skip/chunkValues)),
				append(w.windows(r, span), in)...)
		}
	}
}
