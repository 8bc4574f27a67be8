//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// launch is one dispatch: a kernel, its push constants and its grid.
type launch struct {
	node   int // of the graph
	kernel kernel
	groups [3]int
	push   push
	bound  []window // what it reads through a descriptor set
	wait   bool     // for all launches before, of its own operation too
}

// push builds push constants: 64-bit addresses first, then 32-bit words.
type push struct {
	words [32]uint32
	n     int
}

func (p *push) address(as ...uint64) *push {
	for _, a := range as {
		p.words[p.n], p.words[p.n+1] = uint32(a), uint32(a>>32)
		p.n += 2
	}
	return p
}

func (p *push) u32(vs ...int) *push {
	for _, v := range vs {
		p.words[p.n] = uint32(v)
		p.n++
	}
	return p
}

func (p *push) f32(v float32) *push {
	p.words[p.n] = math.Float32bits(v)
	p.n++
	return p
}

// binder turns operations into launches. It keeps its first error.
type binder struct {
	d        *device
	graph    *tensor.Graph
	plan     *plan
	bindings tensor.Bindings
	in       uint64 // address of the step block
	arena    uint64 // address of the arena
	block    *buffer
	scratch  *buffer
	node     int
	launches []launch
	wait     bool // of the next launch
	err      error
}

// lower is the table of operations.
func (b *binder) lower(i int) {
	b.node = i
	n := &b.graph.Nodes[i]
	switch n.Op {
	case tensor.OpPrepare:
		b.prepare(n)
	case tensor.OpEmbed:
		b.embed(n)
	case tensor.OpAddRMSNorm:
		b.addRMSNorm(n)
	case tensor.OpLinear:
		b.linear(n)
	case tensor.OpQKNormRopeStore:
		b.qkNormRopeStore(n)
	case tensor.OpAttention:
		b.attention(n)
	case tensor.OpLinearSwiGLU:
		b.linearSwiGLU(n)
	case tensor.OpSwiGLU:
		b.swiGLU(n)
	case tensor.OpKeepRows:
		b.keepRows(n)
	case tensor.OpTakeRows:
		b.takeRows(n)
	case tensor.OpSample:
		b.sample(n)
	default:
		b.fail("%w: operation %s", tensor.ErrUnsupported, n.Op)
	}
}

func (b *binder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

// launch appends a dispatch of a grid of workgroups, which reads windows of buffers as its bindings 0, 1, …
func (b *binder) launch(k kernel, grid [3]int, p *push, bound ...window) {
	b.launches = append(b.launches, launch{b.node, k, grid, *p, bound, b.wait})
	b.wait = false
}

// count is the address of the number of a value's live rows, or, where all always are, any address that can be read.
func (b *binder) count(v tensor.Value) uint64 {
	if r := b.graph.RowsOf(v); r.Count >= 0 {
		return b.in + uint64(r.Count)
	}
	return b.arena
}

// live is the other half of what a shader needs to know how many rows are live: the capacity, marked where all are.
func (b *binder) live(v tensor.Value) int {
	n := b.capacity(v)
	if b.graph.RowsOf(v).Count < 0 {
		n |= 1 << 31
	}
	return n
}

func (b *binder) capacity(v tensor.Value) int { return b.graph.RowsOf(v).Cap }

// at is the address of a value: an input, or a result; 0 for none.
func (b *binder) at(v tensor.Value) uint64 {
	switch {
	case v == 0:
		return 0
	case b.graph.KindOf(v) == tensor.Input:
		return b.in + uint64(b.graph.OffsetOf(v))
	}
	return b.arena + uint64(b.plan.place.Offset[v])
}

// nothing stands for a weight or a state that is not bound, so that lowering can go on to its end.
var nothing = &buffer{}

func (b *binder) weight(v tensor.Value) *weight {
	spec := b.graph.WeightOf(v)
	w, err := lifetime.Weight[*weight](&b.d.Device, b.bindings, spec)
	if err != nil {
		b.fail("%w", err)
		return &weight{buffer: nothing, spec: spec, layout: b.d.layoutOf(spec)}
	}
	return w
}

// vector is the address of a weight of one row; 0 for no value.
func (b *binder) vector(v tensor.Value) uint64 {
	if v == 0 {
		return 0
	}
	return b.weight(v).address()
}

// planes are the addresses of a weight's planes.
func (w *weight) planes() []uint64 {
	a := w.address()
	var as []uint64
	for _, at := range w.layout.at {
		as = append(as, a+uint64(at))
	}
	return as
}

func (b *binder) state(v tensor.Value) *state {
	spec := b.graph.StateOf(v)
	s, err := lifetime.State[*state](&b.d.Device, b.bindings, spec)
	if err != nil {
		b.fail("%w", err)
		return &state{nothing, spec}
	}
	return s
}

// slots is the address of the sequence slots and the word offsets of their arrays.
func (b *binder) slots(v tensor.Value) (uint64, tensor.SlotSpec, tensor.SlotLayout) {
	s := b.state(v)
	l := s.spec.Slots.Layout()
	for _, o := range []*int64{&l.Last, &l.Params, &l.Pages, &l.Bias, &l.Biases, &l.Counts, &l.Prompt} {
		*o /= 4
	}
	return s.address(), *s.spec.Slots, l
}

// encode resolves kernels to pipelines and decides which launches wait for those before.
func (b *binder) encode() ([]C.ullm_launch, error) {
	out := make([]C.ullm_launch, len(b.launches))
	since := 0 // first launch after the last barrier
	for i := range b.launches {
		l := &b.launches[i]
		p, err := b.d.shaders.pipeline(l.kernel)
		if err != nil {
			return nil, err
		}
		o := &out[i]
		o.pipeline = C.uint64_t(uintptr(p))
		for j, n := range l.groups {
			o.groups[j] = C.uint32_t(n)
		}
		o.push = *(*[32]C.uint32_t)(unsafe.Pointer(&l.push.words))
		for _, e := range b.launches[since:i] {
			if l.wait || e.node != l.node && b.depends(e.node, l.node) {
				o.barrier = 1
				since = i
				break
			}
		}
	}
	return out, nil
}

// depends tells whether node j waits for node i.
func (b *binder) depends(i, j int) bool {
	g := b.graph
	if op := g.Nodes[i].Op; op == g.Nodes[j].Op && (op == tensor.OpSample || op == tensor.OpAttention) {
		return true // they share the work space
	}
	return tensor.Depends(g, b.plan.place, b.plan.bytesOf, &g.Nodes[i], &g.Nodes[j])
}
