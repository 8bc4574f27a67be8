package tensor

// Embed gathers rows of a table: x[t] = table[id of token t], as f32. An id outside the table reads row 0.
//
// table: [vocab][hidden] of any format; tokens: Prepared.Tokens. Result: [tokens][hidden] f32.
func (g *Graph) Embed(table, tokens Value) Value {
	const op = "Embed"
	if !g.is(op, table, Weigh) || !g.preparedTokens(op, tokens) {
		return 0
	}
	x := g.result(F32, g.values[tokens].rows, g.values[table].cols)
	g.node(Node{Op: OpEmbed, In: []Value{table, tokens}, Out: []Value{x}})
	return x
}
