package ref

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) sample(n *tensor.Node) launch {
	logits, sl, out := b.operand(n.In[0]), b.slots(n.In[2]), b.operand(n.Out[0])
	return func(r *run) error {
		for i, h := range tensor.DecodeHead(r.in, nil) {
			row := newDistribution(logits.floats(r)[i*logits.cols:][:logits.cols])
			result := tensor.Sampled{ID: -1}
			if h.Sample {
				if err := sl.check(h.Slot); err != nil {
					return err
				}
				params := sl.params(h.Slot)
				result.ID = draw(adjust(row.logits, sl, h, params), params, h.Position)
				result.Logprob = row.logprob(result.ID)
				if h.Top > 0 {
					result.Rank = row.rank(result.ID)
				}
				sl.setLast(h.Slot, result.ID)
			}
			if h.Ask >= 0 {
				if int(h.Ask) >= logits.cols {
					return fmt.Errorf("row %d asks for id %d of %d", i, h.Ask, logits.cols)
				}
				result.AskLogprob, result.AskRank = row.logprob(h.Ask), row.rank(h.Ask)
			}
			for j, id := range row.top(int(min(h.Top, tensor.MaxTop))) {
				result.TopIDs[j], result.TopLogprob[j] = id, row.logprob(id)
			}
			result.Put(out.live(r)[i*tensor.SampledBytes:])
		}
		return nil
	}
}

// adjust is rule 1: the logits with the penalties and biases of the slot.
func adjust(logits []float32, sl *slots, h tensor.HeadRow, s tensor.Sampling) []float32 {
	a := slices.Clone(logits)
	for i := range a {
		count := sl.count(h.Slot, int32(i))
		if count > 0 || sl.prompted(h.Slot, int32(i)) {
			if a[i] > 0 {
				a[i] /= s.Repetition
			} else {
				a[i] *= s.Repetition
			}
		}
		a[i] -= float32(s.Frequency * float32(count))
		if count > 0 {
			a[i] -= s.Presence
		}
	}
	for _, b := range sl.biases(h.Slot) {
		if h.Position < b.Until && b.ID >= 0 && int(b.ID) < len(a) {
			a[b.ID] += b.Value
		}
	}
	quiet(a)
	return a
}

// quiet makes every NaN -Inf.
func quiet(a []float32) {
	for i, v := range a {
		if v != v {
			a[i] = float32(math.Inf(-1))
		}
	}
}

// draw is rules 2 to 5.
func draw(a []float32, s tensor.Sampling, position int32) int32 {
	if s.Temperature == 0 {
		return largest(a)
	}
	b := make([]float32, len(a))
	for i := range a {
		b[i] = a[i] / s.Temperature
	}
	quiet(b)
	peak := slices.Max(b)
	type token struct {
		id     int32
		weight uint64
	}
	var stay []token
	for i := range b {
		if w := tensor.SampleWeight(b[i] - peak); w > 0 && w >= tensor.MinPWeight(s.MinP) {
			stay = append(stay, token{int32(i), w})
		}
	}
	slices.SortFunc(stay, func(x, y token) int { return cmp.Or(cmp.Compare(y.weight, x.weight), cmp.Compare(x.id, y.id)) })
	if s.TopK > 0 && int(s.TopK) < len(stay) {
		stay = stay[:s.TopK]
	}
	sum := func() (n uint64) {
		for _, t := range stay {
			n += t.weight
		}
		return n
	}
	target, run := tensor.TopPSum(s.TopP, sum()), uint64(0)
	for i, t := range stay {
		if run += t.weight; run >= target {
			stay = stay[:i+1]
			break
		}
	}
	slices.SortFunc(stay, func(x, y token) int { return cmp.Compare(x.id, y.id) })
	r, run := tensor.Draw(s.Seed, s.Choice, position, sum()), 0
	for _, t := range stay {
		if run += t.weight; run > r {
			return t.id
		}
	}
	return largest(a) // no weight at all: the largest is infinite
}

// largest is the first among the largest values.
func largest(a []float32) int32 {
	best := 0
	for i, v := range a {
		if v > a[best] {
			best = i
		}
	}
	return int32(best)
}

// distribution is the model's own distribution over one row of logits.
type distribution struct {
	logits []float32 // NaN made -Inf
	peak   float64
	logSum float64 // log Σ exp(l - peak)
}

func newDistribution(logits []float32) *distribution {
	d := &distribution{logits: slices.Clone(logits)}
	quiet(d.logits)
	d.peak = float64(slices.Max(d.logits))
	sum := 0.0
	for _, l := range d.logits {
		sum += math.Exp(float64(l) - d.peak)
	}
	d.logSum = math.Log(sum)
	return d
}

// logprob is -Inf, too, where infinite logits leave no number.
func (d *distribution) logprob(id int32) float32 {
	p := float64(d.logits[id]) - d.peak - d.logSum
	if math.IsNaN(p) {
		p = math.Inf(-1)
	}
	return float32(p)
}

// rank is how many tokens are more likely, plus one.
func (d *distribution) rank(id int32) int32 {
	n := int32(1)
	for _, l := range d.logits {
		if l > d.logits[id] {
			n++
		}
	}
	return n
}

// top lists the n most likely tokens, lower ids first among equals.
func (d *distribution) top(n int) []int32 {
	if n <= 0 {
		return nil
	}
	ids := make([]int32, len(d.logits))
	for i := range ids {
		ids[i] = int32(i)
	}
	slices.SortFunc(ids, func(x, y int32) int { return cmp.Or(cmp.Compare(d.logits[y], d.logits[x]), cmp.Compare(x, y)) })
	return ids[:min(n, len(ids))]
}
