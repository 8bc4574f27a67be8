//go:build cgo && (linux || windows)

package vulkan

import (
	"fmt"
	"testing"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// qwen06 is the shape of Qwen3-0.6B, all matrices in one format.
func qwen06(f tensor.Format) *tensortest.Model {
	return &tensortest.Model{Name: "0.6b", Layers: 28, Hidden: 1024, FFN: 3072, Vocab: 151936,
		Heads: tensor.HeadAttr{QueryHeads: 16, KVHeads: 8, HeadDim: 128, Eps: 1e-6, Scale: 0.0884}, KV: tensor.F16,
		Context: 8192, Slots: 4, Pages: 1024, Tied: true, Format: tensortest.One(f)}
}

// TestTraffic: what the Programs of one decoded token move, weights as they lie in memory and attention's parts included, is
// at most 1.05 times the weights, as files have them, and the keys and values that are read.
func TestTraffic(t *testing.T) {
	for _, f := range []tensor.Format{tensor.BF16, tensor.Q8_0, tensor.Q4_0, tensor.Q4_K, tensor.Q6_K} {
		for _, context := range []int{1, 1024, 8192} {
			t.Run(fmt.Sprint(f, " behind ", context), func(t *testing.T) {
				m := qwen06(f)
				head, _, _ := m.Head(1)
				forward := m.Forward(tensor.ForwardLimits{Tokens: 1, Seqs: 1, Rows: 1, Pages: 1, Params: 1, History: 1, Bias: 1})
				moved, needed := int64(0), int64(0)
				for _, g := range []*tensor.Graph{forward, head} {
					for i := range g.Nodes {
						n := &g.Nodes[i]
						read, written := g.Traffic(n)
						moved += read + written
						for _, v := range n.In {
							if v != 0 && g.KindOf(v) == tensor.Weigh && (n.Op == tensor.OpLinear || n.Op == tensor.OpLinearSwiGLU) {
								w := g.WeightOf(v)
								moved += layoutOf(w).bytes - w.Bytes()
								needed += w.Bytes()
							}
						}
						if n.Op != tensor.OpAttention {
							continue
						}
						a := n.Attr.(tensor.HeadAttr)
						kv := int64(2 * context * a.KVHeads * m.KV.RowBytes(a.HeadDim))
						_, parts := fake("gpu", 2).splitOf(a, 1, (context+tensor.PageTokens-1)/tensor.PageTokens).work(a, 1)
						moved += kv + 2*parts
						needed += kv
					}
				}
				if limit := needed * 105 / 100; moved > limit || moved < needed {
					t.Errorf("%d bytes are moved, %.3f times the %d that are needed", moved, float64(moved)/float64(needed), needed)
				}
			})
		}
	}
}

// TestSplit: a long sequence alone gives every kind of device work for all its invocations, many tokens share nothing, and
// what touches a result's bits depends on the heads alone.
func TestSplit(t *testing.T) {
	for kind, appetite := range appetites {
		for _, a := range []tensor.HeadAttr{{QueryHeads: 16, KVHeads: 8, HeadDim: 128}, {QueryHeads: 40, KVHeads: 8, HeadDim: 128}, {QueryHeads: 6, KVHeads: 2, HeadDim: 256}} {
			p := fake("gpu", uint32(kind))
			const pages = 8192 / tensor.PageTokens
			alone := p.splitOf(a, 1, pages)
			if busy := alone.groups * alone.workers * attentionThreads; alone.workers > 1 && busy > max(appetite, 2048) || busy < appetite/2 {
				t.Errorf("kind %d, %+v: one token has %d invocations at work, of %d", kind, a, busy, appetite)
			}
			if alone.workers > alone.chunks || alone.chunks != 8192/attentionChunk || alone.queries*attentionPer(a) > attentionFours {
				t.Errorf("kind %d, %+v: %+v", kind, a, alone)
			}
			for _, tokens := range []int{1, 2, 3, 8, 64, 512} {
				s := p.splitOf(a, tokens, pages)
				arrivals, parts := s.work(a, tokens)
				if s.queries != alone.queries || s.workers < 1 || (s.workers == 1) != (arrivals+parts == 0) || parts > 64<<20 {
					t.Errorf("kind %d, %+v, %d tokens: %+v, %d + %d bytes", kind, a, tokens, s, arrivals, parts)
				}
			}
			if s := p.splitOf(a, 512, pages); s.workers != 1 {
				t.Errorf("kind %d, %+v: 512 tokens are shared by %d", kind, a, s.workers)
			}
			if s := p.splitOf(a, 1, 1); s.workers != 1 {
				t.Errorf("kind %d, %+v: one page is shared by %d", kind, a, s.workers)
			}
		}
	}
}
