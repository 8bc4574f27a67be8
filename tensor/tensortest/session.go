package tensortest

import (
	"context"
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// session runs a Model on a device step by step, as a scheduler would.
type session struct {
	m       *Model
	rig     *Rig
	limits  tensor.ForwardLimits
	sampled int // byte offsets in the head's outputs
	logits  int
	free    int // pages handed out so far
}

// sequence is what a session knows of a sequence.
type sequence struct {
	slot     int32
	ids      []int32
	computed int
	pages    int
}

// piece is a sequence's part of a step.
type piece struct {
	seq   *sequence
	count int
}

// result is what a step says of one piece's last token.
type result struct {
	seq      *sequence
	position int
	logits   []float32
	sampled  tensor.Sampled
}

// flight is a step that was started.
type flight struct {
	results []result
	forward tensor.Step
	head    tensor.Step
}

func newSession(d tensor.Device, m *Model) (*session, error) {
	x := &session{m: m, limits: tensor.ForwardLimits{Tokens: stepTokens, Seqs: 4, Rows: 4, Pages: 40, Params: 4, History: 4, Bias: 4}}
	var head *tensor.Graph
	head, x.sampled, x.logits = m.Head(4)
	r, err := NewRig(d, m.Setup(), true, m.Forward(x.limits), head)
	x.rig = r
	return x, err
}

// newSequence is a sequence of given ids, in a slot.
func newSequence(slot, length int) *sequence {
	q := &sequence{slot: int32(slot)}
	for i := range length {
		q.ids = append(q.ids, int32((i*i*7+i*13+slot*31)%300))
	}
	return q
}

// start enqueues a step. Ids beyond those that a sequence has are what it sampled before, which the host may not know.
func (x *session) start(pieces ...piece) (*flight, error) {
	s, f := &tensor.ForwardStep{}, &flight{}
	var head []tensor.HeadRow
	for i, p := range pieces {
		q := p.seq
		for q.pages*tensor.PageTokens < q.computed+p.count {
			// Strides apart, so that a sequence's pages do not lie side by side.
			s.Pages = append(s.Pages, tensor.PageWrite{Slot: q.slot, Index: int32(q.pages), Page: int32(x.free * 7 % x.m.Pages)})
			q.pages++
			x.free++
		}
		if q.computed == 0 {
			s.Params = append(s.Params, tensor.ParamWrite{Slot: q.slot, Sampling: tensor.Sampling{TopP: 1, Repetition: 1}})
		}
		s.Seqs = append(s.Seqs, tensor.SeqStep{Slot: q.slot, Start: int32(q.computed), Count: int32(p.count), First: int32(len(s.IDs)),
			Keep: 1, FirstRow: int32(i), PromptLen: int32(len(q.ids)), Reset: q.computed == 0})
		for j := range p.count {
			id := int32(-1)
			if at := q.computed + j; at < len(q.ids) {
				id = q.ids[at]
			}
			s.IDs = append(s.IDs, id)
		}
		q.computed += p.count
		head = append(head, tensor.HeadRow{Row: int32(i), Slot: q.slot, Position: int32(q.computed), Sample: true, Ask: -1})
		f.results = append(f.results, result{seq: q, position: q.computed})
	}
	var err error
	if f.forward, err = x.rig.Programs[0].Start(stepBlock(x.limits, s)); err != nil {
		return nil, err
	}
	if f.head, err = x.rig.Programs[1].Start(headBlock(4, head)); err != nil {
		_ = f.forward.Wait(context.Background(), nil)
		return nil, err
	}
	return f, nil
}

// wait ends a step and reads its results.
func (x *session) wait(f *flight) ([]result, error) {
	ctx := context.Background()
	forward := f.forward.Wait(ctx, nil)
	out := make([]byte, x.rig.graphs[1].OutputBytes())
	if err := f.head.Wait(ctx, out); err != nil {
		return nil, err
	}
	if forward != nil {
		return nil, forward
	}
	row := 4 * x.m.Vocab
	for i := range f.results {
		r := &f.results[i]
		r.logits = floatsOf(out[x.logits+i*row:][:row])
		r.sampled = tensor.SampledFrom(out[x.sampled+i*tensor.SampledBytes:])
	}
	return f.results, nil
}

func (x *session) step(pieces ...piece) ([]result, error) {
	f, err := x.start(pieces...)
	if err != nil {
		return nil, err
	}
	return x.wait(f)
}

// trace is a list of steps, each a list of (sequence, tokens).
type trace [][][2]int

// chunked cuts sequence i of a length into chunks.
func chunked(i, length, chunk int) (t trace) {
	for done := 0; done < length; done += chunk {
		t = append(t, [][2]int{{i, min(chunk, length-done)}})
	}
	return t
}

// spot is a position of a sequence.
type spot struct {
	seq, position int
}

func (s spot) String() string { return fmt.Sprintf("sequence %d, position %d", s.seq, s.position) }

// follow runs a trace over sequences of these lengths and returns the logits at each spot where a piece ended.
func (x *session) follow(t trace, lengths ...int) (map[spot]result, error) {
	x.free = 0
	var seqs []*sequence
	for i, n := range lengths {
		seqs = append(seqs, newSequence(i, n))
	}
	at := map[spot]result{}
	for _, step := range t {
		var pieces []piece
		for _, p := range step {
			pieces = append(pieces, piece{seqs[p[0]], p[1]})
		}
		results, err := x.step(pieces...)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			at[spot{step[i][0], r.position}] = r
		}
	}
	return at, nil
}
