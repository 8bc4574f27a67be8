package ref

import (
	"encoding/binary"
	"fmt"
	"reflect"

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
	spec := b.graph.WeightOf(v)
	w, ok := b.bindings.Weights[spec.Name].(*weight)
	switch {
	case !ok || w.d != b.d:
		b.fail("no weight %s of this device is bound", spec.Name)
	case w.freed.Load():
		b.fail("weight %s is %w", spec.Name, tensor.ErrClosed)
	case w.spec.Format != spec.Format || w.spec.Rows() != spec.Rows() || w.spec.Cols != spec.Cols:
		b.fail("weight %s is %d × %d %s, the graph wants %d × %d %s", spec.Name, w.spec.Rows(), w.spec.Cols, w.spec.Format,
			spec.Rows(), spec.Cols, spec.Format)
	default:
		return w
	}
	return nil
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
	spec := b.graph.StateOf(v)
	s, ok := b.bindings.States[spec.Name].(*state)
	switch {
	case !ok || s.d != b.d:
		b.fail("no state %s of this device is bound", spec.Name)
	case s.freed.Load():
		b.fail("state %s is %w", spec.Name, tensor.ErrClosed)
	case !reflect.DeepEqual(s.spec, spec):
		b.fail("state %s is not as the graph wants it", spec.Name)
	default:
		return s
	}
	return nil
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
