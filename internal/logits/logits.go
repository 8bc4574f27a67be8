// Package logits reads what the product never needs: a model's logits at every position of a prompt, for comparisons with
// other engines.
package logits

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/tensor"
)

// Reader is a model on a device that runs one prompt at a time. Whoever opened it closes it, before the device.
type Reader struct {
	limits  tensor.ForwardLimits
	vocab   int
	forward tensor.Program
	head    tensor.Program
	out     int // where the head's result begins in its output
	closers []func() error
}

// headRows is how many positions the head computes at once.
const headRows = 64

// Open uploads a model, with a cache of the format kv, for prompts of at most so many tokens.
func Open(ctx context.Context, d tensor.Device, f *files.Files, kv tensor.Format, tokens int) (*Reader, error) {
	r := &Reader{vocab: f.Config.Vocab}
	if err := r.open(ctx, d, f, kv, tokens); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Reader) open(ctx context.Context, d tensor.Device, f *files.Files, kv tensor.Format, tokens int) error {
	c, pages := f.Config, (tokens+tensor.PageTokens-1)/tensor.PageTokens
	r.limits = tensor.ForwardLimits{Tokens: tokens, Seqs: 1, Rows: tokens, Pages: pages, Params: 1}
	s := model.Shard{Config: c, Lookup: f.Checkpoint.Lookup, Positions: tokens,
		KV:     tensor.KVSpec{Pages: pages, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Format: kv},
		Slots:  tensor.SlotSpec{Slots: 1, MaxPages: pages, Vocab: c.Vocab, Bias: 1},
		Hidden: tensor.RowSpec{Rows: tokens, Cols: c.Hidden}}
	arch := qwen3.Arch{}
	w, err := arch.Weights(s)
	if err != nil {
		return err
	}
	b := tensor.Bindings{Weights: map[string]tensor.Weight{}, States: map[string]tensor.State{}}
	for _, role := range w.Roles {
		for _, spec := range w.Specs(role) {
			src, err := model.SourceOf(f.Checkpoint, c, role, spec)
			if err != nil {
				return err
			}
			u, err := d.Upload(ctx, spec, src)
			if err != nil {
				return err
			}
			b.Weights[spec.Name] = u
			r.closers = append(r.closers, u.Close)
		}
	}
	for _, spec := range s.States() {
		st, err := d.NewState(spec)
		if err != nil {
			return err
		}
		b.States[spec.Name] = st
		r.closers = append(r.closers, st.Close)
	}
	forward, head := tensor.NewGraph("forward"), tensor.NewGraph("logits")
	arch.Forward(forward, w, s, r.limits)
	r.out = head.Output(arch.Logits(head, w, s, head.HeadInput(headRows)))
	var plans []tensor.Plan
	for _, g := range []*tensor.Graph{forward, head} {
		if err := g.Err(); err != nil {
			return err
		}
		p, err := d.Plan(g)
		if err != nil {
			return err
		}
		plans = append(plans, p)
	}
	if b.Arena, err = d.NewArena(max(plans[0].Scratch(), plans[1].Scratch())); err != nil {
		return err
	}
	r.closers = append(r.closers, b.Arena.Close)
	for i, program := range []*tensor.Program{&r.forward, &r.head} {
		if *program, err = d.Compile(plans[i], b); err != nil {
			return err
		}
		r.closers = append(r.closers, (*program).Close)
	}
	return nil
}

// Prompt runs tokens as one prompt from its beginning, and calls use with each position and its logits, one for each id of
// the vocabulary, which use must not keep.
func (r *Reader) Prompt(ctx context.Context, tokens []int32, use func(position int, logits []float32)) error {
	n := len(tokens)
	if n > r.limits.Tokens {
		return fmt.Errorf("logits: a prompt of %d tokens, and only %d were asked for", n, r.limits.Tokens)
	}
	step := tensor.ForwardStep{IDs: tokens, Seqs: []tensor.SeqStep{{Count: int32(n), Keep: int32(n), PromptLen: int32(n), Reset: true}}}
	for i := range (n + tensor.PageTokens - 1) / tensor.PageTokens {
		step.Pages = append(step.Pages, tensor.PageWrite{Index: int32(i), Page: int32(i)})
	}
	block := make([]byte, r.limits.Bytes())
	if err := r.limits.Encode(block, &step); err != nil {
		return err
	}
	if err := run(ctx, r.forward, block, nil); err != nil {
		return err
	}
	block, out, row := make([]byte, tensor.HeadBytes(headRows)), make([]byte, r.out+4*headRows*r.vocab), make([]float32, r.vocab)
	for first := 0; first < n; first += headRows {
		var rows []tensor.HeadRow
		for i := first; i < min(n, first+headRows); i++ {
			rows = append(rows, tensor.HeadRow{Row: int32(i)})
		}
		if err := tensor.EncodeHead(block, rows); err != nil {
			return err
		}
		if err := run(ctx, r.head, block, out); err != nil {
			return err
		}
		for i := range rows {
			for j := range row {
				row[j] = math.Float32frombits(binary.LittleEndian.Uint32(out[r.out+4*(i*r.vocab+j):]))
			}
			use(first+i, row)
		}
	}
	return nil
}

func run(ctx context.Context, p tensor.Program, in, out []byte) error {
	s, err := p.Start(in)
	if err != nil {
		return err
	}
	return s.Wait(ctx, out)
}

// Close frees everything.
func (r *Reader) Close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i]())
	}
	r.closers = nil
	return errors.Join(errs...)
}
