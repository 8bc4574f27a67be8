package ref

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) qkNormRopeStore(n *tensor.Node) launch {
	a := n.Attr.(tensor.HeadAttr)
	qkv, qNorm, kNorm := b.operand(n.In[0]), b.vector(n.In[1]), b.vector(n.In[2])
	rope, tokens := b.weight(n.In[3]), b.operand(n.In[4])
	keys, values := b.cache(n.In[5]), b.cache(n.In[6])
	queries := b.operand(n.Out[0])
	return func(r *run) error {
		in, table, out := qkv.floats(r), tokens.ints(r), queries.floats(r)
		turn := make([]float32, a.HeadDim) // cosines, then sines
		key := make([]float32, a.HeadDim)
		for t := range tokens.count(r) {
			token := table[t*tensor.TokenColumns:]
			position, cell := int(token[tensor.TokenPosition]), int(token[tensor.TokenCell])
			if position < 0 || position >= rope.spec.Rows() {
				return fmt.Errorf("position %d, the rope table has %d", position, rope.spec.Rows())
			}
			if cell < 0 || cell >= keys.spec.Pages*tensor.PageTokens {
				return fmt.Errorf("KV cell %d in a cache of %d pages", cell, keys.spec.Pages)
			}
			rope.row(turn, position)
			head := func(h int) []float32 { return in[t*qkv.cols+h*a.HeadDim:][:a.HeadDim] }
			for h := range a.QueryHeads {
				normRope(out[t*queries.cols+h*a.HeadDim:][:a.HeadDim], head(h), qNorm, turn, a.Eps)
			}
			for h := range a.KVHeads {
				normRope(key, head(a.QueryHeads+h), kNorm, turn, a.Eps)
				keys.store(cell, h, key)
				values.store(cell, h, head(a.QueryHeads+a.KVHeads+h))
			}
		}
		return nil
	}
}

// normRope normalises a head and rotates value i with value i + dim/2.
func normRope(dst, x, weight, turn []float32, eps float32) {
	s, half := inverseRMS(x, eps), len(x)/2
	for i := range half {
		lo := float64(x[i]) * s * float64(weight[i])
		hi := float64(x[half+i]) * s * float64(weight[half+i])
		cos, sin := float64(turn[i]), float64(turn[half+i])
		dst[i] = float32(lo*cos - hi*sin)
		dst[half+i] = float32(hi*cos + lo*sin)
	}
}
