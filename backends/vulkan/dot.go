//go:build cgo && (linux || windows)

package vulkan

import (
	"slices"

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

// dots tells whether a weight is multiplied by integer dot products. It follows from the device and the weight alone, so that
// a row's bits do not depend on a step's size.
func (d *device) dots(w tensor.WeightSpec) bool {
	return d.dot && w.Format.Quantized() && layoutOf(w).wide
}

// rounding is where the 8-bit form of values lies: what dot products read is rounded by the operation that makes it, where
// that can, so that no launch exists for it; else by a launch before each product, into memory that all of these share.
type rounding struct {
	floats map[tensor.Value]bool // read as floats
	made   map[tensor.Value]bool // rounded by their operations
	shared part
}

// up is the next multiple of alignment.
func up(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// roundedBytes are the sizes of the two planes of a value's 8-bit form.
func roundedBytes(g *tensor.Graph, v tensor.Value) (bytes, scales int64) {
	n := int64(g.RowsOf(v).Cap) * int64(g.ColsOf(v))
	return up(n), up(n / chunkValues * 8)
}

// roundingOf finds what is read in which form.
func (d *device) roundingOf(g *tensor.Graph) rounding {
	r := rounding{floats: map[tensor.Value]bool{}, made: map[tensor.Value]bool{}}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if _, out := g.OutputOf(v); out {
			r.floats[v] = true
		}
	}
	var read []tensor.Value
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for j, v := range n.In {
			if v == 0 {
				continue
			}
			weights := productOf(n)
			if j > 0 || weights == nil {
				r.floats[v] = true
				continue
			}
			for _, w := range weights {
				if d.dots(g.WeightOf(w)) {
					read = append(read, v)
				} else {
					r.floats[v] = true
				}
			}
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, v := range n.Out {
			if d.rounds(g, n, v) {
				r.made[v] = slices.Contains(read, v)
			} else {
				r.floats[v] = true
			}
		}
	}
	for _, v := range read {
		if !r.made[v] {
			bytes, scales := roundedBytes(g, v)
			r.shared.bytes = max(r.shared.bytes, bytes+scales)
		}
	}
	return r
}

// productOf are the weights that an operation multiplies its first input by.
func productOf(n *tensor.Node) []tensor.Value {
	switch n.Op {
	case tensor.OpLinear:
		return n.In[2:]
	case tensor.OpLinearSwiGLU:
		return n.In[1:]
	}
	return nil
}

// rounds tells whether the kernel of an operation can round a result.
func (d *device) rounds(g *tensor.Graph, n *tensor.Node, v tensor.Value) bool {
	if g.ColsOf(v)%chunkValues != 0 {
		return false
	}
	switch n.Op {
	case tensor.OpAddRMSNorm:
		return v == n.Out[len(n.Out)-1]
	case tensor.OpTakeRows:
		return true
	case tensor.OpAttention:
		return n.Attr.(tensor.HeadAttr).HeadDim%chunkValues == 0
	case tensor.OpLinearSwiGLU:
		return d.dots(g.WeightOf(n.In[1]))
	}
	return false
}

// bytesOf is what a value takes in the arena: its floats, and behind them its 8-bit form.
func (p *plan) bytesOf(v tensor.Value) int64 {
	n := p.graph.BytesOf(v)
	if !p.rounding.made[v] {
		return n
	}
	if !p.rounding.floats[v] {
		n = 0
	}
	bytes, scales := roundedBytes(p.graph, v)
	return up(n) + bytes + scales
}

// floats is the address of a value that its operation need not store as floats: 0 where nobody reads these.
func (b *binder) floats(v tensor.Value) uint64 {
	if v != 0 && b.plan.rounding.made[v] && !b.plan.rounding.floats[v] {
		return 0
	}
	return b.at(v)
}

// rounded is the arena's offsets of the two planes of a value's 8-bit form.
func (b *binder) rounded(v tensor.Value) (bytes, scales int64) {
	r := &b.plan.rounding
	n, _ := roundedBytes(b.graph, v)
	at := r.shared.at
	if r.made[v] {
		at = b.plan.place.Offset[v]
		if r.floats[v] {
			at += up(b.graph.BytesOf(v))
		}
	}
	return at, at + n
}

// roundedTo is where the operation that makes a value rounds it to; zeros if it does not.
func (b *binder) roundedTo(v tensor.Value) []uint64 {
	if !b.plan.rounding.made[v] {
		return []uint64{0, 0}
	}
	bytes, scales := b.rounded(v)
	return []uint64{b.arena + uint64(bytes), b.arena + uint64(scales)}
}

// roundFor makes the 8-bit form of what an operation multiplies, if it needs that and nobody made it.
func (b *binder) roundFor(n *tensor.Node) {
	for _, w := range productOf(n) {
		if x := n.In[0]; !b.plan.rounding.made[x] && b.d.dots(b.graph.WeightOf(w)) {
			b.round(x)
			return
		}
	}
}

// round makes the 8-bit form of a value whose operation does not.
func (b *binder) round(x tensor.Value) {
	bytes, scales := b.rounded(x)
	p := new(push).address(b.at(x), b.arena+uint64(bytes), b.arena+uint64(scales), b.count(x)).u32(b.capacity(x), b.graph.ColsOf(x))
	b.wait = true // for who reads what is written over
	b.launch(kernel{name: "quantize"}, [3]int{b.capacity(x), 1, 1}, p)
	b.wait = true
}

// dotClusters is how many clusters a workgroup of the dot shader has.
const dotClusters = 32

// dotProduct multiplies by one weight, to columns of y from first.
func (b *binder) dotProduct(x, y tensor.Value, w *weight, bias uint64, first, rows int, swiglu bool) {
	l, stride := w.layout, b.graph.ColsOf(y)
	tokens, cols := b.capacity(x), int64(w.spec.Cols)
	bytes, scales := b.rounded(x)
	to := []uint64{0, 0}
	if swiglu {
		to = b.roundedTo(y)
	}
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
			b.launch(kernel{"dot", [4]uint32{uint32(w.spec.Format), uint32(g.tile), uint32(g.rows), g.flags | uint32(deep)<<8}},
				[3]int{(m + wide - 1) / wide, (n + deep*g.tile - 1) / (deep * g.tile), 1},
				new(push).address(b.floats(y), biasAt(bias, first+r), b.count(x), b.arena+uint64(scales)).address(to...).
					u32(tokens, t, stride, first+r, m, l.chunks, l.padded, int(skip/chunkValues)),
				append(w.windows(r, span), in)...)
		}
	}
}
