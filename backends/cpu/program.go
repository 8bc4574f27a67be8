package cpu

import (
	"errors"
	"fmt"
	"time"

	"github.com/ullm/ullm/backends/internal/lifetime"
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
	lifetime.Program
	d        *device
	plan     *plan
	launches []launch
	arena    *arena
	run1     run // reused: runs of a device never overlap
	outputs  []tensor.Value
	inputs   *block // a step block for each run in flight
}

func (d *device) Compile(tp tensor.Plan, b tensor.Bindings) (tensor.Program, error) {
	pl, ok := tp.(*plan)
	if !ok || pl.d != d {
		return nil, fmt.Errorf("cpu: compile: a plan of another device (%T)", tp)
	}
	g := pl.graph
	if err := d.Call("compile " + g.Name); err != nil {
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
		if _, ok := g.OutputOf(v); ok {
			p.outputs = append(p.outputs, v)
		}
	}
	var err error
	if p.inputs, err = d.alloc(tensor.UseProgram, pl.Program(), "step blocks of "+g.Name); err != nil {
		return nil, err
	}
	if err := p.Open(&d.Device, g, lifetime.Split(p.inputs.bytes, d.options.Depth), p); err != nil {
		return nil, errors.Join(err, p.inputs.free())
	}
	return p, nil
}

func (p *program) String() string { return p.plan.String() }

func (p *program) Release() error { return p.inputs.free() }

// Submit has nothing to do: a run happens when its turn comes, in Finish.
func (p *program) Submit(int) error { return nil }

func (p *program) Finish(slot int, out []byte, started time.Time) error {
	c := lifetime.NewClock(p.d.options.Profile, p.plan.graph, started)
	defer c.Report()
	return p.run(p.Input(slot), out, c)
}

// run executes the launches, on the device's goroutine.
func (p *program) run(in, out []byte, c *lifetime.Clock) error {
	g := p.plan.graph
	if p.arena.Freed() {
		return fmt.Errorf("cpu: run %s: its arena is %w", g.Name, tensor.ErrClosed)
	}
	r := &p.run1
	r.in, r.arena = in, p.arena.bytes
	for i, t := range p.d.pool.threads {
		t.local = r.arena[p.plan.local+int64(i)*p.plan.perLane:][:p.plan.perLane]
	}
	for i, l := range p.launches {
		err := l(r)
		c.Lap(i)
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
