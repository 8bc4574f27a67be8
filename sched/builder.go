package sched

import (
	"slices"

	"github.com/ullm/ullm/tensor"
)

// builder fills one step.
type builder struct {
	p       *Policy
	step    *Step
	left    tensor.ForwardLimits // capacities not used yet
	prefill int                  // prompt tokens that may still be planned
}

// continues plans the next tokens of a running sequence, as many as the budget allows. It answers false when there is
// no page for them.
func (b *builder) continues(s *sequence) bool {
	if b.left.Seqs == 0 {
		return true
	}
	n := min(s.wants(b.p.limits.Context), b.left.Tokens)
	if n > 1 {
		n = min(n, b.prefill)
	}
	if n <= 0 {
		return true
	}
	if !b.allocate(s, s.computed+n) {
		return false
	}
	b.plan(s, n)
	return true
}

// allocate gives the sequence pages for its first n tokens, or nothing.
func (b *builder) allocate(s *sequence, n int) bool {
	missing := (n+tensor.PageTokens-1)/tensor.PageTokens - len(s.pages)
	if missing > b.p.pages.Free() {
		return false
	}
	for range missing {
		page, _ := b.p.pages.Alloc()
		s.pages = append(s.pages, page)
	}
	return true
}

// admit gives a waiting sequence a slot, the pages of its prefix that are cached, and its first tokens of this step.
func (b *builder) admit(s *sequence) bool {
	biases := len(s.req.Bias)
	if s.req.MinTokens > 0 {
		biases += len(s.req.Stop)
	}
	if s.unread > 0 || b.left.Seqs == 0 || b.left.Params == 0 || biases > b.left.Bias {
		return false
	}
	p := b.p
	b.findPrefix(s)
	n := min(len(s.tokens)-s.computed, b.left.Tokens, b.prefill)
	if !b.allocate(s, s.computed+n) {
		for i := len(s.pages) - 1; i >= 0; i-- {
			p.pages.Release(s.pages[i])
		}
		s.pages, s.computed = nil, 0
		return false
	}
	p.waiting = p.waiting[1:]
	at, _ := slices.BinarySearchFunc(p.running, s, before)
	p.running = slices.Insert(p.running, at, s)
	s.slot = p.slots[len(p.slots)-1]
	p.slots = p.slots[:len(p.slots)-1]
	s.fresh, s.written, s.history = true, 0, 0
	s.cached, s.published = s.computed, s.computed/tensor.PageTokens
	if !s.started {
		s.started, s.firstCached = true, s.cached
		p.stats.PromptTokens += int64(len(s.req.Prompt))
		p.stats.CachedTokens += int64(s.cached)
	}
	b.plan(s, n)
	return true
}

// findPrefix holds the cached pages of the sequence's beginning. The page with the last token is left out, since that
// token has to be computed for its logits.
func (b *builder) findPrefix(s *sequence) {
	if b.p.limits.NoPrefix || s.req.PromptLogprobs && s.promptSeen < len(s.req.Prompt)-1 {
		return
	}
	for i := range (len(s.tokens) - 1) / tensor.PageTokens {
		page, ok := b.p.pages.Find(s.hash(i))
		if !ok {
			break
		}
		s.pages = append(s.pages, page)
		s.computed += tensor.PageTokens
	}
}

// plan adds n tokens of a sequence to the step, behind what the device has to know first: parameters, page table,
// history. When that does not fit, the tokens wait for a later step.
func (b *builder) plan(s *sequence, n int) {
	f := &b.step.Batch.Forward
	q := tensor.SeqStep{Slot: s.slot, Start: int32(s.computed), First: int32(len(f.IDs)), FirstRow: int32(f.Rows()),
		PromptLen: int32(len(s.req.Prompt)), Reset: s.fresh}
	if s.fresh {
		f.Params = append(f.Params, tensor.ParamWrite{Slot: s.slot, Sampling: s.req.Sampling})
		b.left.Params--
		biases := s.req.biases(s.slot)
		f.Bias = append(f.Bias, biases...)
		b.left.Bias -= len(biases)
		s.fresh = false
	}
	for ; s.written < len(s.pages) && b.left.Pages > 0; s.written++ {
		f.Pages = append(f.Pages, tensor.PageWrite{Slot: s.slot, Index: int32(s.written), Page: s.pages[s.written]})
		b.left.Pages--
	}
	if s.req.Sampling.Penalized() {
		for ; s.history < s.cached && b.left.History > 0; s.history++ {
			f.History = append(f.History, tensor.HistoryWrite{Slot: s.slot, ID: s.tokens[s.history], Generated: s.history >= len(s.req.Prompt)})
			b.left.History--
		}
	} else {
		s.history = s.cached
	}
	b.left.Seqs--
	if s.written < len(s.pages) || s.history < s.cached {
		f.Seqs = append(f.Seqs, q)
		return
	}
	for i := range n {
		id := int32(-1)
		if at := s.computed + i; at < len(s.tokens) {
			id = s.tokens[at]
		}
		f.IDs = append(f.IDs, id)
	}
	b.left.Tokens -= n
	if n > 1 || s.computed < len(s.req.Prompt) {
		b.prefill -= n
		b.step.prompts += n
	}
	q.Count = int32(n)
	q.Keep = int32(b.rows(s, n, q.FirstRow))
	f.Seqs = append(f.Seqs, q)
	s.computed += n
	b.p.publish(s, min(s.computed, len(s.tokens)))
}

// rows plans the rows of logits that n more tokens of a sequence give: one that samples when all its tokens are
// computed, and those that the prompt's logprobs need. It answers how many of the last hidden rows they take.
func (b *builder) rows(s *sequence, n int, firstRow int32) int {
	keep := 0
	end := s.computed + n
	samples := end == s.total()
	if samples {
		keep = 1
	}
	if last := len(s.req.Prompt) - 1; s.req.PromptLogprobs && s.promptSeen < last && end > s.promptSeen {
		keep = end - max(s.promptSeen, s.computed)
		for at := end - keep; at < min(end, last); at++ {
			b.head(tensor.HeadRow{Row: firstRow + int32(at-(end-keep)), Slot: s.slot, Position: int32(at + 1), Ask: s.tokens[at+1], Top: int32(s.req.Top)},
				rowOwner{s, at + 1})
		}
		s.promptSeen = min(end, last)
	}
	if samples {
		b.head(tensor.HeadRow{Row: firstRow + int32(keep-1), Slot: s.slot, Position: int32(s.total()), Sample: true, Ask: -1, Top: int32(s.req.Top)},
			rowOwner{s, 0})
		s.unread++
	}
	return keep
}

func (b *builder) head(r tensor.HeadRow, owner rowOwner) {
	b.step.Batch.Head = append(b.step.Batch.Head, r)
	b.step.rows = append(b.step.rows, owner)
}
