package cpu

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// binder turns operations into launches. It keeps its first error.
type binder struct {
	d        *device
	graph    *tensor.Graph
	plan     *plan
	bindings tensor.Bindings
	capacity int // rows that the operation being lowered may have
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

// operand is where a value's rows lie during a run; the operand of no value has no columns.
type operand struct {
	input  bool // in the step block, else in the arena
	offset int
	rows   tensor.Rows
	cols   int
}

func (b *binder) operand(v tensor.Value) operand {
	if v == 0 {
		return operand{}
	}
	g := b.graph
	o := operand{rows: g.RowsOf(v), cols: g.ColsOf(v)}
	switch {
	case g.KindOf(v) == tensor.Input:
		o.input, o.offset = true, g.OffsetOf(v)
	case b.plan.place.Offset[v] < 0:
		b.fail("value %d has no place", v)
	default:
		o.offset = int(b.plan.place.Offset[v])
	}
	return o
}

// absent tells that the operation was not given this operand.
func (o operand) absent() bool { return o.cols == 0 }

// count is the number of live rows.
func (o operand) count(r *run) int {
	if o.rows.Count < 0 {
		return o.rows.Cap
	}
	return int(binary.LittleEndian.Uint32(r.in[o.rows.Count:]))
}

func (o operand) memory(r *run) []byte {
	if o.input {
		return r.in
	}
	return r.arena
}

// pointer is the address of row t. All values are 4 bytes wide.
func (o operand) pointer(r *run, t int) unsafe.Pointer {
	return pointer(o.memory(r), o.offset+t*o.cols*4)
}

func (o operand) floats(r *run, t int) []float32 {
	return view[float32](o.memory(r), o.offset+t*o.cols*4, o.cols)
}

// ints is all live rows.
func (o operand) ints(r *run) []int32 {
	return view[int32](o.memory(r), o.offset, o.count(r)*o.cols)
}

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

// cache is a KV state, bound as keys or as values.
func (b *binder) cache(v tensor.Value, keys bool) *cache {
	s := b.state(v)
	if s == nil {
		return nil
	}
	if err := b.d.Alone(func() error { return s.cache.bind(keys) }); err != nil {
		b.fail("state %s: %w", s.spec.Name, err)
	}
	return s.cache
}

func (b *binder) slots(v tensor.Value) *slots {
	s := b.state(v)
	if s == nil {
		return nil
	}
	return newSlots(s.bytes, *s.spec.Slots)
}
