package tensor

import (
	"fmt"
	"strings"
)

// String prints the graph, a line for each operation: its results with their shapes, the operation, its operands and
// the bytes it reads and writes at capacity. Golden files hold such prints, so that an operation or a copy that creeps in
// is seen in review.
func (g *Graph) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "graph %s: %d operations, in %d bytes, out %d bytes\n", g.Name, len(g.Nodes), g.inBytes, g.outBytes)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		var out, in []string
		for _, v := range n.Out {
			out = append(out, g.describe(v)+g.shape(v))
		}
		for _, v := range n.In {
			if v != 0 {
				in = append(in, g.describe(v))
			}
		}
		for _, v := range n.Writes() {
			out = append(out, g.describe(v))
		}
		read, written := g.Traffic(n)
		fmt.Fprintf(&b, "%3d %s = %s(%s)  reads %d writes %d\n", i, strings.Join(out, ", "), n.Op, strings.Join(in, ", "), read, written)
	}
	return b.String()
}

// Traffic is how many bytes of weights, inputs and results a node reads and writes at capacity. States are left out:
// what a step touches of them depends on its sequences.
func (g *Graph) Traffic(n *Node) (read, written int64) {
	for _, v := range n.In {
		if v == 0 {
			continue
		}
		switch i := &g.values[v]; i.kind {
		case Weigh:
			if n.Op == OpEmbed || n.Op == OpQKNormRopeStore && len(i.weight.Parts) == 1 && i.rows.Cap > 1 {
				read += int64(g.values[n.Out[0]].rows.Cap) * int64(i.format.RowBytes(i.cols)) // a row for each token
			} else {
				read += i.weight.Bytes()
			}
		case Input, Result:
			read += g.BytesOf(v)
		}
	}
	for _, v := range n.Out {
		written += g.BytesOf(v)
	}
	return read, written
}

func (g *Graph) describe(v Value) string {
	switch i := &g.values[v]; i.kind {
	case Input:
		return fmt.Sprintf("in[%d]", i.offset)
	case Weigh:
		return fmt.Sprintf("%s:%s", i.weight.Name, i.format)
	case Stored:
		return "@" + i.state.Name
	default:
		return fmt.Sprintf("%%%d", v)
	}
}

func (g *Graph) shape(v Value) string {
	i := &g.values[v]
	live := ""
	if i.rows.Count >= 0 {
		live = "≤"
	}
	return fmt.Sprintf("[%s%d×%d %s]", live, i.rows.Cap, i.cols, i.format)
}
