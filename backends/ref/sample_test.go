package ref_test

import (
	"math"
	"slices"
	"sort"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// sampler runs Sample on one row of logits again and again.
type sampler struct {
	t     *testing.T
	rig   *tensortest.Rig
	vocab int
}

func newSampler(t *testing.T, vocab int, prepare func(*tensortest.Slots)) *sampler {
	t.Helper()
	slots := tensortest.NewSlots(tensor.SlotSpec{Slots: 1, MaxPages: 1, Vocab: vocab, Bias: 8})
	prepare(slots)
	state := slots.State("slots")
	g := tensor.NewGraph("sample")
	head := g.HeadInput(1)
	g.Output(g.Sample(g.Input(tensor.HeadBytes(1), tensor.F32, g.RowsOf(head), vocab), head, g.State(state.Spec)))
	r, err := tensortest.NewRig(open(t, ref.Options{Poison: true}), tensortest.Setup{States: []tensortest.StateInit{state}}, true, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &sampler{t, r, vocab}
}

func (s *sampler) draw(h tensor.HeadRow, logits []float32) tensor.Sampled {
	s.t.Helper()
	in := make([]byte, tensor.HeadBytes(1))
	if err := tensor.EncodeHead(in, []tensor.HeadRow{h}); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.rig.Run(0, append(in, floatBlock(logits...)...))
	if err != nil {
		s.t.Fatal(err)
	}
	return tensor.SampledFrom(out)
}

// probabilities is the distribution that the definition describes, in float64 and without integers.
func probabilities(logits []float32, s tensor.Sampling) []float64 {
	type token struct {
		id int
		p  float64
	}
	var all []token
	peak := slices.Max(logits)
	for i, l := range logits {
		all = append(all, token{i, math.Exp(float64(l-peak) / float64(s.Temperature))})
	}
	all = slices.DeleteFunc(all, func(t token) bool { return t.p < float64(s.MinP) })
	sort.SliceStable(all, func(i, j int) bool { return all[i].p > all[j].p })
	if s.TopK > 0 {
		all = all[:min(len(all), int(s.TopK))]
	}
	total := 0.0
	for _, t := range all {
		total += t.p
	}
	for n, run := 0, 0.0; n < len(all); n++ {
		if run += all[n].p; run >= float64(s.TopP)*total {
			all = all[:n+1]
			break
		}
	}
	total = 0
	for _, t := range all {
		total += t.p
	}
	p := make([]float64, len(logits))
	for _, t := range all {
		p[t.id] = t.p / total
	}
	return p
}

// TestSampleDistribution draws many times and compares how often each token came with its probability.
func TestSampleDistribution(t *testing.T) {
	logits := []float32{0.3, 2, -1, 1.4, 1.4, 0, -3, 0.9, 1.9, -0.5, 0.1, 0.35}
	const draws = 4000
	for name, s := range map[string]tensor.Sampling{
		"all":            {Temperature: 1, TopP: 1},
		"hot":            {Temperature: 3, TopP: 1},
		"cold":           {Temperature: 0.3, TopP: 1},
		"top k":          {Temperature: 1, TopP: 1, TopK: 4},
		"top p":          {Temperature: 1, TopP: 0.63},
		"min p":          {Temperature: 1, TopP: 1, MinP: 0.3},
		"all of them":    {Temperature: 0.8, TopP: 0.9, TopK: 7, MinP: 0.1},
		"top k of a tie": {Temperature: 1, TopP: 1, TopK: 3}, // 3 and 4 are equal: the lower id stays
	} {
		s.Repetition, s.Seed = 1, 99
		t.Run(name, func(t *testing.T) {
			sampler := newSampler(t, len(logits), func(slots *tensortest.Slots) { slots.Params(0, s) })
			counts := make([]float64, len(logits))
			for i := range draws {
				counts[sampler.draw(tensor.HeadRow{Position: int32(i), Sample: true, Ask: -1}, logits).ID]++
			}
			chi, free := 0.0, -1.0
			for id, p := range probabilities(logits, s) {
				if p == 0 {
					if counts[id] > 0 {
						t.Errorf("token %d was drawn %g times and cannot be", id, counts[id])
					}
					continue
				}
				d := counts[id] - p*draws
				chi += d * d / (p * draws)
				free++
			}
			// Five deviations above the mean of chi squared. The draws are fixed: this fails always or never.
			if chi > free+5*math.Sqrt(2*free)+1 {
				t.Errorf("chi squared is %g at %g degrees of freedom: %v, want %v of %d", chi, free, counts, probabilities(logits, s), draws)
			}
		})
	}
}

func TestSampleChoicesAndSeedsDiffer(t *testing.T) {
	logits := make([]float32, 50000)
	seen := map[int32]int{}
	for _, s := range []tensor.Sampling{{Seed: 1}, {Seed: 2}, {Seed: 1, Choice: 1}, {Seed: 1 << 40}} {
		s.Temperature, s.TopP, s.Repetition = 1, 1, 1
		sampler := newSampler(t, len(logits), func(slots *tensortest.Slots) { slots.Params(0, s) })
		first := sampler.draw(tensor.HeadRow{Position: 5, Sample: true, Ask: -1}, logits).ID
		if again := sampler.draw(tensor.HeadRow{Position: 5, Sample: true, Ask: -1}, logits).ID; again != first {
			t.Errorf("%+v drew %d and then %d", s, first, again)
		}
		seen[first]++
		seen[sampler.draw(tensor.HeadRow{Position: 6, Sample: true, Ask: -1}, logits).ID]++
	}
	if len(seen) != 8 {
		t.Errorf("eight draws of 50,000 tokens gave %d different ones", len(seen))
	}
}

func TestSamplePenaltiesAndBiases(t *testing.T) {
	greedy := tensor.Sampling{Repetition: 1, TopP: 1}
	inf := float32(math.Inf(1))
	for name, c := range map[string]struct {
		change func(*tensor.Sampling)
		slots  func(*tensortest.Slots)
		logits []float32
		want   int32
	}{
		"none":                            {nil, nil, []float32{1, 3, 2}, 1},
		"the lowest of equals":            {nil, nil, []float32{1, 3, 3}, 1},
		"repetition of a prompt token":    {func(s *tensor.Sampling) { s.Repetition = 2 }, func(s *tensortest.Slots) { s.Prompted(0, 1) }, []float32{1, 3, 2}, 2},
		"repetition of a generated token": {func(s *tensor.Sampling) { s.Repetition = 2 }, func(s *tensortest.Slots) { s.Count(0, 1, 1) }, []float32{1, 3, 2}, 2},
		"repetition below zero":           {func(s *tensor.Sampling) { s.Repetition = 2 }, func(s *tensortest.Slots) { s.Count(0, 1, 1) }, []float32{-5, -3, -5}, 0},
		"presence, not of the prompt":     {func(s *tensor.Sampling) { s.Presence = 2 }, func(s *tensortest.Slots) { s.Prompted(0, 1) }, []float32{1, 3, 2}, 1},
		"presence":                        {func(s *tensor.Sampling) { s.Presence = 2 }, func(s *tensortest.Slots) { s.Count(0, 1, 9) }, []float32{0, 3, 2}, 2},
		"frequency, once":                 {func(s *tensor.Sampling) { s.Frequency = 0.5 }, func(s *tensortest.Slots) { s.Count(0, 1, 1) }, []float32{0, 3, 2}, 1},
		"frequency, thrice":               {func(s *tensor.Sampling) { s.Frequency = 0.5 }, func(s *tensortest.Slots) { s.Count(0, 1, 3) }, []float32{0, 3, 2}, 2},
		"bias":                            {nil, func(s *tensortest.Slots) { s.Bias(0, 0, 5, math.MaxInt32) }, []float32{0, 3, 2}, 0},
		"biases add up":                   {nil, func(s *tensortest.Slots) { s.Bias(0, 0, 2, 99); s.Bias(0, 0, 2, 99) }, []float32{0, 3, 2}, 0},
		"a bias forbids":                  {nil, func(s *tensortest.Slots) { s.Bias(0, 1, -inf, math.MaxInt32) }, []float32{0, 3, 2}, 2},
		"a bias that ends after this":     {nil, func(s *tensortest.Slots) { s.Bias(0, 1, -inf, 11) }, []float32{0, 3, 2}, 2},
		"a bias that ended":               {nil, func(s *tensortest.Slots) { s.Bias(0, 1, -inf, 10) }, []float32{0, 3, 2}, 1},
		"NaN never wins":                  {nil, nil, []float32{float32(math.NaN()), -3, -2}, 2},
		"nothing but -Inf":                {nil, nil, []float32{-inf, -inf, -inf}, 0},
		"Inf when hot":                    {func(s *tensor.Sampling) { s.Temperature = 1 }, nil, []float32{0, inf, 2}, 1},
		"NaN when hot":                    {func(s *tensor.Sampling) { s.Temperature = 0.01 }, nil, []float32{0, float32(math.NaN()), 2}, 2},
		"so cold that all overflow":       {func(s *tensor.Sampling) { s.Temperature = 1e-44 }, nil, []float32{1, 3, 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := greedy
			if c.change != nil {
				c.change(&s)
			}
			sampler := newSampler(t, 3, func(slots *tensortest.Slots) {
				slots.Params(0, s)
				if c.slots != nil {
					c.slots(slots)
				}
			})
			if have := sampler.draw(tensor.HeadRow{Position: 10, Sample: true, Ask: -1}, c.logits).ID; have != c.want {
				t.Errorf("drew %d of %v, want %d", have, c.logits, c.want)
			}
		})
	}
}

func TestSampleLogprobs(t *testing.T) {
	logits := []float32{1, 3, 2, 3}
	// Log of the sum of the exponentials, by hand.
	lse := math.Log(math.Exp(1) + math.Exp(3) + math.Exp(2) + math.Exp(3))
	s := newSampler(t, 4, func(slots *tensortest.Slots) {
		// Logprobs are the model's own: neither temperature nor penalties nor biases show in them.
		slots.Params(0, tensor.Sampling{Repetition: 5, Frequency: 1, TopP: 1})
		slots.Count(0, 1, 3)
		slots.Bias(0, 2, 50, math.MaxInt32)
	})
	r := s.draw(tensor.HeadRow{Sample: true, Ask: 0, Top: 3}, logits)
	if r.ID != 2 || r.Rank != 3 || r.AskRank != 4 || !slices.Equal(r.TopIDs[:3], []int32{1, 3, 2}) {
		t.Errorf("have %+v", r)
	}
	want(t, []float32{r.Logprob, r.AskLogprob, r.TopLogprob[0], r.TopLogprob[1], r.TopLogprob[2]}, 2-lse, 1-lse, 3-lse, 3-lse, 2-lse)
	if r := s.draw(tensor.HeadRow{Ask: 3, Top: 1}, logits); r.ID != -1 || r.AskRank != 1 || r.TopIDs[0] != 1 {
		t.Errorf("without a draw: %+v", r)
	}
}
