package tensor

// HeadAttr is the geometry of attention.
type HeadAttr struct {
	QueryHeads int
	KVHeads    int     // QueryHeads is a multiple of it: query head h reads KV head h / (QueryHeads/KVHeads)
	HeadDim    int     // values per head, even
	Eps        float32 // of the query and key norms
	Scale      float32 // factor on query·key, 1/sqrt(HeadDim)
}

// QKNormRopeStore makes queries, keys and values ready: every query head and every key head is RMS-normalised by itself
// and rotated to its position, keys and values are stored in the cache, queries are returned.
//
// qkv: [tokens][(QueryHeads + 2·KVHeads)·HeadDim] f32: queries, then keys, then values, head by head. qNorm, kNorm:
// [HeadDim] f32. rope: weight [positions][HeadDim] f32, row p holding cos of the HeadDim/2 angles of position p and then
// their sines; value i of a head is rotated with value i + HeadDim/2 (Su et al. 2021, "RoFormer", in the half-split form
// of GPT-NeoX). tokens: Prepared.Tokens. k, v: States, written at each token's cell. Result: [tokens][QueryHeads·HeadDim].
func (g *Graph) QKNormRopeStore(qkv, qNorm, kNorm, rope, tokens, k, v Value, a HeadAttr) Value {
	const op = "QKNormRopeStore"
	if a.HeadDim <= 0 || a.HeadDim%2 != 0 || a.KVHeads <= 0 || a.QueryHeads%a.KVHeads != 0 {
		g.fail(op, "bad geometry %+v", a)
		return 0
	}
	if !g.activation(op, qkv, (a.QueryHeads+2*a.KVHeads)*a.HeadDim) || !g.vector(op, qNorm, a.HeadDim) ||
		!g.vector(op, kNorm, a.HeadDim) || !g.matrix(op, rope, a.HeadDim) || !g.preparedTokens(op, tokens) ||
		!g.sameRows(op, qkv, tokens) || !g.cache(op, k, a) || !g.cache(op, v, a) {
		return 0
	}
	q := g.result(F32, g.values[qkv].rows, a.QueryHeads*a.HeadDim)
	g.node(Node{Op: OpQKNormRopeStore, In: []Value{qkv, qNorm, kNorm, rope, tokens, k, v}, Out: []Value{q}, Attr: a})
	return q
}

// Attention lets every token look at the positions of its sequence up to its own: with s_j = Scale · q·k_j over cached
// positions j ≤ p, o = Σ softmax(s)_j · v_j for each query head. Positions are found through the slot's page table.
// Sums run over chunks of AttentionChunk absolute positions, each with its own maximum, merged from left to right
// (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"), whether one token or many are computed.
//
// q: [tokens][QueryHeads·HeadDim] f32; tokens: Prepared.Tokens; k, v: States; slots: State.
// Result: [tokens][QueryHeads·HeadDim] f32.
func (g *Graph) Attention(q, tokens, k, v, slots Value, a HeadAttr) Value {
	const op = "Attention"
	if !g.activation(op, q, a.QueryHeads*a.HeadDim) || !g.preparedTokens(op, tokens) || !g.sameRows(op, q, tokens) ||
		!g.cache(op, k, a) || !g.cache(op, v, a) || !g.is(op, slots, Stored) {
		return 0
	}
	o := g.result(F32, g.values[q].rows, a.QueryHeads*a.HeadDim)
	g.node(Node{Op: OpAttention, In: []Value{q, tokens, k, v, slots}, Out: []Value{o}, Attr: a})
	return o
}

func (g *Graph) cache(op string, v Value, a HeadAttr) bool {
	if !g.is(op, v, Stored) {
		return false
	}
	s := g.values[v].state
	if s.KV == nil || s.KV.KVHeads != a.KVHeads || s.KV.HeadDim != a.HeadDim {
		g.fail(op, "state %s is no cache of %d heads of %d", s.Name, a.KVHeads, a.HeadDim)
		return false
	}
	return true
}
