package tensor

import (
	"fmt"
)

// Graph is a static program of operations over named weights, named states, input bytes and output bytes. It names
// values and never buffers. Build it with the methods named after the operations; the first mistake is kept, later calls
// do nothing, and Err reports it, so that a model reads as mathematics.
type Graph struct {
	Name   string
	Nodes  []Node
	values []valueInfo
	inBytes,
	outBytes int
	err error
}

// Value is a handle on a value of one Graph. The zero Value is "none", where an operation takes an optional operand.
type Value int32

// Node is one operation of a graph.
type Node struct {
	Op   Op
	In   []Value // None where an optional operand is absent
	Out  []Value
	Attr any // the operation's attribute struct, or nil
}

// Kind is what a value is.
type Kind uint8

// The kinds of value.
const (
	Input  Kind = iota // bytes of the step block
	Weigh              // a weight, found by name when compiled
	Stored             // a state, found by name when compiled
	Result             // what an operation made
)

// Rows says how many rows a value has.
type Rows struct {
	Cap int // rows that memory is planned for
	// Count is the byte offset, in the step block, of an int32 that says how many of them are live; -1: all are.
	// Rows beyond it hold garbage, and no operation reads them.
	Count int
}

// Static is n rows that are always live.
func Static(n int) Rows { return Rows{n, -1} }

type valueInfo struct {
	kind   Kind
	format Format
	rows   Rows
	cols   int
	offset int // Input: byte offset in the step block
	weight WeightSpec
	state  StateSpec
	output int // byte offset in the output block plus one; 0: not an output
}

// NewGraph begins an empty graph; the name appears in prints and errors.
func NewGraph(name string) *Graph {
	return &Graph{Name: name, values: make([]valueInfo, 1)}
}

// Err is the first mistake made while building, or nil.
func (g *Graph) Err() error { return g.err }

// InputBytes is the size of the step block that the graph reads.
func (g *Graph) InputBytes() int { return g.inBytes }

// OutputBytes is the size of the block that the graph writes for the host.
func (g *Graph) OutputBytes() int { return g.outBytes }

// Values is one more than the largest Value.
func (g *Graph) Values() int { return len(g.values) }

// Input names rows × cols values of the step block that begin at a byte offset.
func (g *Graph) Input(offset int, f Format, rows Rows, cols int) Value {
	if offset%4 != 0 || offset < 0 {
		g.fail("input", "offset %d is not a multiple of 4", offset)
	}
	if cols%f.Block() != 0 {
		g.fail("input", "%d columns are no multiple of %s's block", cols, f)
		return 0
	}
	g.inBytes = max(g.inBytes, offset+rows.Cap*f.RowBytes(cols), rows.Count+4)
	return g.add(valueInfo{kind: Input, format: f, rows: rows, cols: cols, offset: offset})
}

// Weight names a weight that will be bound when the graph is compiled.
func (g *Graph) Weight(w WeightSpec) Value {
	if w.Format == NoFormat || w.Cols <= 0 || w.Rows() <= 0 || w.Cols%w.Format.Block() != 0 {
		g.fail("weight", "%s: bad shape or format: %d × %d %s", w.Name, w.Rows(), w.Cols, w.Format)
	}
	return g.add(valueInfo{kind: Weigh, format: w.Format, rows: Static(w.Rows()), cols: w.Cols, weight: w})
}

// State names a state that will be bound when the graph is compiled.
func (g *Graph) State(s StateSpec) Value {
	v := valueInfo{kind: Stored, state: s}
	switch {
	case s.Rows != nil:
		v.format, v.rows, v.cols = F32, Static(s.Rows.Rows), s.Rows.Cols
	case s.KV != nil:
		v.format = s.KV.Format
	}
	return g.add(v)
}

