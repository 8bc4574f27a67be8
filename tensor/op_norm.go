package tensor

// NormAttr are the attributes of AddRMSNorm and KeepRows.
type NormAttr struct {
	Eps float32 // added to the mean square
}

// AddRMSNorm adds a residual and normalises: sum = x + delta, normed = sum / sqrt(mean(sum²) + eps) · weight, row by row
// (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"). Without delta (0), sum is x itself.
//
// x, delta: [n][cols] f32; weight: [cols] f32. Results: sum and normed, [n][cols] f32.
func (g *Graph) AddRMSNorm(x, delta, weight Value, eps float32) (sum, normed Value) {
	const op = "AddRMSNorm"
	if !g.normOperands(op, x, delta, weight) {
		return 0, 0
	}
	i := g.values[x]
	sum = x
	out := []Value{}
	if delta != 0 {
		sum = g.result(F32, i.rows, i.cols)
		out = append(out, sum)
	}
	normed = g.result(F32, i.rows, i.cols)
	g.node(Node{Op: OpAddRMSNorm, In: []Value{x, delta, weight}, Out: append(out, normed), Attr: NormAttr{eps}})
	return sum, normed
}

// KeepRows adds and normalises as AddRMSNorm does, for the kept tokens only, and stores row i of them as row i of the
// state hidden: the last operation of Forward.
//
// x, delta: [n][cols] f32 (delta may be 0); weight: [cols] f32; kept: Prepared.Kept; hidden: a State of rows of cols.
func (g *Graph) KeepRows(x, delta, weight, kept, hidden Value, eps float32) {
	const op = "KeepRows"
	if !g.normOperands(op, x, delta, weight) || !g.is(op, kept, Input, Result) || !g.is(op, hidden, Stored) {
		return
	}
	if s := g.values[hidden].state.Rows; s == nil || s.Cols != g.values[x].cols || s.Rows < g.values[kept].rows.Cap {
		g.fail(op, "state %s cannot hold %d rows of %d", g.values[hidden].state.Name, g.values[kept].rows.Cap, g.values[x].cols)
		return
	}
	g.node(Node{Op: OpKeepRows, In: []Value{x, delta, weight, kept, hidden}, Attr: NormAttr{eps}})
}

func (g *Graph) normOperands(op string, x, delta, weight Value) bool {
	if !g.activation(op, x, 0) || !g.vector(op, weight, g.values[x].cols) {
		return false
	}
	return delta == 0 || g.activation(op, delta, g.values[x].cols) && g.sameRows(op, x, delta)
}
