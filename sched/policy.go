package sched

import (
	"cmp"
	"slices"
	"time"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

// Limits bound what a Policy puts into steps.
type Limits struct {
	Context int                  // tokens of one sequence
	Slots   int                  // sequences that run at once
	Pages   int                  // KV pages
	Step    tensor.ForwardLimits // of one step
	// Stretch is how many times as long as a step without prompts one may take in which some generate and others' prompts
	// are computed, unless more wait than generate; 0: no bound. It is kept by the number of prompt tokens, and learnt from
	// what steps take.
	Stretch  float64
	NoPrefix bool // do not look up cached prefixes
}

// Policy decides what each step computes. There is no prefill phase and no decode phase: every sequence has some tokens
// and some of them computed, and each step lets the computed ones catch up, under a budget of tokens. When a sequence
// has caught up, the step samples its next token.
//
// It is a pure state machine: Next plans a step, Commit takes in what the step sampled. Up to two steps may be planned
// before the first is committed; a token that was sampled but not read yet is called unread, and the next step refers to
// it by the id -1.
type Policy struct {
	limits  Limits
	pages   *Pages
	slots   []int32     // free
	waiting []*sequence // by priority, then arrival
	running []*sequence // likewise; the last is preempted first
	arrived int
	pace    pace
	stats   Counters
}

// Counters are totals since the start.
type Counters struct {
	PromptTokens, CachedTokens, GeneratedTokens, Preemptions, Steps int64
}

// sequence is a request on its way.
type sequence struct {
	req     *Request
	deliver func(Event)
	arrival int

	tokens   []int32 // prompt and what was generated and read
	unread   int     // tokens sampled in steps that are not committed yet
	computed int     // tokens whose keys and values are stored once the planned steps have run

	slot      int32 // -1: waiting
	fresh     bool  // the slot was given to it and the device does not know yet
	pages     []int32
	written   int    // entries of the page table that the device has
	history   int    // cached tokens that were counted for penalties
	cached    int    // tokens found in the prefix cache at admission
	hashes    []Hash // of full pages, as far as known
	published int    // full pages offered to the prefix cache

	firstCached int // what the first token's event reports
	started     bool
	promptSeen  int // prompt positions whose logprobs were planned
	done        bool
}

// total counts the sequence's tokens, unread ones included.
func (s *sequence) total() int { return len(s.tokens) + s.unread }

// wants tells how many tokens the sequence could compute now: none once all it may generate has been sampled.
func (s *sequence) wants(context int) int {
	if s.total()-len(s.req.Prompt) >= s.req.MaxTokens || s.total() >= context {
		return 0
	}
	return s.total() - s.computed
}

// Step is a planned step.
type Step struct {
	Batch   model.Batch
	rows    []rowOwner // of Batch.Head
	prompts int        // tokens of prompts in it
}

// rowOwner says whose a row of logits is.
type rowOwner struct {
	seq    *sequence
	prompt int // index of the prompt's token that was asked for; 0: the row sampled a new token
}

// NewPolicy has nothing to do yet.
func NewPolicy(l Limits) *Policy {
	p := &Policy{limits: l, pages: NewPages(l.Pages), pace: pace{stretch: l.Stretch}}
	for i := l.Slots - 1; i >= 0; i-- {
		p.slots = append(p.slots, int32(i))
	}
	return p
}

// add queues a request; events about it go to deliver, from within Commit.
func (p *Policy) add(r *Request, deliver func(Event)) *sequence {
	s := &sequence{req: r, deliver: deliver, arrival: p.arrived, slot: -1, tokens: slices.Clone(r.Prompt)}
	p.arrived++
	p.enqueue(s)
	return s
}

// before is the order in which sequences are served.
func before(a, b *sequence) int {
	return cmp.Or(cmp.Compare(b.req.Priority, a.req.Priority), cmp.Compare(a.arrival, b.arrival))
}

func (p *Policy) enqueue(s *sequence) {
	at, _ := slices.BinarySearchFunc(p.waiting, s, before)
	p.waiting = slices.Insert(p.waiting, at, s)
}

// remove ends a sequence at any moment: its pages and its slot are free for the next step, which runs after every step
// that still writes to them.
func (p *Policy) remove(s *sequence) {
	if s.done {
		return
	}
	s.done = true
	if s.slot < 0 {
		p.waiting = slices.DeleteFunc(p.waiting, func(x *sequence) bool { return x == s })
		return
	}
	p.running = slices.DeleteFunc(p.running, func(x *sequence) bool { return x == s })
	p.vacate(s)
}

// vacate gives back what a running sequence holds, last pages first, so that a prefix outlives its continuations in the
// cache.
func (p *Policy) vacate(s *sequence) {
	for i := len(s.pages) - 1; i >= 0; i-- {
		p.pages.Release(s.pages[i])
	}
	p.slots = append(p.slots, s.slot)
	s.slot, s.pages, s.computed, s.cached, s.published = -1, nil, 0, 0, 0
}

// preempt takes the memory of a running sequence, which will be computed again later: once the tokens that it has
// sampled in steps still in flight are read, since they exist on the device only.
func (p *Policy) preempt(s *sequence) {
	p.running = slices.DeleteFunc(p.running, func(x *sequence) bool { return x == s })
	p.vacate(s)
	p.enqueue(s)
	p.stats.Preemptions++
}

// Next plans a step, or answers nil when there is nothing to plan now.
func (p *Policy) Next() *Step {
	b := builder{p: p, step: &Step{}, left: p.limits.Step}
	b.prefill = p.limits.Step.Tokens
	if generating, waiting := p.demand(); generating > 0 {
		b.prefill = p.pace.mixed(p.limits.Step.Tokens, generating, waiting)
	}
	full := false // no page was left for someone
	for i := 0; i < len(p.running); i++ {
		for s := p.running[i]; s.slot >= 0 && !b.continues(s); full = true {
			p.preempt(p.running[len(p.running)-1])
		}
	}
	for !full && len(p.waiting) > 0 && len(p.slots) > 0 && b.left.Tokens > 0 && b.prefill > 0 {
		if !b.admit(p.waiting[0]) {
			break
		}
	}
	if len(b.step.Batch.Forward.Seqs) == 0 {
		return nil
	}
	p.stats.Steps++
	return b.step
}

// demand counts the sequences that want their next token, and those whose prompts a step could compute.
func (p *Policy) demand() (generating, waiting int) {
	for _, s := range p.running {
		switch n := s.wants(p.limits.Context); {
		case n == 1:
			generating++
		case n > 1:
			waiting++
		}
	}
	return generating, waiting + min(len(p.waiting), len(p.slots))
}

// Took tells how long the device was busy with a step.
func (p *Policy) Took(step *Step, d time.Duration) {
	p.pace.observe(len(step.Batch.Forward.IDs), step.prompts, d)
}

// Idle tells whether no sequence is left; steps of sequences that have ended may still be in flight.
func (p *Policy) Idle() bool { return len(p.running) == 0 && len(p.waiting) == 0 }

// Commit takes in what a step sampled, in the order in which steps were planned.
func (p *Policy) Commit(step *Step, sampled []tensor.Sampled) {
	for i, row := range step.rows {
		s := row.seq
		if s.done {
			continue // stopped, or aborted, while the step was in flight
		}
		if row.prompt > 0 {
			s.deliver(Event{Sampled: sampled[i], Prompt: true, Index: row.prompt})
			continue
		}
		s.unread--
		s.tokens = append(s.tokens, sampled[i].ID)
		p.stats.GeneratedTokens++
		e := Event{Sampled: sampled[i], Index: len(s.tokens) - 1, Finish: p.finish(s, sampled[i].ID)}
		if len(s.tokens) == len(s.req.Prompt)+1 {
			e.Cached = s.firstCached
		}
		p.publish(s, min(s.computed, len(s.tokens)))
		if e.Finish != Unfinished {
			p.remove(s)
		}
		s.deliver(e)
	}
}

func (p *Policy) finish(s *sequence, id int32) Finish {
	generated := len(s.tokens) - len(s.req.Prompt)
	switch {
	case generated >= s.req.MinTokens && slices.Contains(s.req.Stop, id):
		return FinishStop
	case generated >= s.req.MaxTokens || len(s.tokens) >= p.limits.Context:
		return FinishLength
	}
	return Unfinished
}

// publish offers the full pages among the first n tokens to the prefix cache.
func (p *Policy) publish(s *sequence, n int) {
	if p.limits.NoPrefix || s.slot < 0 {
		return
	}
	for ; (s.published+1)*tensor.PageTokens <= n; s.published++ {
		p.pages.Publish(s.pages[s.published], s.hash(s.published))
	}
}

// hash is the chained hash of full page i.
func (s *sequence) hash(i int) Hash {
	for n := len(s.hashes); n <= i; n++ {
		var last Hash
		if n > 0 {
			last = s.hashes[n-1]
		}
		s.hashes = append(s.hashes, chain(last, s.tokens[n*tensor.PageTokens:]))
	}
	return s.hashes[i]
}
