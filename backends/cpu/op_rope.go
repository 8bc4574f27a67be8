package cpu

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) qkNormRopeStore(n *tensor.Node) launch {
	a := n.Attr.(tensor.HeadAttr)
	qkv, qNorm, kNorm := b.operand(n.In[0]), b.vector(n.In[1]), b.vector(n.In[2])
	rope, tok := b.weight(n.In[3]), b.operand(n.In[4])
	keys, values := b.cache(n.In[5], true), b.cache(n.In[6], false)
	queries := b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d, dim := b.d, a.HeadDim
	angles := ropeTable(rope)
	normRope := func(dst, x, weight, turn []float32) {
		k := d.kernels
		k.ScaleMul(dst, x, weight, inverseRMS(k.SumSquares(x), dim, a.Eps))
		k.Rotate(dst, turn[:dim/2], turn[dim/2:])
	}
	work := func(th *thread, r *run, lo, hi int) {
		table := tok.ints(r)
		key, buffer := view[float32](th.local, 0, dim), th.local[aligned(4*dim):]
		for t := lo; t < hi; t++ {
			row, out := qkv.floats(r, t), queries.floats(r, t)
			token := table[t*tensor.TokenColumns:]
			turn := angles[int(token[tensor.TokenPosition])*dim:][:dim]
			cell := int(token[tensor.TokenCell])
			asked := t > 0 && cell/tokens == int(table[(t-1)*tensor.TokenColumns+tensor.TokenCell])/tokens
			for h := range a.QueryHeads {
				if !asked {
					keys.ask(d.kernels, cell, h, a.QueryHeads)
				}
				normRope(out[h*dim:][:dim], row[h*dim:][:dim], qNorm, turn)
			}
			row = row[a.QueryHeads*dim:]
			for h := range a.KVHeads {
				normRope(key, row[h*dim:][:dim], kNorm, turn)
				keys.store(d.kernels, buffer, cell, h, key)
				values.store(d.kernels, buffer, cell, h, row[(a.KVHeads+h)*dim:][:dim])
			}
		}
	}
	return func(r *run) error {
		table, count := tok.ints(r), qkv.count(r)
		for t := range count {
			token := table[t*tensor.TokenColumns:]
			if p := int(token[tensor.TokenPosition]); p < 0 || p >= rope.spec.Rows() {
				return fmt.Errorf("position %d, the rope table has %d", p, rope.spec.Rows())
			}
			if c := int(token[tensor.TokenCell]); c < 0 || c >= keys.spec.Pages*tokens || c >= values.spec.Pages*tokens {
				return fmt.Errorf("KV cell %d in a cache of %d pages", c, keys.spec.Pages)
			}
		}
		keys.touched, values.touched = true, true
		d.pool.do(r, count, 1, work)
		return nil
	}
}

// ropeTable is the table's values: in place where they are stored f32 rows.
func ropeTable(w *weight) []float32 {
	n := w.spec.Rows() * w.spec.Cols
	if w.layout == stored && w.spec.Format == tensor.F32 && len(w.parts) == 1 {
		return view[float32](w.bytes, 0, n)
	}
	table := make([]float32, n)
	for i := range w.spec.Rows() {
		w.row(table[i*w.spec.Cols:][:w.spec.Cols], i)
	}
	return table
}
