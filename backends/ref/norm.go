package ref

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) addRMSNorm(n *tensor.Node) launch {
	x, delta, weight := b.operand(n.In[0]), b.optional(n.In[1]), b.vector(n.In[2])
	eps := n.Attr.(tensor.NormAttr).Eps
	normed := b.operand(n.Out[len(n.Out)-1])
	sum := b.optional(0)
	if len(n.Out) == 2 {
		sum = b.optional(n.Out[0])
	}
	return func(r *run) error {
		row := make([]float32, x.cols)
		for t := range x.count(r) {
			add(row, x, delta, r, t)
			if sum != nil {
				copy(sum.floats(r)[t*x.cols:], row)
			}
			rmsNorm(normed.floats(r)[t*x.cols:][:x.cols], row, weight, eps)
		}
		return nil
	}
}

func (b *binder) keepRows(n *tensor.Node) launch {
	x, delta, weight := b.operand(n.In[0]), b.optional(n.In[1]), b.vector(n.In[2])
	kept, hidden := b.operand(n.In[3]), b.state(n.In[4])
	eps := n.Attr.(tensor.NormAttr).Eps
	return func(r *run) error {
		row := make([]float32, x.cols)
		for i, t := range kept.ints(r) {
			if t < 0 || int(t) >= x.count(r) {
				return fmt.Errorf("kept token %d of %d", t, x.count(r))
			}
			add(row, x, delta, r, int(t))
			rmsNorm(floats(hidden.bytes)[i*x.cols:][:x.cols], row, weight, eps)
		}
		return nil
	}
}

// optional is the operand of a value that may be absent.
func (b *binder) optional(v tensor.Value) *operand {
	if v == 0 {
		return nil
	}
	o := b.operand(v)
	return &o
}

// add is dst = row t of x (+ row t of delta), rounded to float32.
func add(dst []float32, x operand, delta *operand, r *run, t int) {
	copy(dst, x.floats(r)[t*x.cols:])
	if delta != nil {
		for i, d := range delta.floats(r)[t*x.cols:][:x.cols] {
			dst[i] += d
		}
	}
}

// rmsNorm is dst = x / sqrt(mean(x²) + eps) · weight.
func rmsNorm(dst, x, weight []float32, eps float32) {
	s := inverseRMS(x, eps)
	for i, v := range x {
		dst[i] = float32(float64(v) * s * float64(weight[i]))
	}
}

func inverseRMS(x []float32, eps float32) float64 {
	return 1 / math.Sqrt(dot(x, x)/float64(len(x))+float64(eps))
}
