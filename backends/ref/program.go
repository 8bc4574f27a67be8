package ref

import (
	"fmt"
	"slices"
	"time"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// alignment of values in the arena
const align = 64

// plan is where a graph's results lie in the arena; ref has nothing else to decide.
type plan struct {
	graph *tensor.Graph
	depth int
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
	return &plan{g, d.options.Depth, tensor.Place(g, g.BytesOf, align)}, nil
}

func (p *plan) Scratch() int64 { return p.place.Bytes }
func (p *plan) Program() int64 { return int64(p.depth * p.graph.InputBytes()) }
func (p *plan) String() string { return p.graph.String() }

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
	inputs   *block // a step block for each run in flight
}

func (d *device) Compile(tp tensor.Plan, b tensor.Bindings) (tensor.Program, error) {
	pl, ok := tp.(*plan)
	if !ok {
		return nil, fmt.Errorf("ref: compile: a plan of another device (%T)", tp)
	}
	if err := d.Call("compile " + pl.graph.Name); err != nil {
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
	var err error
	if p.inputs, err = d.alloc(tensor.UseProgram, pl.Program(), "step blocks of "+pl.graph.Name); err != nil {
		return nil, err
	}
	if err := p.Open(&d.Device, pl.graph, lifetime.Split(p.inputs.bytes, d.options.Depth), p); err != nil {
		p.inputs.free()
		return nil, err
	}
	return p, nil
}

func (p *program) String() string { return p.plan.String() }

func (p *program) Release() error {
	p.inputs.free()
	return nil
}

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
		c.Lap(i)
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
