package cpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// plan says where a graph's results lie in the arena and what operations need beside them: one stage, where activations
// are rewritten for the operation that runs, and a local region for each thread.
type plan struct {
	d       *device
	graph   *tensor.Graph
	place   tensor.Placement
	stage   int64 // offset
	local   int64 // offset of thread 0's region
	perLane int64 // bytes of one thread's region
	total   int64
}

// page keeps threads' regions apart.
const page = 4096

func (d *device) Plan(g *tensor.Graph) (tensor.Plan, error) {
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	p := &plan{d: d, graph: g, place: tensor.Place(g, g.BytesOf, line)}
	stage := int64(0)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		for _, v := range n.In {
			if err := d.supports(g, n, v); err != nil {
				return nil, err
			}
		}
		s, l := d.needs(g, n)
		stage, p.perLane = max(stage, s), max(p.perLane, l)
	}
	up := func(n int64) int64 { return (n + page - 1) / page * page }
	p.perLane = up(p.perLane)
	p.stage = p.place.Bytes
	p.local = p.stage + stage
	if p.perLane > 0 {
		p.local = up(p.local)
	}
	p.total = p.local + p.perLane*int64(d.options.Threads)
	return p, nil
}

// supports checks one operand's format.
func (d *device) supports(g *tensor.Graph, n *tensor.Node, v tensor.Value) error {
	if v == 0 {
		return nil
	}
	f := g.FormatOf(v)
	switch g.KindOf(v) {
	case tensor.Weigh:
		if !slices.Contains(tensor.WeightFormats(), f) {
			return fmt.Errorf("cpu: %s with weight %s in %s: %w", n.Op, g.WeightOf(v).Name, f, tensor.ErrUnsupported)
		}
	case tensor.Stored:
		if g.StateOf(v).KV != nil && !slices.Contains(kvFormats(), f) {
			return fmt.Errorf("cpu: %s with KV cache %s in %s: %w", n.Op, g.StateOf(v).Name, f, tensor.ErrUnsupported)
		}
	}
	return nil
}

// needs is what an operation needs of the stage and of each thread's region, in bytes.
func (d *device) needs(g *tensor.Graph, n *tensor.Node) (stage, local int64) {
	switch n.Op {
	case tensor.OpLinear:
		for _, v := range n.In[2:] {
			s, l := d.linearNeeds(g, n.In[0], v)
			stage, local = stage+s, max(local, l)
		}
	case tensor.OpLinearSwiGLU:
		stage, local = d.linearNeeds(g, n.In[0], n.In[1])
		local = int64(aligned(int(local))) + int64(g.RowsOf(n.In[0]).Cap)*gluPanels*simd.PanelRows*4
	case tensor.OpQKNormRopeStore:
		local = int64(2 * aligned(4*n.Attr.(tensor.HeadAttr).HeadDim))
	case tensor.OpAttention:
		a := newAttention(n.Attr.(tensor.HeadAttr), d.kernels, d.options.Threads, g.StateOf(n.In[4]).Slots.MaxPages)
		stage, local = int64(a.stage(g.RowsOf(n.In[0]).Cap)), int64(a.bytes)
	case tensor.OpSample:
		local = int64(4 * g.ColsOf(n.In[0]))
	}
	return stage, local
}

func (p *plan) Scratch() int64 { return p.total }

// Program is the size of the buffers for step blocks.
func (p *plan) Program() int64 { return int64(p.d.options.Depth) * int64(p.graph.InputBytes()) }

// String lists the launches; a weight's operation with the layout that its kernel reads.
func (p *plan) String() string {
	g := p.graph
	var b strings.Builder
	fmt.Fprintf(&b, "%s on cpu %s, %d threads: %d launches, arena %d bytes\n", g.Name, p.d.kernels.Level, p.d.options.Threads, len(g.Nodes), p.total)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		fmt.Fprintf(&b, "%3d %s", i, n.Op)
		for _, v := range n.In {
			if v != 0 && g.KindOf(v) == tensor.Weigh && (n.Op == tensor.OpLinear || n.Op == tensor.OpLinearSwiGLU) && g.RowsOf(v).Cap > 1 {
				w := g.WeightOf(v)
				fmt.Fprintf(&b, " %s %d×%d %s %s", w.Name, w.Rows(), w.Cols, w.Format, p.d.layoutOf(w))
			}
		}
		if len(n.Out) > 0 {
			fmt.Fprintf(&b, " rows ≤ %d", g.RowsOf(n.Out[0]).Cap)
		}
		read, written := g.Traffic(n)
		fmt.Fprintf(&b, " reads %d writes %d\n", read, written)
	}
	return b.String()
}
