//go:build cgo && (linux || windows)

package vulkan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ullm/ullm/tensor"
)

// plan says where a graph's results lie in the arena, and the work space behind them that Sample or Attention needs.
type plan struct {
	d        *device
	graph    *tensor.Graph
	place    tensor.Placement
	work     int64 // offset
	arrivals part  // Attention's counters, with its parts behind them
	rounding rounding
	total    int64
}

// part is a piece of the arena.
type part struct{ at, bytes int64 }

// What the shaders' shared memory and arithmetic are laid out for.
const (
	mostHeadDim = 256
	mostVocab   = 1 << 18
)

func (d *device) Plan(g *tensor.Graph) (tensor.Plan, error) {
	if err := g.Err(); err != nil {
		return nil, fmt.Errorf("vulkan: %w", err)
	}
	p := &plan{d: d, graph: g, rounding: d.roundingOf(g)}
	p.place = tensor.Place(g, p.bytesOf, alignment)
	work, parts := int64(0), int64(0)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if err := supports(g, n); err != nil {
			return nil, err
		}
		switch n.Op {
		case tensor.OpSample:
			work = max(work, g.BytesOf(n.In[0]))
		case tensor.OpAttention:
			a, tokens := n.Attr.(tensor.HeadAttr), g.RowsOf(n.In[0]).Cap
			counters, rest := d.physical.splitOf(a, tokens, g.StateOf(n.In[4]).Slots.MaxPages).work(a, tokens)
			p.arrivals.bytes, parts = max(p.arrivals.bytes, counters), max(parts, rest)
		}
	}
	p.work = up(p.place.Bytes)
	p.arrivals.at = up(p.work + work)
	p.rounding.shared.at = up(p.arrivals.at + p.arrivals.bytes + parts)
	p.total = p.rounding.shared.at + p.rounding.shared.bytes
	if work+parts+p.rounding.shared.bytes == 0 {
		p.total = p.place.Bytes
	}
	return p, nil
}

// supports checks an operation's formats and shape.
func supports(g *tensor.Graph, n *tensor.Node) error {
	for _, v := range n.In {
		if v == 0 {
			continue
		}
		f := g.FormatOf(v)
		switch g.KindOf(v) {
		case tensor.Weigh:
			if !slices.Contains(tensor.WeightFormats(), f) {
				return fmt.Errorf("vulkan: %s with weight %s in %s: %w", n.Op, g.WeightOf(v).Name, f, tensor.ErrUnsupported)
			}
		case tensor.Stored:
			if g.StateOf(v).KV != nil && !slices.Contains(kvFormats(), f) {
				return fmt.Errorf("vulkan: %s with KV cache %s in %s: %w", n.Op, g.StateOf(v).Name, f, tensor.ErrUnsupported)
			}
		}
	}
	if a, ok := n.Attr.(tensor.HeadAttr); ok && (a.HeadDim > mostHeadDim || a.HeadDim%4 != 0) {
		return fmt.Errorf("vulkan: %s with heads of %d values: %w; use multiples of 4 up to %d", n.Op, a.HeadDim, tensor.ErrUnsupported, mostHeadDim)
	}
	if n.Op == tensor.OpSample && g.ColsOf(n.In[0]) >= mostVocab {
		return fmt.Errorf("vulkan: %s over %d logits: %w; fewer than %d are", n.Op, g.ColsOf(n.In[0]), tensor.ErrUnsupported, mostVocab)
	}
	return nil
}

func (p *plan) Scratch() int64 { return p.total }

// Program is the size of the step block on the device and, for each run in flight, of what it comes and goes through.
func (p *plan) Program() int64 {
	in, out := int64(p.graph.InputBytes()), int64(p.graph.OutputBytes())
	return in + int64(p.d.options.Depth)*(in+out)
}

// String lists the operations as they will be launched; a Program's print has kernels and grids too.
func (p *plan) String() string {
	g := p.graph
	var b strings.Builder
	fmt.Fprintf(&b, "%s on vulkan %s: %d operations, arena %d bytes\n", g.Name, p.d.physical.name(), len(g.Nodes), p.total)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		fmt.Fprintf(&b, "%3d %s", i, n.Op)
		for _, v := range n.In {
			if v != 0 && g.KindOf(v) == tensor.Weigh && g.RowsOf(v).Cap > 1 {
				w := g.WeightOf(v)
				fmt.Fprintf(&b, " %s %d×%d %s", w.Name, w.Rows(), w.Cols, w.Format)
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
