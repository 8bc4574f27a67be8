package sched

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ullm/ullm/tensor"
)

// device is what the policy's steps act on, as far as the policy may rely on it: a page table for each slot and the
// content of each KV cell. It checks every step against what a model would need, and samples a token that depends on the
// whole sequence before it, so that a wrong token anywhere changes everything after it.
type device struct {
	t      *rapid.T
	policy *Policy
	limits Limits
	table  [][]int32 // by slot
	last   []int32   // by slot
	length []int32   // tokens stored of the slot's sequence
	cells  [][]cell  // by page
	counts []map[int32]int
	prompt []map[int32]bool
}

// cell is what was stored for a token: a hash of its whole prefix.
type cell struct{ prefix uint64 }

func newDevice(t *rapid.T, p *Policy, l Limits) *device {
	d := &device{t: t, policy: p, limits: l, table: make([][]int32, l.Slots), last: make([]int32, l.Slots), length: make([]int32, l.Slots),
		cells: make([][]cell, l.Pages), counts: make([]map[int32]int, l.Slots), prompt: make([]map[int32]bool, l.Slots)}
	for i := range d.cells {
		d.cells[i] = make([]cell, tensor.PageTokens)
	}
	return d
}

func mix(prefix uint64, id int32) uint64 {
	x := prefix*0x9E3779B97F4A7C15 + uint64(id) + 1
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return x ^ x>>32
}

// sampled is the token that follows a prefix; 0 ends answers.
func sampled(prefix uint64) int32 { return int32(prefix % 13) }

// run executes a step and returns what it samples.
func (d *device) run(s *Step) []tensor.Sampled {
	f := &s.Batch.Forward
	l := d.limits.Step
	if len(f.IDs) > l.Tokens || len(f.Seqs) > l.Seqs || len(f.Pages) > l.Pages || len(f.Params) > l.Params || len(f.History) > l.History || len(f.Bias) > l.Bias || f.Rows() > l.Rows {
		d.t.Fatalf("step over its limits: %+v", f)
	}
	for _, q := range f.Seqs {
		if q.Reset {
			d.table[q.Slot], d.length[q.Slot] = nil, 0
			d.counts[q.Slot], d.prompt[q.Slot] = map[int32]int{}, map[int32]bool{}
		}
	}
	for _, p := range f.Pages {
		if int(p.Index) != len(d.table[p.Slot]) {
			d.t.Fatalf("page table of slot %d: entry %d written, %d are there", p.Slot, p.Index, len(d.table[p.Slot]))
		}
		d.table[p.Slot] = append(d.table[p.Slot], p.Page)
	}
	for _, h := range f.History {
		d.count(h.Slot, h.ID, h.Generated)
	}
	at := func(slot, pos int32) *cell {
		table := d.table[slot]
		if int(pos/tensor.PageTokens) >= len(table) {
			d.t.Fatalf("slot %d: position %d has no page", slot, pos)
		}
		return &d.cells[table[pos/tensor.PageTokens]][pos%tensor.PageTokens]
	}
	// All tokens are stored before any is attended to, as a layer does.
	rows := map[int32]uint64{}
	seen := map[int32]bool{}
	for _, q := range f.Seqs {
		if seen[q.Slot] {
			d.t.Fatalf("slot %d is twice in a step", q.Slot)
		}
		seen[q.Slot] = true
		for i := range q.Count {
			id := f.IDs[q.First+i]
			if id < 0 {
				id = d.last[q.Slot]
			}
			d.count(q.Slot, id, q.Start+i >= q.PromptLen)
			before := uint64(0)
			if pos := q.Start + i; pos > 0 {
				before = at(q.Slot, pos-1).prefix
				if before == 0 {
					d.t.Fatalf("slot %d: position %d was never stored", q.Slot, pos-1)
				}
			}
			now := mix(before, id)
			at(q.Slot, q.Start+i).prefix = now
			if i >= q.Count-q.Keep {
				rows[q.FirstRow+i-(q.Count-q.Keep)] = now
			}
		}
	}
	d.checkCells()
	var out []tensor.Sampled
	for _, h := range s.Batch.Head {
		prefix, ok := rows[h.Row]
		if !ok {
			d.t.Fatalf("head row %d was not kept", h.Row)
		}
		r := tensor.Sampled{ID: -1, AskLogprob: float32(prefix % 1000)}
		if h.Sample {
			r.ID = sampled(prefix)
			d.last[h.Slot] = r.ID
			r.Rank = int32(len(d.prompt[h.Slot]))
			for _, n := range d.counts[h.Slot] {
				r.Rank += int32(100 * n)
			}
		}
		out = append(out, r)
	}
	return out
}

