package ref

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) embed(n *tensor.Node) launch {
	table, tokens, x := b.weight(n.In[0]), b.operand(n.In[1]), b.operand(n.Out[0])
	return func(r *run) error {
		ids, out := tokens.ints(r), x.floats(r)
		for t := range tokens.count(r) {
			id := int(ids[t*tensor.TokenColumns+tensor.TokenID])
			if id < 0 || id >= table.spec.Rows() {
				id = 0
			}
			table.row(out[t*x.cols:][:x.cols], id)
		}
		return nil
	}
}

func (b *binder) takeRows(n *tensor.Node) launch {
	hidden, x := b.state(n.In[0]), b.operand(n.Out[0])
	return func(r *run) error {
		from, out := floats(hidden.bytes), x.floats(r)
		for i, h := range tensor.DecodeHead(r.in, nil) {
			if h.Row < 0 || int(h.Row) >= hidden.spec.Rows.Rows {
				return fmt.Errorf("kept row %d of %d", h.Row, hidden.spec.Rows.Rows)
			}
			copy(out[i*x.cols:][:x.cols], from[int(h.Row)*x.cols:])
		}
		return nil
	}
}
