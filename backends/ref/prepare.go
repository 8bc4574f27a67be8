package ref

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// prepare takes the step block apart. It checks what it is told, which faster backends need not do: a wrong slot, page or
// position is a bug of the host that wrote the block.
func (b *binder) prepare(n *tensor.Node) launch {
	limits := n.Attr.(tensor.ForwardLimits)
	block, sl := b.operand(n.In[0]), b.slots(n.In[1])
	tokens, kept := b.operand(n.Out[0]), b.operand(n.Out[1])
	return func(r *run) error {
		var s tensor.ForwardStep
		limits.Decode(block.live(r), &s)
		if err := update(sl, &s); err != nil {
			return err
		}
		return derive(sl, &s, tokens.ints(r), kept.ints(r))
	}
}

// update writes what the step says of the slots, in the order that the definition gives.
func update(sl *slots, s *tensor.ForwardStep) error {
	for _, q := range s.Seqs {
		if err := sl.check(q.Slot); err != nil {
			return err
		}
		if q.Reset {
			sl.reset(q.Slot)
		}
	}
	for _, p := range s.Params {
		if err := sl.check(p.Slot); err != nil {
			return err
		}
		sl.setParams(p.Slot, p.Sampling)
	}
	for _, p := range s.Pages {
		if err := sl.check(p.Slot); err != nil {
			return err
		}
		if p.Index < 0 || int(p.Index) >= sl.spec.MaxPages {
			return fmt.Errorf("slot %d: page-table entry %d of %d", p.Slot, p.Index, sl.spec.MaxPages)
		}
		sl.setPage(p.Slot, int(p.Index), p.Page)
	}
	for _, w := range s.Bias {
		if err := sl.check(w.Slot); err != nil {
			return err
		}
		if err := sl.addBias(w); err != nil {
			return err
		}
	}
	for _, h := range s.History {
		if err := sl.check(h.Slot); err != nil {
			return err
		}
		sl.note(h.Slot, h.ID, h.Generated)
	}
	return nil
}

// derive resolves ids, counts tokens and fills in the token table and the kept rows.
func derive(sl *slots, s *tensor.ForwardStep, tokens, kept []int32) error {
	for _, q := range s.Seqs {
		if q.First < 0 || q.Count < 0 || int(q.First+q.Count) > len(s.IDs) || q.Keep < 0 || q.Keep > q.Count ||
			q.FirstRow < 0 || int(q.FirstRow+q.Keep) > len(kept) {
			return fmt.Errorf("slot %d: tokens %d+%d of %d, kept rows %d+%d of %d", q.Slot, q.First, q.Count, len(s.IDs),
				q.FirstRow, q.Keep, len(kept))
		}
		for i := range q.Count {
			t, position := q.First+i, q.Start+i
			id := s.IDs[t]
			if id == -1 {
				id = sl.last(q.Slot)
			}
			sl.note(q.Slot, id, position >= q.PromptLen)
			if position < 0 || int(position) >= sl.spec.MaxPages*tensor.PageTokens {
				return fmt.Errorf("slot %d: position %d, its page table covers %d", q.Slot, position, sl.spec.MaxPages*tensor.PageTokens)
			}
			page := sl.page(q.Slot, int(position)/tensor.PageTokens)
			row := tokens[t*tensor.TokenColumns:]
			row[tensor.TokenID] = id
			row[tensor.TokenPosition] = position
			row[tensor.TokenCell] = page*tensor.PageTokens + position%tensor.PageTokens
			row[tensor.TokenSlot] = q.Slot
		}
		for i := range q.Keep {
			kept[q.FirstRow+i] = q.First + q.Count - q.Keep + i
		}
	}
	return nil
}
