//go:build cgo && (linux || windows)

package vulkan

import "github.com/ullm/ullm/tensor"

// Flags of the attention shader.
const (
	attentionExact     = 1 << iota // a head's values fill a cluster's invocations
	attentionAddressed             // caches or queries are longer than bindings reach
	attentionAligned               // queries begin at a multiple of 16 bytes
)

func (b *binder) attention(n *tensor.Node) {
	a := n.Attr.(tensor.HeadAttr)
	q := n.In[0]
	k, v := b.state(n.In[2]), b.state(n.In[3])
	slots, spec, l := b.slots(n.In[4])
	queries := b.d.physical.reuse() / 2
	for (a.QueryHeads/a.KVHeads)%queries != 0 {
		queries--
	}
	per, flags := (a.HeadDim+31)/32, uint32(0)
	if a.HeadDim == 32*per {
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
	p := new(push).address(b.at(q), b.at(n.In[1]), k.address(), v.address(), slots+4*uint64(l.Pages), b.at(n.Out[0]), b.count(q),
		uint64(k.spec.KV.Values())).
		u32(b.capacity(q), a.QueryHeads, a.KVHeads, a.HeadDim, spec.MaxPages, int(skip/4)).f32(a.Scale)
	b.launch(kernel{"attention", [4]uint32{uint32(k.spec.KV.Format), uint32(queries), uint32(per), flags}},
		a.QueryHeads/queries, b.capacity(q), p, k1, v1, in)
}
