package model

import (
	"context"
	"errors"
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// Batch is one step of the model: what Forward computes, and which of the rows it keeps Head looks at.
type Batch struct {
	Forward tensor.ForwardStep
	Head    []tensor.HeadRow
}

// Ticket is a step in flight.
type Ticket struct {
	forward tensor.Step
	heads   []headStep
	err     error // of the Programs that have been waited for
}

type headStep struct {
	step tensor.Step
	out  []byte
	rows int
}

// Start enqueues a step in the smallest buckets that hold it: one Forward, and as many Heads as its rows need. What was
// started before a failure runs to its end all the same, and is waited for here.
func (in *Instance) Start(b *Batch) (*Ticket, error) {
	t := &Ticket{}
	fail := func(err error) (*Ticket, error) {
		_, waitErr := in.Wait(context.Background(), t)
		return nil, errors.Join(err, waitErr)
	}
	f, err := in.forwardFor(&b.Forward)
	if err != nil {
		return nil, err
	}
	in.block = grow(in.block, f.limits.Bytes())
	if err := f.limits.Encode(in.block, &b.Forward); err != nil {
		return nil, err
	}
	if t.forward, err = f.program.Start(in.block); err != nil {
		return nil, err
	}
	for rows := b.Head; len(rows) > 0; {
		h := in.headFor(len(rows))
		n := min(len(rows), h.rows)
		in.block = grow(in.block, tensor.HeadBytes(h.rows))
		if err := tensor.EncodeHead(in.block, rows[:n]); err != nil {
			return fail(err)
		}
		step, err := h.program.Start(in.block)
		if err != nil {
			return fail(err)
		}
		t.heads = append(t.heads, headStep{step, make([]byte, n*tensor.SampledBytes), n})
		rows = rows[n:]
	}
	return t, nil
}

// Wait returns what Sample reported of each row of Batch.Head, in order. When ctx ends first, the step goes on and Wait
// must be called again; a failure that was seen before that is not forgotten.
func (in *Instance) Wait(ctx context.Context, t *Ticket) ([]tensor.Sampled, error) {
	if err := t.wait(ctx, &t.forward, nil); err != nil {
		return nil, err
	}
	for i := range t.heads {
		if err := t.wait(ctx, &t.heads[i].step, t.heads[i].out); err != nil {
			return nil, err
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	var sampled []tensor.Sampled
	for _, h := range t.heads {
		for i := range h.rows {
			sampled = append(sampled, tensor.SampledFrom(h.out[i*tensor.SampledBytes:]))
		}
	}
	return sampled, nil
}

// wait waits for one Program of the step, once, and keeps its error. It returns an error only if ctx ended first.
func (t *Ticket) wait(ctx context.Context, s *tensor.Step, out []byte) error {
	if *s == nil {
		return nil
	}
	err := (*s).Wait(ctx, out)
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return err
	}
	*s = nil
	t.err = errors.Join(t.err, err)
	return nil
}

func (in *Instance) forwardFor(s *tensor.ForwardStep) (forwardBucket, error) {
	for _, f := range in.forward {
		l := f.limits
		if len(s.IDs) <= l.Tokens && len(s.Seqs) <= l.Seqs && len(s.Pages) <= l.Pages && len(s.Params) <= l.Params &&
			len(s.History) <= l.History && len(s.Bias) <= l.Bias {
			return f, nil
		}
	}
	return forwardBucket{}, fmt.Errorf("model: a step of %d tokens, %d sequences, %d page writes, %d parameter writes, %d history writes and %d biases is larger than %+v",
		len(s.IDs), len(s.Seqs), len(s.Pages), len(s.Params), len(s.History), len(s.Bias), in.sizing.Limits())
}

func (in *Instance) headFor(rows int) headBucket {
	for _, h := range in.head {
		if rows <= h.rows {
			return h
		}
	}
	return in.head[len(in.head)-1]
}

// grow makes b n bytes long without keeping its content.
func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}
