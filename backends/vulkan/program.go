//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// program is a graph as recorded command buffers, one for each run that may be in flight.
type program struct {
	lifetime.Program
	d      *device
	plan   *plan
	arena  *arena
	print  string
	name   string
	block  *buffer        // the step block on the device
	stages []*buffer      // for each slot what its step block comes from and its outputs go to
	runs   []*slot        // all
	spans  []tensor.Span  // of the launches, without times
	sets   unsafe.Pointer // descriptor pool of what the launches bind
	eager  bool           // each launch is awaited before the next is submitted
}

// slot is what one run in flight needs.
type slot struct {
	segments []*segment // submitted one after the other
	in, out  []byte     // as the processor sees them
}

// segment is the submission of some of a program's launches.
type segment struct {
	commands   *C.ullm_commands // an object of its own: what C gets may not lie beside Go pointers
	stamps     stamps
	first, end int // launches
}

func (d *device) Compile(tp tensor.Plan, bind tensor.Bindings) (tensor.Program, error) {
	pl, ok := tp.(*plan)
	if !ok || pl.d != d {
		return nil, fmt.Errorf("vulkan: compile: a plan of another device (%T)", tp)
	}
	g := pl.graph
	if err := d.Call("compile " + g.Name); err != nil {
		return nil, err
	}
	a, ok := bind.Arena.(*arena)
	if !ok || a.d != d || a.Bytes() < pl.Scratch() || a.Freed() {
		return nil, fmt.Errorf("vulkan: compile %s: needs an arena of this device with at least %d bytes", g.Name, pl.Scratch())
	}
	p := &program{d: d, plan: pl, arena: a, name: "program " + g.Name, eager: bind.Eager}
	if err := p.build(bind); err != nil {
		p.free()
		return nil, fmt.Errorf("vulkan: compile %s: %w", g.Name, err)
	}
	var inputs [][]byte
	for _, s := range p.runs {
		inputs = append(inputs, s.in)
	}
	if err := p.Open(&d.Device, g, inputs, p); err != nil {
		p.free()
		return nil, err
	}
	return p, nil
}

// build allocates, lowers and records.
func (p *program) build(bind tensor.Bindings) (err error) {
	d, g := p.d, p.plan.graph
	in, out := int64(g.InputBytes()), int64(g.OutputBytes())
	if p.block, err = d.alloc(onDevice, tensor.UseProgram, in, "step block of "+g.Name); err != nil {
		return err
	}
	b := &binder{d: d, graph: g, plan: p.plan, bindings: bind, in: p.block.address(), arena: p.arena.address(), block: p.block, scratch: p.arena.buffer}
	for i := range g.Nodes {
		b.lower(i)
	}
	if b.err != nil {
		return b.err
	}
	launches, err := b.encode()
	if err == nil {
		p.sets, err = b.describe(launches)
	}
	if err != nil {
		return err
	}
	ends := b.cut(bind.Eager)
	p.print, p.spans = b.print(len(ends)), b.spans()
	for range d.options.Depth {
		stage, err := d.alloc(onHost, tensor.UseProgram, in+out, "staging of "+g.Name)
		if err != nil {
			return err
		}
		p.stages = append(p.stages, stage)
		s := &slot{}
		if m := stage.host(); m != nil {
			s.in, s.out = m[:in:in], m[in:]
		}
		p.runs = append(p.runs, s)
		if err := p.record(s, stage, launches, ends); err != nil {
			return err
		}
	}
	return nil
}

// record makes a slot's command buffers, one up to each end.
func (p *program) record(s *slot, stage *buffer, launches []C.ullm_launch, ends []int) error {
	d, g := p.d, p.plan.graph
	var in, out []C.ullm_copy
	if n := int64(g.InputBytes()); n > 0 {
		in = append(in, copyOf(stage, 0, p.block, 0, n))
	}
	if a := p.plan.arrivals; a.bytes > 0 {
		in = append(in, zeroOf(p.arena.buffer, a.at, a.bytes))
	}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if o, ok := g.OutputOf(v); ok && g.BytesOf(v) > 0 {
			out = append(out, copyOf(p.arena.buffer, p.plan.place.Offset[v], stage, int64(g.InputBytes()+o), g.BytesOf(v)))
		}
	}
	from := 0
	for i, end := range ends {
		var before, after []C.ullm_copy
		if i == 0 {
			before = in
		}
		if i == len(ends)-1 {
			after = out
		}
		if err := d.Fault("vkCreateCommandPool"); err != nil {
			return err
		}
		c := new(C.ullm_commands)
		if err := d.check(C.ullm_commands_create(d.raw, c), "make a command buffer"); err != nil {
			return err
		}
		seg := &segment{commands: c, first: from, end: end}
		s.segments = append(s.segments, seg)
		if err := seg.stamps.create(d, end-from); err != nil {
			return err
		}
		if err := d.Fault(fmt.Sprintf("vkEndCommandBuffer, %s", g.Name)); err != nil {
			return err
		}
		part := launches[from:end]
		r := C.ullm_record(d.raw, c, first(before), C.uint32_t(len(before)), first(part), C.uint32_t(len(part)),
			first(after), C.uint32_t(len(after)), seg.stamps.pool)
		if err := d.check(r, "record "+g.Name); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// spans describe the launches to a profile.
func (b *binder) spans() []tensor.Span {
	spans := make([]tensor.Span, len(b.launches))
	for i, l := range b.launches {
		n := &b.graph.Nodes[l.node]
		spans[i] = tensor.Span{Op: n.Op, Kernel: l.kernel.String()}
		if i == 0 || b.launches[i-1].node != l.node {
			read, written := b.graph.Traffic(n)
			spans[i].Bytes = read + written
		}
	}
	return spans
}

// first points to a slice's elements; nil where there are none.
func first[T any](s []T) *T {
	if len(s) == 0 {
		return nil
	}
	return &s[0]
}

// print lists kernels, grids and the bytes that each node moves.
func (b *binder) print(submissions int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s on vulkan: %d dispatches in %d submissions\n", b.graph.Name, len(b.launches), submissions)
	for i, l := range b.launches {
		n := &b.graph.Nodes[l.node]
		fmt.Fprintf(&s, "%3d %s %s %d×%d", i, n.Op, l.kernel, l.groups[0], l.groups[1])
		if l.groups[2] > 1 {
			fmt.Fprintf(&s, "×%d", l.groups[2])
		}
		if i == 0 || b.launches[i-1].node != l.node {
			read, written := b.graph.Traffic(n)
			fmt.Fprintf(&s, " reads %d writes %d", read, written)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func (p *program) String() string { return p.print }

func (p *program) Release() error {
	p.free()
	return nil
}

// free gives back what build made.
func (p *program) free() {
	for _, s := range p.runs {
		for _, c := range s.segments {
			C.ullm_commands_destroy(p.d.raw, c.commands)
			c.stamps.destroy(p.d)
		}
	}
	for _, b := range p.stages {
		b.free()
	}
	if p.sets != nil {
		C.ullm_sets_destroy(p.d.raw, p.sets)
	}
	if p.block != nil {
		p.block.free()
	}
}
