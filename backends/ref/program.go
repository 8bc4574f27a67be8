package ref

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ullm/ullm/tensor"
)

// alignment of values in the arena
const align = 64

// plan is where a graph's results lie in the arena; ref has nothing else to decide.
type plan struct {
	graph *tensor.Graph
	place tensor.Placement
}

func (d *device) Plan(g *tensor.Graph) (tensor.Plan, error) {
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("ref: %w", err)
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, v := range n.In {
			if v == 0 {
				continue
			}
			f := g.FormatOf(v)
			if g.KindOf(v) == tensor.Weigh && !slices.Contains(tensor.WeightFormats(), f) {
				return nil, fmt.Errorf("ref: %s with weight %s in %s: %w", n.Op, g.WeightOf(v).Name, f, tensor.ErrUnsupported)
			}
			if g.KindOf(v) == tensor.Stored && g.StateOf(v).KV != nil && !slices.Contains(kvFormats(), f) {
				return nil, fmt.Errorf("ref: %s with KV cache %s in %s: %w", n.Op, g.StateOf(v).Name, f, tensor.ErrUnsupported)
			}
		}
	}
	return &plan{g, tensor.Place(g, g.BytesOf, align)}, nil
}

func (p *plan) Scratch() int64 { return p.place.Bytes }
func (p *plan) Program() int64 { return 0 }
func (p *plan) String() string { return p.graph.String() }

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
	counts   []tensor.Rows // every live count in the step block, to be checked before a run
	flying   int           // runs started and not done; under device.mu
}

func (d *device) Compile(tp tensor.Plan, b tensor.Bindings) (tensor.Program, error) {
	pl, ok := tp.(*plan)
	if !ok {
		return nil, fmt.Errorf("ref: compile: a plan of another device (%T)", tp)
	}
	if err := d.call("compile %s", pl.graph.Name); err != nil {
		return nil, err
	}
	a, ok := b.Arena.(*arena)
	if !ok || a.d != d || a.Bytes() < pl.Scratch() {
		return nil, fmt.Errorf("ref: compile %s: needs an arena of this device with at least %d bytes", pl.graph.Name, pl.Scratch())
	}
	bind := &binder{d: d, graph: pl.graph, place: pl.place, bindings: b}
	p := &program{d: d, plan: pl, arena: a}
	for i := range pl.graph.Nodes {
		p.launches = append(p.launches, bind.lower(&pl.graph.Nodes[i]))
	}
	if bind.err != nil {
		return nil, fmt.Errorf("ref: compile %s: %w", pl.graph.Name, bind.err)
	}
	for v := tensor.Value(1); int(v) < pl.graph.Values(); v++ {
		if r := pl.graph.RowsOf(v); pl.graph.KindOf(v) != tensor.Stored && r.Count >= 0 && !slices.Contains(p.counts, r) {
			p.counts = append(p.counts, r)
		}
	}
	if err := d.add(p); err != nil {
		return nil, err
	}
	d.ledger.Alloc(tensor.UseProgram, pl.Program())
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
		p.d.ledger.Free(tensor.UseProgram, p.plan.Program())
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
		return nil, fmt.Errorf("ref: start %s: step block of %d bytes, want %d", g.Name, len(in), g.InputBytes())
	}
	for _, r := range p.counts {
		if n := int32(binary.LittleEndian.Uint32(in[r.Count:])); n < 0 || int(n) > r.Cap {
			return nil, fmt.Errorf("ref: start %s: step block says %d live rows, capacity is %d", g.Name, n, r.Cap)
		}
	}
	d := p.d
	if err := d.call("start %s", g.Name); err != nil {
		return nil, err
	}
	s := &step{program: p, in: words(int64(len(in))), out: words(int64(g.OutputBytes())), started: time.Now(), done: make(chan struct{})}
	copy(s.in, in)
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.flying >= d.options.Depth && !d.closed {
		d.changed.Wait()
	}
	if d.closed || !d.live[p] {
		return nil, fmt.Errorf("ref: start %s: %w", g.Name, tensor.ErrClosed)
	}
	d.ledger.Alloc(tensor.UseStaging, int64(len(s.in)))
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
			return fmt.Errorf("ref: wait for %s: %w", name, context.Cause(ctx))
		}
	}
	if s.err != nil {
		return s.err
	}
	if err := s.program.d.fault("wait for " + name); err != nil {
		return err
	}
	copy(out, s.out)
	return nil
}

// run executes the launches, on the device's goroutine.
func (p *program) run(in, out []byte, c *clock) error {
	g := p.plan.graph
	if p.arena.freed.Load() {
		return fmt.Errorf("ref: run %s: its arena is %w", g.Name, tensor.ErrClosed)
	}
	r := &run{in: in, arena: p.arena.bytes}
	if p.d.options.Poison {
		for i := range r.arena {
			r.arena[i] = 0xff // NaN as f32, -1 as i32
		}
	}
	for i, l := range p.launches {
		err := l(r)
		c.lap(i)
		if err != nil {
			return fmt.Errorf("ref: run %s: operation %d, %s: %w", g.Name, i, g.Nodes[i].Op, err)
		}
	}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if o, ok := g.OutputOf(v); ok {
			at := p.plan.place.Offset[v]
			copy(out[o:o+int(g.BytesOf(v))], r.arena[at:])
		}
	}
	return nil
}
