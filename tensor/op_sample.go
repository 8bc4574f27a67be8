package tensor

// HeadInput names a Head block with capacity for rows, at offset 0 of the step block.
func (g *Graph) HeadInput(rows int) Value {
	// One row each, behind the header, so that the live count is the header's first word.
	return g.Input(4*header, I32, Rows{rows, 0}, headRowWords)
}

// TakeRows gathers the kept rows that a Head block names: x[i] = hidden[head[i].Row].
//
// hidden: State of rows; head: HeadInput. Result: [rows][cols] f32.
func (g *Graph) TakeRows(hidden, head Value) Value {
	const op = "TakeRows"
	if !g.is(op, hidden, Stored) || !g.headInput(op, head) {
		return 0
	}
	if g.values[hidden].state.Rows == nil {
		g.fail(op, "state %s holds no rows", g.values[hidden].state.Name)
		return 0
	}
	x := g.result(F32, g.values[head].rows, g.values[hidden].cols)
	g.node(Node{Op: OpTakeRows, In: []Value{hidden, head}, Out: []Value{x}})
	return x
}

// Sample draws a token from each row of logits and reports what was asked about the row (see HeadRow and Sampled). The
// drawn id becomes the slot's Last.
//
// With l the row's logits and the slot's parameters s, the definition, which every backend follows to the bit given the
// same logits, is:
//
//  1. a = l. For every token in the prompt's bits or with a count: a /= Repetition if a > 0, else a *= Repetition. Then
//     a -= Frequency·count and, where count > 0, a -= Presence. Each product and sum is rounded to f32 by itself. Biases
//     whose Until is above the row's position are added, in order.
//  2. Temperature 0: the largest a wins, the lowest id among equals. NaN counts as -Inf, here and below.
//  3. Otherwise b = a / Temperature, m = max b, and w = SampleWeight(b - m), an integer of at most 2⁴⁰.
//  4. MinP: tokens with w < ceil(MinP · 2⁴⁰) go. TopK: the K largest stay, lower ids first among equals. TopP: in the
//     same order, the shortest run stays whose sum reaches ceil(TopP · sum of what is left), at least one token. (See
//     MinPWeight and TopPSum.)
//  5. r = the high 64 bits of DrawBits(Seed, Choice, position) × (sum of w that stay), and the drawn token is the first,
//     by id, at which the running sum of w exceeds r. Where every w is 0, since max b is infinite, rule 2 holds.
//
// All sums over w are of integers, so their order does not matter. Logprobs are l - max(l) - log Σ exp(l - max(l)), and
// a NaN among them is -Inf; a rank counts the larger l, and among equal ones the lower id is listed first.
//
// logits: [rows][vocab] f32; head: HeadInput; slots: State. Result: [rows][SampledBytes/4] i32, each as Sampled.Put has it.
func (g *Graph) Sample(logits, head, slots Value) Value {
	const op = "Sample"
	if !g.activation(op, logits, 0) || !g.headInput(op, head) || !g.sameRows(op, logits, head) || !g.is(op, slots, Stored) {
		return 0
	}
	if s := g.values[slots].state.Slots; s == nil || s.Vocab != g.values[logits].cols {
		g.fail(op, "state %s has no slots for %d logits", g.values[slots].state.Name, g.values[logits].cols)
		return 0
	}
	out := g.result(I32, g.values[logits].rows, SampledBytes/4)
	g.node(Node{Op: OpSample, In: []Value{logits, head, slots}, Out: []Value{out}})
	return out
}

func (g *Graph) headInput(op string, v Value) bool {
	if !g.is(op, v, Input) {
		return false
	}
	if i := g.values[v]; i.format != I32 || i.cols != headRowWords {
		g.fail(op, "value %d is no head block", v)
		return false
	}
	return true
}
