package cpu

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) sample(n *tensor.Node) launch {
	logits, sl, out := b.operand(n.In[0]), b.slots(n.In[2]), b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d := b.d
	var heads []tensor.HeadRow
	samplers := newSamplers(d.pool, logits.cols)
	one := func(s *sampler, t *thread, r *run, i int) {
		s.work = view[float32](t.local, 0, logits.cols)
		result := s.row(logits.floats(r, i), sl, heads[i])
		result.Put(r.arena[out.offset+i*tensor.SampledBytes:])
	}
	rows := func(t *thread, r *run, lo, hi int) {
		s := samplers[t.index]
		s.alone(t)
		for i := lo; i < hi; i++ {
			one(s, t, r, i)
		}
	}
	return func(r *run) error {
		heads = tensor.DecodeHead(r.in, heads[:0])
		for i, h := range heads {
			if h.Ask >= 0 && int(h.Ask) >= logits.cols {
				return fmt.Errorf("row %d asks for id %d of %d", i, h.Ask, logits.cols)
			}
			if err := sl.check(h.Slot); h.Sample && err != nil {
				return err
			}
		}
		if threads := len(d.pool.threads); len(heads) >= threads {
			d.pool.do(r, len(heads), 1, rows)
		} else { // fewer rows than threads: each row is shared out
			s := samplers[0]
			s.together(r)
			for i := range heads {
				one(s, d.pool.threads[0], r, i)
			}
		}
		// A slot's Last is written here: two rows of one slot, in order, leave what the second drew.
		for i, h := range heads {
			if h.Sample {
				sl.last[h.Slot] = out.ints(r)[i*out.cols]
			}
		}
		return nil
	}
}
