package cpu

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) embed(n *tensor.Node) launch {
	table, tokens, x := b.weight(n.In[0]), b.operand(n.In[1]), b.operand(n.Out[0])
	d := b.d
	work := func(_ *thread, r *run, lo, hi int) {
		ids := tokens.ints(r)
		for t := lo; t < hi; t++ {
			id := int(ids[t*tensor.TokenColumns+tensor.TokenID])
			if id < 0 || id >= table.spec.Rows() {
				id = 0
			}
			table.row(x.floats(r, t), id)
		}
	}
	return func(r *run) error {
		d.pool.do(r, tokens.count(r), 1, work)
		return nil
	}
}

func (b *binder) takeRows(n *tensor.Node) launch {
	hidden, x := b.state(n.In[0]), b.operand(n.Out[0])
	var heads []tensor.HeadRow
	return func(r *run) error {
		heads = tensor.DecodeHead(r.in, heads[:0])
		for i, h := range heads {
			if h.Row < 0 || int(h.Row) >= hidden.spec.Rows.Rows {
				return fmt.Errorf("kept row %d of %d", h.Row, hidden.spec.Rows.Rows)
			}
			copy(x.floats(r, i), view[float32](hidden.bytes, int(h.Row)*x.cols*4, x.cols))
		}
		return nil
	}
}
