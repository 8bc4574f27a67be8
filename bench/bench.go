// Package bench measures a model on a device: prefill and decode at the level of steps, and whole workloads of requests,
// in this process or against any server that speaks OpenAI's API.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

// Spread is what several runs of the same thing gave.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread sorts the figures of several runs.
func spread(v []float64) Spread {
	slices.Sort(v)
	return Spread{Median: (v[(len(v)-1)/2] + v[len(v)/2]) / 2, Min: v[0], Max: v[len(v)-1]}
}

// Result is one line of a report.
type Result struct {
	Test              string  `json:"test"` // pp512, tg128, workload
	Batch             int     `json:"batch"`
	TokensPerSecond   Spread  `json:"tokens_per_second"`
	BandwidthFraction float64 `json:"bandwidth_fraction,omitempty"` // of the machine's measured memory bandwidth
	FlopsFraction     float64 `json:"flops_fraction,omitempty"`     // of its measured arithmetic

	TTFTP50    float64 `json:"ttft_p50_seconds,omitempty"`
	TTFTP99    float64 `json:"ttft_p99_seconds,omitempty"`
	InterP50   float64 `json:"inter_token_p50_seconds,omitempty"`
	InterP99   float64 `json:"inter_token_p99_seconds,omitempty"`
	Requests   int     `json:"requests,omitempty"`
	Failed     int     `json:"failed,omitempty"`
	OutputSize int     `json:"output_tokens,omitempty"`
}

// Report is what a benchmark prints as JSON.
type Report struct {
	Model   string   `json:"model"`
	Backend string   `json:"backend"`
	Device  string   `json:"device"`
	Results []Result `json:"results"`
}

// Cost is what tokens cost at least, for the fractions of what the machine could do. Attention's arithmetic is left out:
// it is small beside the matrices' in all but very long contexts.
type Cost struct {
	WeightBytes int64   // read for each step
	KVBytes     int64   // read for each token of context
	Flops       float64 // of the layers, for each token: a product and a sum for each weight
	HeadFlops   float64 // of the head, for each token that is sampled
}

// Roofline is what a device can do at most, as it measures itself.
type Roofline interface {
	// Roofline returns bytes read per second from memory and floating-point operations per second in the arithmetic
	// that a weight format uses; 0 for what it cannot tell.
	Roofline(context.Context, tensor.Format) (bytes, flops float64, err error)
}

// CostOf counts a model's weights.
func CostOf(c model.Config, s model.Sizing) Cost {
	q, kv := c.QueryHeads*c.HeadDim, c.KVHeads*c.HeadDim
	layer := c.Hidden*(q+2*kv) + q*c.Hidden + 3*c.Hidden*c.FFN
	return Cost{WeightBytes: s.StepBytes, KVBytes: s.KVBytes / int64(s.KVTokens()),
		Flops: 2 * float64(c.Layers*layer), HeadFlops: 2 * float64(c.Hidden*c.Vocab)}
}

// Prefill runs a prompt of n random tokens, reps times, and reports tokens per second.
func Prefill(ctx context.Context, in *model.Instance, n, reps int) (Spread, error) {
	var rates []float64
	for rep := range reps + 1 {
		begun := time.Now()
		if err := newRunner(in, 1).prompt(ctx, 0, n, uint64(rep)); err != nil {
			return Spread{}, err
		}
		if rep > 0 { // the first warms up
			rates = append(rates, float64(n)/time.Since(begun).Seconds())
		}
	}
	return spread(rates), nil
}

// Decode generates n tokens for each of batch sequences behind prompts of promptTokens, greedily, with up to depth steps
// in flight, and reports tokens per second over all sequences.
func Decode(ctx context.Context, in *model.Instance, depth, n, batch, promptTokens, reps int) (Spread, error) {
	if batch > in.Sizing().MaxSeqs {
		return Spread{}, fmt.Errorf("bench: a batch of %d, and only %d sequences can run at once", batch, in.Sizing().MaxSeqs)
	}
	var rates []float64
	for rep := range reps {
		r := newRunner(in, batch)
		for seq := range batch {
			if err := r.prompt(ctx, seq, max(promptTokens, 1), uint64(rep*batch+seq)); err != nil {
				return Spread{}, err
			}
		}
		warm := min(2, n)
		if err := r.decode(ctx, depth, warm); err != nil {
			return Spread{}, err
		}
		begun := time.Now()
		if err := r.decode(ctx, depth, n); err != nil {
			return Spread{}, err
		}
		rates = append(rates, float64(n*batch)/time.Since(begun).Seconds())
	}
	return spread(rates), nil
}

