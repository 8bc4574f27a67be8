package ref

import (
	"encoding/binary"
	"fmt"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// binder turns operations into launches. It keeps its first error.
type binder struct {
	d        *device
	graph    *tensor.Graph
	place    tensor.Placement
	bindings tensor.Bindings
	err      error
}

// lower is the table of operations.
func (b *binder) lower(n *tensor.Node) launch {
	switch n.Op {
	case tensor.OpPrepare:
		return b.prepare(n)
	case tensor.OpEmbed:
		return b.embed(n)
	case tensor.OpAddRMSNorm:
		return b.addRMSNorm(n)
	case tensor.OpLinear:
		return b.linear(n)
	case tensor.OpQKNormRopeStore:
		return b.qkNormRopeStore(n)
	case tensor.OpAttention:
		return b.attention(n)
	case tensor.OpLinearSwiGLU:
		return b.linearSwiGLU(n)
	case tensor.OpSwiGLU:
		return b.swiGLU(n)
	case tensor.OpKeepRows:
		return b.keepRows(n)
	case tensor.OpTakeRows:
		return b.takeRows(n)
	case tensor.OpSample:
		return b.sample(n)
	}
	b.fail("%w: operation %s", tensor.ErrUnsupported, n.Op)
	return nil
}

func (b *binder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// operand is where a value's rows lie during a run.
type operand struct {
	input  bool // in the step block, else in the arena
	offset int
	rows   tensor.Rows
	cols   int
	format tensor.Format
}

func (b *binder) operand(v tensor.Value) operand {
	g := b.graph
	o := operand{rows: g.RowsOf(v), cols: g.ColsOf(v), format: g.FormatOf(v)}
	if g.KindOf(v) == tensor.Input {
		o.input, o.offset = true, g.OffsetOf(v)
	} else {
		o.offset = int(b.place.Offset[v])
	}
	return o
}

// count is the number of live rows.
func (o operand) count(r *run) int {
	if o.rows.Count < 0 {
		return o.rows.Cap
	}
	return int(binary.LittleEndian.Uint32(r.in[o.rows.Count:]))
}

// live is the memory of the live rows.
func (o operand) live(r *run) []byte {
	m := r.arena
	if o.input {
		m = r.in
	}
	return m[o.offset:][:o.count(r)*o.format.RowBytes(o.cols)]
}

func (o operand) floats(r *run) []float32 { return floats(o.live(r)) }
func (o operand) ints(r *run) []int32     { return ints(o.live(r)) }

func (b *binder) weight(v tensor.Value) *weight {
	w, err := lifetime.Weight[*weight](&b.d.Device, b.bindings, b.graph.WeightOf(v))
	if err != nil {
		b.fail("%w", err)
	}
	return w
}

// vector decodes a weight of one row; nil for no value.
func (b *binder) vector(v tensor.Value) []float32 {
	if v == 0 {
		return nil
	}
	if w := b.weight(v); w != nil {
		return w.vector()
	}
	return nil
}

func (b *binder) state(v tensor.Value) *state {
	s, err := lifetime.State[*state](&b.d.Device, b.bindings, b.graph.StateOf(v))
	if err != nil {
		b.fail("%w", err)
	}
	return s
}

func (b *binder) cache(v tensor.Value) *cache {
	if s := b.state(v); s != nil {
		return &cache{s.bytes, *s.spec.KV}
	}
	return nil
}

func (b *binder) slots(v tensor.Value) *slots {
	if s := b.state(v); s != nil {
		return &slots{s.bytes, *s.spec.Slots, s.spec.Slots.Layout()}
	}
	return nil
}
