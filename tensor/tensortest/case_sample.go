package tensortest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ullm/ullm/tensor"
)

func sampleCases(_ tensor.Info, add func(*opCase)) {
	for n, vocab := range []int{33, 64, 1000, 4099} {
		for _, kind := range []string{"smooth", "ties", "special"} {
			add(sampleCase(vocab, []int{64, 65, 33, 9}[n], kind, uint64(vocab)))
		}
		add(sampleCase(vocab, 1, "smooth", 1))
	}
	add(sampleCase(32, 0, "smooth", 1))
	add(sampleCase(151936, 5, "smooth", 3)) // Qwen3's
	add(sampleCase(151936, 3, "ties", 4))
}

// sampleCase draws one token for each row, every row with parameters, counts and biases of its own.
func sampleCase(vocab, rows int, kind string, seed uint64) *opCase {
	c := &opCase{name: fmt.Sprintf("Sample/%d/%d/%s/%d", vocab, rows, kind, seed), op: tensor.OpSample}
	r := rand.New(rand.NewPCG(seed, uint64(rows)))
	capacity := rows + 2
	slots := NewSlots(tensor.SlotSpec{Slots: rows + 2, MaxPages: 1, Vocab: vocab, Bias: 8})
	order := r.Perm(rows + 2)
	var head []tensor.HeadRow
	var logits []float32
	for i := range rows {
		h := tensor.HeadRow{Row: int32(i), Slot: int32(order[i]), Position: int32(r.IntN(1000)), Sample: r.IntN(6) > 0, Ask: -1,
			Top: []int32{0, 0, 1, 5, tensor.MaxTop}[r.IntN(5)]}
		if r.IntN(2) == 0 {
			h.Ask = int32(r.IntN(vocab))
		}
		head = append(head, h)
		logits = append(logits, sampleLogits(r, vocab, kind)...)
		fillSlot(r, slots, order[i], h.Position)
	}
	in := block(headBlock(capacity, head))
	at := len(in)
	in.floats(logits...).nan((capacity - rows) * vocab)
	c.setup.States = []StateInit{slots.State("slots")}
	g := tensor.NewGraph(c.name)
	input := g.HeadInput(capacity)
	out := g.Sample(g.Input(at, tensor.F32, g.RowsOf(input), vocab), input, g.State(c.setup.States[0].Spec))
	c.checks = []check{{name: "slots", state: "slots"}, {name: "sampled", at: g.Output(out), n: rows * tensor.SampledBytes / 4,
		judge: func(have, want []byte, t Tolerance) error { return sampledAlike(have, want, head, t) }}}
	c.graph, c.in = g, in
	return c
}

// sampleLogits is one row: smooth, with many equal values, or with values that are not numbers.
func sampleLogits(r *rand.Rand, vocab int, kind string) []float32 {
	l := make([]float32, vocab)
	for i := range l {
		l[i] = float32(r.NormFloat64() * 4)
	}
	switch kind {
	case "ties":
		for i := range l {
			l[i] = float32(math.Round(float64(l[i])))
		}
	case "special":
		odd := []float32{float32(math.NaN()), float32(math.Inf(-1)), 0, 3e38, -3e38, float32(math.Inf(1))}
		if all := r.IntN(8); all < 2 {
			for i := range l {
				l[i] = odd[all] // nothing but NaN, nothing but -Inf
			}
			return l
		}
		for range vocab / 3 {
			l[r.IntN(vocab)] = odd[r.IntN(2)]
		}
		if r.IntN(2) == 0 {
			l[r.IntN(vocab)] = odd[r.IntN(len(odd))]
		}
	}
	return l
}

// fillSlot gives a slot parameters, counts and biases.
func fillSlot(r *rand.Rand, s *Slots, slot int, position int32) {
	vocab := s.Spec.Vocab
	s.Params(slot, tensor.Sampling{
		Temperature: []float32{0, 0, 1, 1, 0.7, 1.3, 0.01, 1e-30, 100}[r.IntN(9)],
		TopK:        []int32{0, 0, 1, 2, 20, int32(vocab - 1), int32(vocab), int32(vocab + 9)}[r.IntN(8)],
		TopP:        []float32{1, 1, 0, 0.1, 0.5, 0.9, 0.95, 0.9999999, 1e-20}[r.IntN(9)],
		MinP:        []float32{0, 0, 0, 0.01, 0.05, 0.5, 1}[r.IntN(7)],
		Repetition:  []float32{1, 1, 1.1, 1.7, 0.8}[r.IntN(5)],
		Presence:    []float32{0, 0, 0.5, 2, -1}[r.IntN(5)],
		Frequency:   []float32{0, 0, 0.3, 1.7, -0.1}[r.IntN(5)],
		Seed:        r.Uint64(),
		Choice:      uint32(r.IntN(3)),
	})
	if r.IntN(4) > 0 {
		for range vocab / 4 {
			s.Prompted(slot, r.IntN(vocab))
			s.Count(slot, r.IntN(vocab), []uint16{1, 1, 2, 17, math.MaxUint16}[r.IntN(5)])
		}
	}
	for range r.IntN(s.Spec.Bias + 1) {
		value := []float32{100, -100, 0.3, 5, float32(math.Inf(-1))}[r.IntN(5)]
		until := []int32{math.MaxInt32, position, position + 1, position - 1, 0}[r.IntN(5)]
		s.Bias(slot, int32(r.IntN(min(vocab, 40))), value, until) // the same id more than once
	}
	s.Last(slot, int32(r.IntN(vocab)))
}

// sampledAlike compares Sample's output: ids and ranks must be equal, logprobs close.
func sampledAlike(have, want []byte, head []tensor.HeadRow, t Tolerance) error {
	for i, q := range head {
		h, w := tensor.SampledFrom(have[i*tensor.SampledBytes:]), tensor.SampledFrom(want[i*tensor.SampledBytes:])
		var ph, pw []float32
		if h.ID != w.ID {
			return fmt.Errorf("row %d: drew %d, want %d", i, h.ID, w.ID)
		}
		if q.Sample {
			ph, pw = append(ph, h.Logprob), append(pw, w.Logprob)
			if q.Top > 0 && h.Rank != w.Rank {
				return fmt.Errorf("row %d: rank %d, want %d", i, h.Rank, w.Rank)
			}
		}
		if q.Ask >= 0 {
			ph, pw = append(ph, h.AskLogprob), append(pw, w.AskLogprob)
			if h.AskRank != w.AskRank {
				return fmt.Errorf("row %d: rank %d of %d, want %d", i, h.AskRank, q.Ask, w.AskRank)
			}
		}
		for j := range q.Top {
			if h.TopIDs[j] != w.TopIDs[j] {
				return fmt.Errorf("row %d: number %d among the likeliest is %d, want %d", i, j, h.TopIDs[j], w.TopIDs[j])
			}
			ph, pw = append(ph, h.TopLogprob[j]), append(pw, w.TopLogprob[j])
		}
		scale := make([]float64, len(pw))
		for j, p := range pw {
			scale[j] = 1 + math.Abs(float64(p))
		}
		if err := t.within(ph, pw, scale); err != nil {
			return fmt.Errorf("row %d: logprobs: %w", i, err)
		}
	}
	return nil
}