// runner drives an instance without a scheduler. Pages are handed out as a server's are while none is let go: one after
// the other, to whoever needs the next.
type runner struct {
	in     *model.Instance
	length []int32 // tokens of each sequence
	pages  []int32 // page-table entries written for each
	used   int32   // pages handed out
}

func newRunner(in *model.Instance, seqs int) *runner {
	return &runner{in: in, length: make([]int32, seqs), pages: make([]int32, seqs)}
}

// step adds n tokens to a sequence's part of a batch.
func (r *runner) step(b *model.Batch, seq int, ids []int32, sample bool) error {
	f := &b.Forward
	q := tensor.SeqStep{Slot: int32(seq), Start: r.length[seq], Count: int32(len(ids)), First: int32(len(f.IDs)), FirstRow: int32(f.Rows()), PromptLen: 1 << 30, Reset: r.length[seq] == 0}
	if q.Reset {
		f.Params = append(f.Params, tensor.ParamWrite{Slot: int32(seq), Sampling: tensor.Sampling{Repetition: 1, TopP: 1}})
	}
	r.length[seq] += int32(len(ids))
	need := (r.length[seq] + tensor.PageTokens - 1) / tensor.PageTokens
	if most := r.in.Sizing().Context; int(r.length[seq]) > most {
		return fmt.Errorf("bench: the context holds %d tokens, too few; use shorter prompts or fewer tokens", most)
	}
	if have := r.in.Sizing().Pages; int(r.used+need-r.pages[seq]) > have {
		return fmt.Errorf("bench: the KV cache holds %d tokens for %d sequences, too few; use a smaller batch", have*tensor.PageTokens, len(r.length))
	}
	for ; r.pages[seq] < need; r.pages[seq]++ {
		f.Pages = append(f.Pages, tensor.PageWrite{Slot: int32(seq), Index: r.pages[seq], Page: r.used})
		r.used++
	}
	f.IDs = append(f.IDs, ids...)
	if sample {
		q.Keep = 1
		b.Head = append(b.Head, tensor.HeadRow{Row: q.FirstRow, Slot: int32(seq), Position: r.length[seq], Sample: true, Ask: -1})
	}
	f.Seqs = append(f.Seqs, q)
	return nil
}

// prompt runs a prompt of n random ids in chunks, and samples once.
func (r *runner) prompt(ctx context.Context, seq, n int, seed uint64) error {
	g, vocab := rand.New(rand.NewPCG(seed, 0)), int32(r.in.Config().Vocab)
	for n > 0 {
		ids := make([]int32, min(n, r.in.Sizing().MaxTokens))
		for i := range ids {
			ids[i] = g.Int32N(vocab)
		}
		n -= len(ids)
		var b model.Batch
		if err := r.step(&b, seq, ids, n == 0); err != nil {
			return err
		}
		t, err := r.start(ctx, &b)
		if err != nil {
			return err
		}
		if _, err := r.in.Wait(context.Background(), t); err != nil {
			return err
		}
	}
	return nil
}

// decode generates n tokens for every sequence.
func (r *runner) decode(ctx context.Context, depth, n int) (err error) {
	var flight []*model.Ticket
	wait := func() error {
		_, err := r.in.Wait(context.Background(), flight[0])
		flight = flight[1:]
		return err
	}
	defer func() { // after a failure too: what was started is waited for
		for len(flight) > 0 {
			err = errors.Join(err, wait())
		}
	}()
	for range n {
		var b model.Batch
		for seq := range r.length {
			if err := r.step(&b, seq, []int32{-1}, true); err != nil {
				return err
			}
		}
		t, err := r.start(ctx, &b)
		if err != nil {
			return err
		}
		if flight = append(flight, t); len(flight) == depth {
			if err := wait(); err != nil {
				return err
			}
		}
	}
	return nil
}

// start begins a step unless ctx has ended. Steps are short: those that were started are waited for in any case.
func (r *runner) start(ctx context.Context, b *model.Batch) (*model.Ticket, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return r.in.Start(b)
}
