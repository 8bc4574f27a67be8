package ref

import (
	"math"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) swiGLU(n *tensor.Node) launch {
	x, y := b.operand(n.In[0]), b.operand(n.Out[0])
	return func(r *run) error {
		in, out := x.floats(r), y.floats(r)
		for t := range x.count(r) {
			for o := range y.cols {
				gate, up := in[t*x.cols+o], in[t*x.cols+y.cols+o]
				out[t*y.cols+o] = float32(silu(float64(gate)) * float64(up))
			}
		}
		return nil
	}
}

func silu(a float64) float64 { return a / (1 + math.Exp(-a)) }