// Output copies a result to the output block and returns its byte offset there.
func (g *Graph) Output(v Value) int {
	if g.err != nil || !g.is("output", v, Result) {
		return 0
	}
	i := &g.values[v]
	if i.output == 0 {
		i.output = g.outBytes + 1
		g.outBytes += i.rows.Cap * i.format.RowBytes(i.cols)
	}
	return i.output - 1
}

// KindOf is what kind of value v is.
func (g *Graph) KindOf(v Value) Kind { return g.values[v].kind }

// FormatOf is how the operations see v: F32 or I32 for results; a backend may hold it in another form in between.
func (g *Graph) FormatOf(v Value) Format { return g.values[v].format }

// RowsOf is how many rows v has.
func (g *Graph) RowsOf(v Value) Rows { return g.values[v].rows }

// ColsOf is how many values a row of v has.
func (g *Graph) ColsOf(v Value) int { return g.values[v].cols }

// OffsetOf is an input's byte offset in the step block.
func (g *Graph) OffsetOf(v Value) int { return g.values[v].offset }

// WeightOf is a weight's spec.
func (g *Graph) WeightOf(v Value) WeightSpec { return g.values[v].weight }

// StateOf is a state's spec.
func (g *Graph) StateOf(v Value) StateSpec { return g.values[v].state }

// OutputOf is a result's byte offset in the output block, and whether it is copied there at all.
func (g *Graph) OutputOf(v Value) (offset int, ok bool) {
	o := g.values[v].output
	return o - 1, o > 0
}

// BytesOf is the size of a result's rows at capacity.
func (g *Graph) BytesOf(v Value) int64 {
	i := g.values[v]
	return int64(i.rows.Cap) * int64(i.format.RowBytes(i.cols))
}

func (g *Graph) add(v valueInfo) Value {
	g.values = append(g.values, v)
	return Value(len(g.values) - 1)
}

// fail keeps the first mistake.
func (g *Graph) fail(op, format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("tensor: graph %s: %s: %s", g.Name, op, fmt.Sprintf(format, args...))
	}
}

// node appends an operation; results must have been made by result.
func (g *Graph) node(n Node) {
	if g.err == nil {
		g.Nodes = append(g.Nodes, n)
	}
}

func (g *Graph) result(f Format, rows Rows, cols int) Value {
	return g.add(valueInfo{kind: Result, format: f, rows: rows, cols: cols})
}

// The checks below record a mistake and report whether all is well.

func (g *Graph) is(op string, v Value, k ...Kind) bool {
	if g.err != nil {
		return false
	}
	if v <= 0 || int(v) >= len(g.values) {
		g.fail(op, "value %d is not of this graph", v)
		return false
	}
	for _, k := range k {
		if g.values[v].kind == k {
			return true
		}
	}
	g.fail(op, "value %d is of the wrong kind", v)
	return false
}

// activation checks that v is an input or a result of f32 rows with cols columns (0: any).
func (g *Graph) activation(op string, v Value, cols int) bool {
	if !g.is(op, v, Input, Result) {
		return false
	}
	if i := g.values[v]; i.format != F32 || cols != 0 && i.cols != cols {
		g.fail(op, "want f32 rows of %d values, have %s rows of %d", cols, i.format, i.cols)
		return false
	}
	return true
}

// vector checks that v is an f32 weight of one row with cols columns.
func (g *Graph) vector(op string, v Value, cols int) bool {
	if !g.is(op, v, Weigh) {
		return false
	}
	if i := g.values[v]; i.format != F32 || i.rows.Cap != 1 || i.cols != cols {
		g.fail(op, "weight %s: want one f32 row of %d values, have %d × %d %s", i.weight.Name, cols, i.rows.Cap, i.cols, i.format)
		return false
	}
	return true
}

func (g *Graph) sameRows(op string, a, b Value) bool {
	if g.err != nil {
		return false
	}
	if g.values[a].rows != g.values[b].rows {
		g.fail(op, "operands have %v and %v rows", g.values[a].rows, g.values[b].rows)
		return false
	}
	return true
}
