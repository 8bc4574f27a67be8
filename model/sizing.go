package model

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// Sizing is how an Instance divides the device's memory.
type Sizing struct {
	Context   int           // tokens a sequence may have
	MaxSeqs   int           // sequences that run at once: slots
	MaxTokens int           // tokens of one step
	HeadRows  int           // rows of logits of one Head
	Pages     int           // KV pages of PageTokens tokens
	KV        tensor.Format // format of the cache

	WeightBytes, KVBytes, SlotBytes, ScratchBytes, ProgramBytes int64

	// StepBytes is the part of WeightBytes that every step reads: the matrices, but not the embedding (unless it is
	// the head too) or the table of rotations, of which each token reads a row.
	StepBytes int64
}

// KVTokens is how many tokens the cache holds.
func (s Sizing) KVTokens() int { return s.Pages * tensor.PageTokens }

// Limits are the capacities of the largest step: what a scheduler may put into one.
func (s Sizing) Limits() tensor.ForwardLimits { return s.limitsFor(s.MaxTokens) }

// limitsFor are the capacities of the bucket for this many tokens. A step runs in the smallest bucket that holds all of
// it, so these are room for what usually comes along with that many tokens.
func (s Sizing) limitsFor(tokens int) tensor.ForwardLimits {
	return tensor.ForwardLimits{
		Tokens:  tokens,
		Seqs:    min(tokens, s.MaxSeqs),
		Rows:    tokens,
		Pages:   64 + 2*tokens,
		Params:  min(8+tokens, s.MaxSeqs),
		History: 256 + 8*tokens,
		Bias:    512 + 4*tokens,
	}
}

func (s Sizing) forwardLimits() []tensor.ForwardLimits {
	var l []tensor.ForwardLimits
	for _, tokens := range powersUpTo(s.MaxTokens) {
		l = append(l, s.limitsFor(tokens))
	}
	return l
}

// MaxBias is how many logit biases a sequence may have, those of min_tokens included.
const MaxBias = 512

// size decides everything that Options leave open, from what the plans say they need.
func (in *Instance) size(arch Arch, from Checkpoint, o Options) (Shard, error) {
	c, info := in.config, in.device.Info()
	s := &in.sizing
	s.Context, s.MaxSeqs, s.MaxTokens, s.KV = o.Context, o.MaxSeqs, o.MaxTokens, o.KV
	if s.Context <= 0 {
		s.Context = c.ContextLength()
	}
	if s.Context > c.ContextLength() {
		return Shard{}, fmt.Errorf("model: a context of %d tokens was asked for; this model has %d (rope scaling can stretch it)", s.Context, c.ContextLength())
	}
	if s.MaxSeqs <= 0 {
		s.MaxSeqs = 256
	}
	if s.MaxTokens <= 0 {
		s.MaxTokens = 512
	}
	if s.KV == tensor.NoFormat {
		s.KV = info.KVFormats[0]
	}
	s.HeadRows = min(info.HeadRows, s.MaxTokens)

	shard := func(pages int) Shard {
		return Shard{
			Config: c,
			Lookup: from.Lookup,
			KV:     tensor.KVSpec{Pages: pages, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Format: s.KV},
			Slots: tensor.SlotSpec{Slots: s.MaxSeqs, MaxPages: (s.Context + tensor.PageTokens - 1) / tensor.PageTokens,
				Vocab: c.Vocab, Bias: MaxBias},
			Hidden:    tensor.RowSpec{Rows: s.MaxTokens, Cols: c.Hidden},
			Positions: s.Context,
		}
	}
	if c.HeadDim%s.KV.Block() != 0 {
		return Shard{}, fmt.Errorf("model: heads of %d values cannot be cached as %s; choose another --kv-dtype", c.HeadDim, s.KV)
	}
	// Everything but the cache, from a cache of one page.
	one := shard(1)
	w, err := arch.Weights(one)
	if err != nil {
		return Shard{}, err
	}
	s.WeightBytes = w.Bytes()
	s.SlotBytes = one.SlotsSpec().Bytes() + one.HiddenSpec().Bytes()
	plans, err := in.plan(arch, w, one)
	if err != nil {
		return Shard{}, err
	}
	s.ScratchBytes = scratch(plans)
	for _, p := range plans {
		s.ProgramBytes += p.Program()
	}
	pageBytes := one.KV.Bytes() * 2 * int64(c.Layers)
	perSeq := one.Slots.MaxPages
	s.Pages = perSeq * s.MaxSeqs
	rest := s.WeightBytes + s.SlotBytes + s.ScratchBytes + s.ProgramBytes
	budget := o.KVBytes
	if o.Memory > 0 {
		left := o.Memory - rest
		if left < pageBytes {
			return Shard{}, fmt.Errorf("model: %w: %d bytes for weights, slots and scratch leave no room for a KV cache in %d bytes; lower --max-bs, --max-batch-tokens or --context-len, or choose a smaller weight format", tensor.ErrOutOfMemory, rest, o.Memory)
		}
		if budget == 0 || left < budget {
			budget = left
		}
	}
	if budget > 0 {
		s.Pages = min(s.Pages, int(budget/pageBytes))
	}
	if o.KVTokens > 0 {
		s.Pages = min(s.Pages, (o.KVTokens+tensor.PageTokens-1)/tensor.PageTokens)
	}
	if s.Pages < perSeq {
		if o.Context > 0 || s.Pages < 1 {
			return Shard{}, fmt.Errorf("model: %w: a context of %d tokens needs %d bytes of KV cache, and there is room for %d tokens; lower --context-len, choose a smaller --kv-dtype, or raise --kv-cache-tokens if it is set",
				tensor.ErrOutOfMemory, s.Context, int64(perSeq)*pageBytes, s.KVTokens())
		}
		s.Context = s.Pages * tensor.PageTokens
		o.Log.Warn("context lowered to what memory allows", "tokens", s.Context, "model", c.ContextLength())
	}
	s.KVBytes = int64(s.Pages) * pageBytes
	return shard(s.Pages), nil
}
