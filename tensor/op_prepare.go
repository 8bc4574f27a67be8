package tensor

// Token columns: what Prepare says of each token.
const (
	TokenID       = iota // the id, with -1 resolved
	TokenPosition        // its position in its sequence
	TokenCell            // where its key and value go: page × PageTokens + token in page
	TokenSlot            // its sequence's slot
	TokenColumns
)

// Prepared is what Prepare derives from a step block.
type Prepared struct {
	Tokens Value // [tokens][TokenColumns] i32
	Kept   Value // [kept rows][1] i32: the token whose hidden row is kept
}

// Prepare is the first operation of Forward. It takes the step block apart (limits.Bytes() at offset 0), in this order:
// reset slots are cleared (counts, prompt bits, biases); parameters, page-table entries, biases and history are written
// to the slots; every input id -1 becomes the slot's Last; every input token is counted for penalties, in the prompt's
// bits when it stands before PromptLen, among the generated ones otherwise (its sampler did not count it, so that a
// sequence which is recomputed counts the same); and each token's position and KV cell are derived.
func (g *Graph) Prepare(limits ForwardLimits, slots Value) Prepared {
	const op = "Prepare"
	if !g.is(op, slots, Stored) {
		return Prepared{}
	}
	if g.values[slots].state.Slots == nil {
		g.fail(op, "state %s holds no slots", g.values[slots].state.Name)
		return Prepared{}
	}
	block := g.Input(0, I32, Static(1), limits.Bytes()/4)
	p := Prepared{
		Tokens: g.result(I32, Rows{limits.Tokens, 4 * countTokens}, TokenColumns),
		Kept:   g.result(I32, Rows{limits.Rows, 4 * countRows}, 1),
	}
	g.node(Node{Op: OpPrepare, In: []Value{block, slots}, Out: []Value{p.Tokens, p.Kept}, Attr: limits})
	return p
}

// preparedTokens checks that v is Prepare's Tokens, or an input in its form.
func (g *Graph) preparedTokens(op string, v Value) bool {
	if !g.is(op, v, Input, Result) {
		return false
	}
	if i := g.values[v]; i.format != I32 || i.cols != TokenColumns {
		g.fail(op, "want rows of %d i32 as Prepare makes them, have %d %s", TokenColumns, i.cols, i.format)
		return false
	}
	return true
}
