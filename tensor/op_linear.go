package tensor

// Linear multiplies by a weight: y[t][o] = Σ_k x[t][k] · w[o][k] (+ bias[o]).
//
// x: [n][cols] f32; w: [rows][cols] in any format; bias: [rows] f32 or 0. Several weights stand one below the other: a
// packed weight whose parts differ in format is one weight for each run of equal formats, and one launch for each.
// Result: [n][rows of all weights] f32.
func (g *Graph) Linear(x, bias Value, ws ...Value) Value {
	const op = "Linear"
	if !g.activation(op, x, 0) {
		return 0
	}
	if len(ws) == 0 {
		g.fail(op, "needs a weight")
		return 0
	}
	rows := 0
	for _, w := range ws {
		if !g.matrix(op, w, g.values[x].cols) {
			return 0
		}
		rows += g.values[w].rows.Cap
	}
	if bias != 0 && !g.vector(op, bias, rows) {
		return 0
	}
	y := g.result(F32, g.values[x].rows, rows)
	g.node(Node{Op: OpLinear, In: append([]Value{x, bias}, ws...), Out: []Value{y}})
	return y
}

// LinearSwiGLU is a feed-forward network's first half in one launch: with the gate in the upper and up in the lower half
// of w's rows, y[t][o] = silu(x[t] · gate[o]) · (x[t] · up[o]), silu(a) = a / (1 + e⁻ᵃ) (Shazeer 2020, "GLU Variants
// Improve Transformer").
//
// x: [n][cols] f32; w: [2·ffn][cols] of two parts with equal rows. Result: [n][ffn] f32.
func (g *Graph) LinearSwiGLU(x, w Value) Value {
	const op = "LinearSwiGLU"
	if !g.activation(op, x, 0) || !g.matrix(op, w, g.values[x].cols) {
		return 0
	}
	p := g.values[w].weight.Parts
	if len(p) != 2 || p[0].Rows != p[1].Rows {
		g.fail(op, "weight %s: want two parts of equal rows, gate and up", g.values[w].weight.Name)
		return 0
	}
	y := g.result(F32, g.values[x].rows, p[0].Rows)
	g.node(Node{Op: OpLinearSwiGLU, In: []Value{x, w}, Out: []Value{y}})
	return y
}

// SwiGLU is LinearSwiGLU's second half by itself, for a gate and an up that differ in format:
// y[t][o] = silu(x[t][o]) · x[t][ffn+o].
//
// x: [n][2·ffn] f32. Result: [n][ffn] f32.
func (g *Graph) SwiGLU(x Value) Value {
	const op = "SwiGLU"
	if !g.activation(op, x, 0) {
		return 0
	}
	i := g.values[x]
	if i.cols%2 != 0 {
		g.fail(op, "rows of %d values have no halves", i.cols)
		return 0
	}
	y := g.result(F32, i.rows, i.cols/2)
	g.node(Node{Op: OpSwiGLU, In: []Value{x}, Out: []Value{y}})
	return y
}

func (g *Graph) matrix(op string, w Value, cols int) bool {
	if !g.is(op, w, Weigh) {
		return false
	}
	if i := g.values[w]; i.cols != cols {
		g.fail(op, "weight %s has %d columns, its operand %d", i.weight.Name, i.cols, cols)
		return false
	}
	return true
}