// checkCells holds the cache of every running sequence to its tokens: nobody else wrote to its pages, and the pages it
// found in the prefix cache were its own prefix.
func (d *device) checkCells() {
	for _, s := range d.policy.running {
		prefix := uint64(0)
		for i, id := range s.tokens[:min(s.computed, len(s.tokens))] {
			prefix = mix(prefix, id)
			if have := d.cells[s.pages[i/tensor.PageTokens]][i%tensor.PageTokens].prefix; have != prefix {
				d.t.Fatalf("slot %d: position %d of page %d is not its own", s.slot, i, s.pages[i/tensor.PageTokens])
			}
		}
	}
}

func (d *device) count(slot, id int32, generated bool) {
	if generated {
		d.counts[slot][id]++
	} else {
		d.prompt[slot][id] = true
	}
}

// want is the answer that a request must get, whatever happens around it, with the penalty counts that the sampler must
// have seen (where it looks at them).
func want(r *Request, context int) (ids, ranks []int32, finish Finish) {
	prefix := uint64(0)
	for _, id := range r.Prompt {
		prefix = mix(prefix, id)
	}
	distinct := map[int32]bool{}
	for _, id := range r.Prompt {
		distinct[id] = true
	}
	for {
		ranks = append(ranks, int32(len(distinct)+100*len(ids)))
		id := sampled(prefix)
		ids = append(ids, id)
		prefix = mix(prefix, id)
		switch {
		case slices.Contains(r.Stop, id) && len(ids) >= r.MinTokens:
			return ids, ranks, FinishStop
		case len(ids) == r.MaxTokens || len(r.Prompt)+len(ids) == context:
			return ids, ranks, FinishLength
		}
	}
}

// client is a request with what it was told.
type client struct {
	req    *Request
	seq    *sequence
	events []Event
	gone   bool
}

func checkInvariants(t *rapid.T, p *Policy) {
	if !slices.IsSortedFunc(p.running, before) || !slices.IsSortedFunc(p.waiting, before) {
		t.Fatal("sequences are out of order")
	}
	refs := make([]int32, p.pages.Total())
	slots := map[int32]bool{}
	for _, s := range p.running {
		for _, page := range s.pages {
			refs[page]++
		}
		if slots[s.slot] {
			t.Fatalf("slot %d has two sequences", s.slot)
		}
		slots[s.slot] = true
	}
	for _, s := range p.slots {
		if slots[s] {
			t.Fatalf("slot %d is free and has a sequence", s)
		}
		slots[s] = true
	}
	if len(slots) != p.limits.Slots {
		t.Fatalf("%d slots are accounted for, of %d", len(slots), p.limits.Slots)
	}
	free := 0
	for page, n := range refs {
		if p.pages.refs[page] != n {
			t.Fatalf("page %d is held %d times, %d sequences use it", page, p.pages.refs[page], n)
		}
		if n == 0 {
			free++
		}
	}
	if free != p.pages.Free() {
		t.Fatalf("%d pages are free, %d are counted", free, p.pages.Free())
	}
}

