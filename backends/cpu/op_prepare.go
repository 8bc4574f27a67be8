package cpu

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) prepare(n *tensor.Node) launch {
	limits := n.Attr.(tensor.ForwardLimits)
	block, sl := b.operand(n.In[0]), b.slots(n.In[1])
	tok, kept := b.operand(n.Out[0]), b.operand(n.Out[1])
	var s tensor.ForwardStep // its slices are reused from run to run
	return func(r *run) error {
		limits.Decode(block.memory(r)[block.offset:], &s)
		if err := sl.update(&s); err != nil {
			return err
		}
		return sl.derive(&s, tok.ints(r), kept.ints(r))
	}
}

// update writes what the step says of the slots, in the order that the definition gives. Indices are checked because
// they reach memory that is not the Go heap's.
func (s *slots) update(step *tensor.ForwardStep) error {
	for _, q := range step.Seqs {
		if err := s.check(q.Slot); err != nil {
			return err
		}
		if q.Reset {
			s.reset(q.Slot)
		}
	}
	for _, p := range step.Params {
		if err := s.check(p.Slot); err != nil {
			return err
		}
		s.setSampling(p.Slot, p.Sampling)
	}
	for _, p := range step.Pages {
		if err := s.check(p.Slot); err != nil {
			return err
		}
		if p.Index < 0 || int(p.Index) >= s.spec.MaxPages {
			return fmt.Errorf("slot %d: page-table entry %d of %d", p.Slot, p.Index, s.spec.MaxPages)
		}
		s.pages(p.Slot)[p.Index] = p.Page
	}
	for _, w := range step.Bias {
		if err := s.check(w.Slot); err != nil {
			return err
		}
		if err := s.addBias(w); err != nil {
			return err
		}
	}
	for _, h := range step.History {
		if err := s.check(h.Slot); err != nil {
			return err
		}
		s.note(h.Slot, h.ID, h.Generated)
	}
	return nil
}

// derive resolves ids, counts tokens and fills in the token table and the kept rows.
func (s *slots) derive(step *tensor.ForwardStep, table, kept []int32) error {
	for _, q := range step.Seqs {
		if q.First < 0 || q.Count < 0 || int(q.First+q.Count) > len(step.IDs) || q.Keep < 0 || q.Keep > q.Count ||
			q.FirstRow < 0 || int(q.FirstRow+q.Keep) > len(kept) {
			return fmt.Errorf("slot %d: tokens %d+%d of %d, kept rows %d+%d of %d", q.Slot, q.First, q.Count, len(step.IDs),
				q.FirstRow, q.Keep, len(kept))
		}
		if q.Start < 0 || int(q.Start+q.Count) > s.spec.MaxPages*tokens {
			return fmt.Errorf("slot %d: positions %d to %d, its page table covers %d", q.Slot, q.Start, q.Start+q.Count, s.spec.MaxPages*tokens)
		}
		pages := s.pages(q.Slot)
		for i := range q.Count {
			t, position := q.First+i, q.Start+i
			id := step.IDs[t]
			if id == -1 {
				id = s.last[q.Slot]
			}
			s.note(q.Slot, id, position >= q.PromptLen)
			row := table[t*tensor.TokenColumns:][:tensor.TokenColumns]
			row[tensor.TokenID] = id
			row[tensor.TokenPosition] = position
			row[tensor.TokenCell] = pages[position/tokens]*tokens + position%tokens
			row[tensor.TokenSlot] = q.Slot
		}
		for i := range q.Keep {
			kept[q.FirstRow+i] = q.First + q.Count - q.Keep + i
		}
	}
	return nil
}
