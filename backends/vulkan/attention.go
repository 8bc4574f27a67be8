//go:build cgo && (linux || windows)

package vulkan

import "github.com/ullm/ullm/tensor"

// Flags of the attention shader.
const (
	attentionExact     = 1 << iota // a head's values fill a cluster's invocations
	attentionAddressed             // caches or queries are longer than bindings reach
	attentionAligned               // queries begin at a multiple of 16 bytes
	attentionHalves                // results are rounded to f16
)

// What the attention shader is written for.
const (
	attentionThreads = 128
	attentionChunk   = 256 // positions
	attentionFours   = 16  // most query heads × fours that an invocation holds of each
)

// split is how attention is dealt to workgroups. Only queries touches a result's bits, and that depends on the heads alone.
type split struct {
	queries int // heads of a workgroup, all of one KV head
	groups  int // of a token
	workers int // that share the chunks of a group's sequence, if it has several
	chunks  int // most of a sequence
}

// splitOf shares a sequence's chunks when tokens alone do not keep the device at work.
func (p *physical) splitOf(a tensor.HeadAttr, tokens, maxPages int) split {
	s := split{queries: p.reuse() / 2, chunks: (maxPages*tensor.PageTokens + attentionChunk - 1) / attentionChunk}
	for (a.QueryHeads/a.KVHeads)%s.queries != 0 || s.queries*attentionPer(a) > attentionFours {
		s.queries--
	}
	s.groups = a.QueryHeads / s.queries
	// Even where one invocation at a time were enough, there may be two processors.
	appetite := max(p.appetite(), 2048)
	s.workers = max(1, min(s.chunks, appetite/(tokens*s.groups*attentionThreads)))
	return s
}

// attentionPer is how many fours of a head an invocation holds.
func attentionPer(a tensor.HeadAttr) int { return (a.HeadDim + 31) / 32 }

// work is the memory through which workers hand over their parts: counters of those that are done, which have to be 0 in the
// beginning, and for each chunk of each query a maximum, a total and values.
func (s split) work(a tensor.HeadAttr, tokens int) (arrivals, parts int64) {
	if s.workers == 1 {
		return 0, 0
	}
	arrivals = up(int64(4 * tokens * s.groups))
	return arrivals, 4 * int64(tokens*a.QueryHeads*s.chunks) * int64(a.HeadDim+4)
}

func (b *binder) attention(n *tensor.Node) {
	a := n.Attr.(tensor.HeadAttr)
	q := n.In[0]
	k, v := b.state(n.In[2]), b.state(n.In[3])
	slots, spec, l := b.slots(n.In[4])
	s := b.d.physical.splitOf(a, b.capacity(q), spec.MaxPages)
	flags := b.halves(n.Out[0], attentionHalves)
	if a.HeadDim == 32*attentionPer(a) {
		flags |= attentionExact
	}
	k1, v1, reach := window{k.buffer, 0, k.Bytes()}, window{v.buffer, 0, v.Bytes()}, int64(b.d.physical.max_storage_range)
	in, skip := b.windowOf(q, 0, b.graph.BytesOf(q))
	if k1.bytes > reach || v1.bytes > reach || in.bytes > reach {
		flags |= attentionAddressed
		k1.bytes, v1.bytes, in.bytes = alignment, alignment, alignment
	}
	if skip%16 == 0 {
		flags |= attentionAligned
	}
	arrivals := b.arena + uint64(b.plan.arrivals.at)
	p := new(push).address(b.at(q), b.at(n.In[1]), k.address(), v.address(), slots+4*uint64(l.Pages), b.floats(n.Out[0]), b.count(q),
		uint64(k.spec.KV.Values()), arrivals+uint64(b.plan.arrivals.bytes), arrivals).address(b.roundedTo(n.Out[0])...).
		u32(b.live(q), a.QueryHeads, a.KVHeads, a.HeadDim, spec.MaxPages, int(skip/4), s.chunks).f32(a.Scale)
	b.launch(kernel{"attention", [numConstants]uint32{uint32(k.spec.KV.Format), uint32(s.queries), uint32(attentionPer(a)), flags}},
		[3]int{s.groups, b.capacity(q), s.workers}, p, k1, v1, in)
}
