//go:build cgo && (linux || windows)

package vulkan

import (
	"github.com/ullm/ullm/tensor"
)

// form is how a product reads its activations.
type form uint8

const (
	asFloats form = iota
	asBytes       // 8 bits, with a scale for each chunk: for integer dot products
	asHalves      // f16: for cooperative matrices
)

// formFor is the form of the activations that a weight is multiplied by, and so the arithmetic of the product. It follows from
// the device and the weight alone, so that a row's bits do not depend on a step's size.
func (d *device) formFor(w tensor.WeightSpec) form {
	switch {
	case !layoutOf(w).wide:
	case d.dot && w.Format.Quantized():
		return asBytes
	case d.matrix.takes(w):
		return asHalves
	}
	return asFloats
}

// rounding is where the rounded forms of values lie: what products read is rounded by the operation that makes it, where that
// can, so that no launch exists for it; else by a launch before each product, into memory that all of these share.
type rounding struct {
	floats map[tensor.Value]bool // read as floats
	made   map[tensor.Value]form // rounded by their operations
	shared part
}

// roundedBytes are the sizes of the two planes of a value's rounded form.
func (d *device) roundedBytes(g *tensor.Graph, v tensor.Value, f form) (values, scales int64) {
	rows, cols := int64(g.RowsOf(v).Cap), int64(g.ColsOf(v))
	if f == asHalves {
		return up(2 * cols * max(rows, int64(d.matrix.reach(int(rows))))), 0
	}
	return up(rows * cols), up(rows * cols / chunkValues * 8)
}

// roundingOf finds what is read in which form.
func (d *device) roundingOf(g *tensor.Graph) rounding {
	r := rounding{floats: map[tensor.Value]bool{}, made: map[tensor.Value]form{}}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if _, out := g.OutputOf(v); out {
			r.floats[v] = true
		}
	}
	type reading struct {
		v tensor.Value
		f form
	}
	var read []reading
	first := map[tensor.Value]form{} // as which a value is read first
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
				f := d.formFor(g.WeightOf(w))
				if f == asFloats {
					r.floats[v] = true
					continue
				}
				read = append(read, reading{v, f})
				if first[v] == asFloats {
					first[v] = f
				}
			}
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, v := range n.Out {
			if f := first[v]; f != asFloats && d.rounds(g, n, v, f) {
				r.made[v] = f
			} else {
				r.floats[v] = true
			}
		}
	}
	for _, x := range read {
		if r.made[x.v] == x.f {
			continue
		}
		values, scales := d.roundedBytes(g, x.v, x.f)
		r.shared.bytes = max(r.shared.bytes, values+scales)
		r.floats[x.v] = true // which are rounded
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

// rounds tells whether the kernel of an operation can round a result to a form.
func (d *device) rounds(g *tensor.Graph, n *tensor.Node, v tensor.Value, f form) bool {
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
		by := d.formFor(g.WeightOf(n.In[1]))
		return by == asBytes || by == asHalves && f == asHalves
	}
	return false
}

// bytesOf is what a value takes in the arena: its floats, and behind them its rounded form.
func (p *plan) bytesOf(v tensor.Value) int64 {
	n, f := p.graph.BytesOf(v), p.rounding.made[v]
	if f == asFloats {
		return n
	}
	if !p.rounding.floats[v] {
		n = 0
	}
	values, scales := p.d.roundedBytes(p.graph, v, f)
	return up(n) + values + scales
}

// floats is the address of a value that its operation need not store as floats: 0 where nobody reads these.
func (b *binder) floats(v tensor.Value) uint64 {
	if v != 0 && b.plan.rounding.made[v] != asFloats && !b.plan.rounding.floats[v] {
		return 0
	}
	return b.at(v)
}

// rounded is the arena's offsets of the two planes of a value's rounded form.
func (b *binder) rounded(v tensor.Value, f form) (values, scales int64) {
	r := &b.plan.rounding
	n, _ := b.d.roundedBytes(b.graph, v, f)
	at := r.shared.at
	if r.made[v] == f {
		at = b.plan.place.Offset[v]
		if r.floats[v] {
			at += up(b.graph.BytesOf(v))
		}
	}
	return at, at + n
}

// roundedTo is where the operation that makes a value rounds it to: the addresses of values and scales, 0 for what is not made.
func (b *binder) roundedTo(v tensor.Value) []uint64 {
	f := b.plan.rounding.made[v]
	if f == asFloats {
		return []uint64{0, 0}
	}
	return b.planesOf(v, f)
}

// planesOf are the addresses of a rounded form. Halves have no scales.
func (b *binder) planesOf(v tensor.Value, f form) []uint64 {
	values, scales := b.rounded(v, f)
	return []uint64{b.arena + uint64(values), b.arena + uint64(scales)}
}

// halves is flag where a value is rounded to f16 by the operation that makes it.
func (b *binder) halves(v tensor.Value, flag uint32) uint32 {
	if b.plan.rounding.made[v] != asHalves {
		return 0
	}
	return flag
}

// round makes the form in which a product reads x, if it needs one that nobody made: last is the form that the shared memory
// has for the product before, of the same operation. The answer is what it has now.
func (b *binder) round(x tensor.Value, f, last form) form {
	if f == asFloats || b.plan.rounding.made[x] == f || last == f {
		return last
	}
	k := kernel{name: "quantize"}
	if f == asHalves {
		k.constants[0] = 1
	}
	p := new(push).address(b.at(x)).address(b.planesOf(x, f)...).address(b.count(x)).u32(b.live(x), b.graph.ColsOf(x))
	b.wait = true // for who reads what is written over
	b.launch(k, [3]int{b.capacity(x), 1, 1}, p)
	b.wait = true
	return f
}