// TestPolicy drives a policy through random arrivals, aborts and steps, one or two of them in flight, on memories that
// are too small for everyone, and holds every answer to the one that its request must get.
func TestPolicy(t *testing.T) {
	preempted, cached := false, false
	rapid.Check(t, func(t *rapid.T) {
		contextPages := rapid.IntRange(2, 6).Draw(t, "contextPages")
		l := Limits{
			Context: contextPages * tensor.PageTokens,
			Slots:   rapid.IntRange(1, 5).Draw(t, "slots"),
			Pages:   contextPages + rapid.IntRange(0, 8).Draw(t, "extra"),
		}
		tokens := rapid.SampledFrom([]int{1, 3, 16, 40}).Draw(t, "tokens")
		l.Step = tensor.ForwardLimits{Tokens: tokens, Seqs: min(tokens, l.Slots), Rows: tokens, Params: l.Slots, Bias: 32,
			Pages: rapid.IntRange(2, 8).Draw(t, "pageWrites"), History: rapid.IntRange(5, 40).Draw(t, "history")}
		l.Stretch = rapid.SampledFrom([]float64{0, 1, 2}).Draw(t, "stretch")
		l.NoPrefix = rapid.IntRange(0, 4).Draw(t, "noPrefix") == 0
		depth := rapid.IntRange(1, 3).Draw(t, "depth")

		p := NewPolicy(l)
		d := newDevice(t, p, l)
		var clients []*client
		type flight struct {
			step    *Step
			sampled []tensor.Sampled
		}
		var inFlight []flight
		commit := func() {
			p.Took(inFlight[0].step, time.Duration(rapid.IntRange(0, 1000).Draw(t, "took"))*time.Millisecond)
			p.Commit(inFlight[0].step, inFlight[0].sampled)
			inFlight = inFlight[1:]
			checkInvariants(t, p)
		}
		advance := func() bool {
			if len(inFlight) < depth {
				step := p.Next()
				checkInvariants(t, p)
				if step != nil {
					inFlight = append(inFlight, flight{step, d.run(step)})
					return true
				}
			}
			if len(inFlight) > 0 {
				commit()
				return true
			}
			return false
		}
		texts := make([][]int32, 2) // prompts begin alike, so that prefixes are shared
		for i := range texts {
			texts[i] = rapid.SliceOfN(rapid.Int32Range(1, 12), l.Context, l.Context).Draw(t, fmt.Sprint("text", i))
		}
		arrive := func() {
			r := &Request{MaxTokens: rapid.IntRange(1, 40).Draw(t, "max"), Priority: rapid.IntRange(0, 1).Draw(t, "priority"),
				PromptLogprobs: rapid.IntRange(0, 3).Draw(t, "logprobs") == 0}
			r.Prompt = slices.Clone(rapid.SampledFrom(texts).Draw(t, "text")[:rapid.IntRange(1, l.Context-1).Draw(t, "length")])
			if rapid.Bool().Draw(t, "stops") {
				r.Stop, r.MinTokens = []int32{0}, rapid.IntRange(0, 5).Draw(t, "min")
			}
			r.Sampling.Repetition = 1
			if rapid.Bool().Draw(t, "penalized") {
				r.Sampling.Repetition = 1.1
			}
			c := &client{req: r}
			c.seq = p.add(r, func(e Event) {
				if c.gone {
					t.Fatal("an event after the abort")
				}
				c.events = append(c.events, e)
			})
			clients = append(clients, c)
		}
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			switch rapid.IntRange(0, 9).Draw(t, "operation") {
			case 0, 1:
				arrive()
			case 2:
				if len(clients) > 0 {
					c := rapid.SampledFrom(clients).Draw(t, "client")
					p.remove(c.seq)
					c.gone = true
				}
			default:
				advance()
			}
			checkInvariants(t, p)
		}
		for steps := 0; advance(); steps++ {
			if steps > 100_000 {
				t.Fatal("not everyone finishes")
			}
		}
		if !p.Idle() || p.pages.Free() != l.Pages || len(p.slots) != l.Slots {
			t.Fatalf("something is left: %d running, %d waiting, %d of %d pages free", len(p.running), len(p.waiting), p.pages.Free(), l.Pages)
		}
		for _, c := range clients {
			c.check(t, l.Context)
		}
		preempted = preempted || p.stats.Preemptions > 0
		cached = cached || p.stats.CachedTokens > 0
	})
	if !preempted || !cached {
		t.Errorf("the test is too tame: preempted %v, cached %v", preempted, cached)
	}
}

// check holds what a client was told to what it had to be told.
func (c *client) check(t *rapid.T, context int) {
	ids, ranks, finish := want(c.req, context)
	n, prompts := 0, 0
	for _, e := range c.events {
		if e.Prompt {
			prompts++
			if e.Index != prompts {
				t.Fatalf("logprobs of prompt token %d came as number %d", e.Index, prompts)
			}
			continue
		}
		if n >= len(ids) || e.Sampled.ID != ids[n] {
			t.Fatalf("token %d is %d, want %v", n, e.Sampled.ID, ids)
		}
		if c.req.Sampling.Penalized() && e.Sampled.Rank != ranks[n] {
			t.Fatalf("token %d was drawn with %d counted, want %d", n, e.Sampled.Rank, ranks[n])
		}
		n++
		if (e.Finish != Unfinished) != (n == len(ids)) || e.Finish != Unfinished && e.Finish != finish {
			t.Fatalf("token %d of %d: finish %d, want %d", n, len(ids), e.Finish, finish)
		}
	}
	if c.gone {
		return
	}
	if n != len(ids) {
		t.Fatalf("%d tokens, want %d", n, len(ids))
	}
	if c.req.PromptLogprobs && prompts != len(c.req.Prompt)-1 {
		t.Fatalf("%d prompt logprobs, want %d", prompts, len(c.req.Prompt)-1)
	}
}
