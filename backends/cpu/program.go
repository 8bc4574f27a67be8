package cpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ullm/ullm/tensor"
)

// launch is one operation, bound to its operands.
type launch func(*run) error

// run is what a launch works on.
type run struct {
	in, arena []byte
}

// program is a graph as a list of launches.
type program struct {
	d        *device
	plan     *plan
	launches []launch
	arena    *arena
	run1     run           // reused: runs of a device never overlap
	counts   []tensor.Rows // every live count in the step block, to be checked before a run
	outputs  []tensor.Value
	buffers  *block // for the step blocks of runs in flight

	inputs [][]byte // those free; under device.mu
	flying int      // runs started and not done; under device.mu
}

func (d *device) Compile(tp tensor.Plan, b tensor.Bindings) (tensor.Program, error) {
	pl, ok := tp.(*plan)
	if !ok || pl.d != d {
		return nil, fmt.Errorf("cpu: compile: a plan of another device (%T)", tp)
	}
	g := pl.graph
	if err := d.call("compile %s", g.Name); err != nil {
		return nil, err
	}
	a, ok := b.Arena.(*arena)
	if !ok || a.d != d || a.Bytes() < pl.Scratch() {
		return nil, fmt.Errorf("cpu: compile %s: needs an arena of this device with at least %d bytes", g.Name, pl.Scratch())
	}
	p := &program{d: d, plan: pl, arena: a}
	bind := &binder{d: d, graph: g, plan: pl, bindings: b}
	for i := range g.Nodes {
		p.launches = append(p.launches, bind.lower(&g.Nodes[i]))
	}
	if bind.err != nil {
		return nil, fmt.Errorf("cpu: compile %s: %w", g.Name, bind.err)
	}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if r := g.RowsOf(v); g.KindOf(v) != tensor.Stored && r.Count >= 0 && !slices.Contains(p.counts, r) {
			p.counts = append(p.counts, r)
		}
		if _, ok := g.OutputOf(v); ok {
			p.outputs = append(p.outputs, v)
		}
	}
	var err error
	if p.buffers, err = d.alloc(tensor.UseProgram, pl.Program(), "step blocks of "+g.Name); err != nil {
		return nil, err
	}
	for i := range d.options.Depth {
		n := g.InputBytes()
		p.inputs = append(p.inputs, p.buffers.bytes[i*n:][:n:n])
	}
	if err := d.add(p); err != nil {
		return nil, errors.Join(err, p.buffers.free())
	}
	return p, nil
}

func (p *program) what() string   { return "program " + p.plan.graph.Name }
func (p *program) String() string { return p.plan.String() }

func (p *program) Close() error {
	p.d.mu.Lock()
	for p.flying > 0 {
		p.d.changed.Wait()
	}
	p.d.mu.Unlock()
	if p.d.remove(p) {
		return p.buffers.free()
	}
	return nil
}

// step is one run, started.
type step struct {
	program *program
	in, out []byte
	started time.Time // for a profile
	done    chan struct{}
	err     error // valid once done is closed
}

func (p *program) Start(in []byte) (tensor.Step, error) {
	g := p.plan.graph
	if len(in) != g.InputBytes() {
		return nil, fmt.Errorf("cpu: start %s: step block of %d bytes, want %d", g.Name, len(in), g.InputBytes())
	}
	for _, r := range p.counts {
		if n := int32(binary.LittleEndian.Uint32(in[r.Count:])); n < 0 || int(n) > r.Cap {
			return nil, fmt.Errorf("cpu: start %s: step block says %d live rows, capacity is %d", g.Name, n, r.Cap)
		}
	}
	d := p.d
	if err := d.call("start %s", g.Name); err != nil {
		return nil, err
	}
	s := &step{program: p, started: time.Now(), done: make(chan struct{})}
	if n := g.OutputBytes(); n > 0 {
		s.out = make([]byte, n)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.flying >= d.options.Depth && !d.closed {
		d.changed.Wait()
	}
	if d.closed || !d.live[p] {
		return nil, fmt.Errorf("cpu: start %s: %w", g.Name, tensor.ErrClosed)
	}
	last := len(p.inputs) - 1
	s.in = p.inputs[last]
	p.inputs = p.inputs[:last]
	copy(s.in, in)
	d.flying++
	p.flying++
	d.queue = append(d.queue, s)
	d.changed.Broadcast()
	return s, nil
}

func (s *step) Wait(ctx context.Context, out []byte) error {
	name := s.program.plan.graph.Name
	select {
	case <-s.done:
	default:
		select {
		case <-s.done:
		case <-ctx.Done():
			return fmt.Errorf("cpu: wait for %s: %w", name, context.Cause(ctx))
		}
	}
	if s.err != nil {
		return s.err
	}
	if err := s.program.d.fault("wait for %s", name); err != nil {
		return err
	}
	copy(out, s.out)
	return nil
}

// run executes the launches, on the device's goroutine.
func (p *program) run(in, out []byte, c *clock) error {
	g := p.plan.graph
	if p.arena.freed.Load() {
		return fmt.Errorf("cpu: run %s: its arena is %w", g.Name, tensor.ErrClosed)
	}
	r := &p.run1
	r.in, r.arena = in, p.arena.bytes
	for i, t := range p.d.pool.threads {
		t.local = r.arena[p.plan.local+int64(i)*p.plan.perLane:][:p.plan.perLane]
	}
	for i, l := range p.launches {
		err := l(r)
		c.lap(i)
		if err != nil {
			return fmt.Errorf("cpu: run %s: operation %d, %s: %w", g.Name, i, g.Nodes[i].Op, err)
		}
	}
	for _, v := range p.outputs {
		at, _ := g.OutputOf(v)
		copy(out[at:at+int(g.BytesOf(v))], r.arena[p.plan.place.Offset[v]:])
	}
	return nil
}
