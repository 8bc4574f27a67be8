package cpu

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

func (b *binder) addRMSNorm(n *tensor.Node) launch {
	x, delta, weight := b.operand(n.In[0]), b.operand(n.In[1]), b.vector(n.In[2])
	eps := n.Attr.(tensor.NormAttr).Eps
	normed, sum := b.operand(n.Out[len(n.Out)-1]), operand{}
	if len(n.Out) == 2 {
		sum = b.operand(n.Out[0])
	}
	d := b.d
	work := func(_ *thread, r *run, lo, hi int) {
		for t := lo; t < hi; t++ {
			var s []float32
			if !delta.absent() {
				s = sum.floats(r, t)
			}
			normRow(d.kernels, normed.floats(r, t), s, x, delta, r, t, weight, eps)
		}
	}
	grain := rowsPerGrain(x.cols)
	return func(r *run) error {
		d.pool.do(r, x.count(r), grain, work)
		return nil
	}
}

// inverseRMS is 1 / sqrt(mean square + eps).
func inverseRMS(squares float32, n int, eps float32) float32 {
	return float32(1 / math.Sqrt(float64(squares)/float64(n)+float64(eps)))
}

func (b *binder) keepRows(n *tensor.Node) launch {
	x, delta, weight := b.operand(n.In[0]), b.operand(n.In[1]), b.vector(n.In[2])
	kept, hidden := b.operand(n.In[3]), b.state(n.In[4])
	eps := n.Attr.(tensor.NormAttr).Eps
	d := b.d
	return func(r *run) error {
		for i, t := range kept.ints(r) {
			if t < 0 || int(t) >= x.count(r) {
				return fmt.Errorf("kept token %d of %d", t, x.count(r))
			}
			out := view[float32](hidden.bytes, i*x.cols*4, x.cols)
			normRow(d.kernels, out, out, x, delta, r, int(t), weight, eps)
		}
		return nil
	}
}

// normRow normalises row t of x, or of its sum with delta, which it also writes to sum; sum may be out.
func normRow(k *simd.Kernels, out, sum []float32, x, delta operand, r *run, t int, weight []float32, eps float32) {
	row := x.floats(r, t)
	var squares float32
	if delta.absent() {
		squares = k.SumSquares(row)
	} else {
		squares = k.AddSumSquares(sum, row, delta.floats(r, t))
		row = sum
	}
	k.ScaleMul(out, row, weight, inverseRMS(squares, len(row), eps))
}
