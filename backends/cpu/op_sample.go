package cpu

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

func (b *binder) sample(n *tensor.Node) launch {
	logits, sl, out := b.operand(n.In[0]), b.slots(n.In[2]), b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d := b.d
	var heads []tensor.HeadRow
	samplers := make([]sampler, len(d.pool.threads))
	work := func(t *thread, r *run, lo, hi int) {
		s := &samplers[t.index]
		s.kernels, s.work = d.kernels, view[float32](t.local, 0, logits.cols)
		for i := lo; i < hi; i++ {
			result := s.row(logits.floats(r, i), sl, heads[i])
			result.Put(r.arena[out.offset+i*tensor.SampledBytes:])
		}
	}
	return func(r *run) error {
		heads = tensor.DecodeHead(r.in, heads[:0])
		for i, h := range heads {
			if h.Ask >= 0 && int(h.Ask) >= logits.cols {
				return fmt.Errorf("row %d asks for id %d of %d", i, h.Ask, logits.cols)
			}
			if err := sl.check(h.Slot); h.Sample && err != nil {
				return err
			}
		}
		d.pool.do(r, len(heads), 1, work)
		// A slot's Last is written here: two rows of one slot, in order, leave what the second drew.
		for i, h := range heads {
			if h.Sample {
				sl.last[h.Slot] = out.ints(r)[i*out.cols]
			}
		}
		return nil
	}
}

// sampler draws from rows; one for each thread, whose memory is reused.
type sampler struct {
	kernels *simd.Kernels
	work    []float32 // as long as a row
	stay    []weighed
	best    []int32
}

// row is Sample for one row of logits.
func (s *sampler) row(logits []float32, sl *slots, h tensor.HeadRow) tensor.Sampled {
	copy(s.work, logits)
	s.quiet(s.work)
	peak := s.kernels.Max(s.work)
	result := tensor.Sampled{ID: -1}
	for j, id := range s.top(s.work, int(min(h.Top, tensor.MaxTop))) {
		result.TopIDs[j], result.TopLogprob[j] = id, s.work[id] // until the sum is known
	}
	var params tensor.Sampling
	if h.Sample {
		params = sl.sampling(h.Slot)
		plain := !params.Penalized() && sl.biases[h.Slot] == 0
		if !plain {
			s.adjust(s.work, sl, h, params)
			s.quiet(s.work)
		}
		if params.Temperature == 0 {
			m := peak
			if !plain {
				m = s.kernels.Max(s.work)
			}
			result.ID = s.largest(s.work, m)
		} else if result.ID = s.draw(s.work, params, h.Position); result.ID < 0 {
			copy(s.work, logits)
			s.quiet(s.work)
			s.adjust(s.work, sl, h, params)
			s.quiet(s.work)
			result.ID = s.largest(s.work, s.kernels.Max(s.work))
		}
	}
	sum := s.logSum(logits, peak)
	logprob := func(l float32) float32 {
		p := float64(l) - float64(peak) - sum
		if p != p { // infinite logits leave no number
			p = math.Inf(-1)
		}
		return float32(p)
	}
	if h.Sample {
		result.Logprob = logprob(logits[result.ID])
		if h.Top > 0 {
			result.Rank = s.rank(logits, result.ID)
		}
	}
	if h.Ask >= 0 {
		result.AskLogprob, result.AskRank = logprob(logits[h.Ask]), s.rank(logits, h.Ask)
	}
	for j := range min(int(h.Top), tensor.MaxTop, len(logits)) {
		result.TopLogprob[j] = logprob(result.TopLogprob[j])
	}
	return result
}

var infinity = float32(math.Inf(1))

// quiet makes every NaN -Inf.
func (s *sampler) quiet(a []float32) {
	for i := 0; ; i++ {
		if i = s.kernels.NextAbove(a, i, infinity); i == len(a) {
			return
		}
		a[i] = -infinity
	}
}

// logSum is log Σ exp(l − peak), with a NaN counted as -Inf. It uses up s.work.
func (s *sampler) logSum(logits []float32, peak float32) float64 {
	copy(s.work, logits)
	s.quiet(s.work)
	if math.IsInf(float64(peak), 0) {
		// Infinite peaks leave no distribution; what the definition says of them is in float64.
		sum := 0.0
		for _, l := range s.work {
			sum += math.Exp(float64(l) - float64(peak))
		}
		return math.Log(sum)
	}
	const piece = 512 // few enough values for a sum in f32
	sum := 0.0
	for at := 0; at < len(s.work); at += piece {
		sum += float64(s.kernels.ExpSum(s.work[at:min(at+piece, len(s.work))], peak))
	}
	return math.Log(sum)
}

// rank is how many tokens are more likely, plus one.
func (s *sampler) rank(logits []float32, id int32) int32 {
	limit := logits[id]
	if limit != limit {
		limit = -infinity
	}
	n := int32(1)
	for i := 0; ; i++ {
		if i = s.kernels.NextAbove(logits, i, limit); i == len(logits) {
			return n
		}
		if logits[i] > limit {
			n++
		}
	}
}

// top lists the n largest values, lower ids first among equals.
func (s *sampler) top(a []float32, n int) []int32 {
	best := s.best[:0]
	if n = min(n, len(a)); n <= 0 {
		return nil
	}
	for i := range n {
		best = append(best, int32(i))
	}
	order := func(x, y int32) int { return cmp.Or(cmp.Compare(a[y], a[x]), cmp.Compare(x, y)) }
	slices.SortFunc(best, order)
	for i := n; ; i++ {
		if i = s.kernels.NextAbove(a, i, a[best[n-1]]); i == len(a) {
			s.best = best
			return best
		}
		at, _ := slices.BinarySearchFunc(best, int32(i), order)
		copy(best[at+1:], best[at:n-1])
		best[at] = int32(i)
	}
}

// largest is the first position of the largest value m.
func (s *sampler) largest(a []float32, m float32) int32 {
	for i, v := range a {
		if v == m {
			return int32(i)
		}
	}
	return 0
}

// adjust is rule 1 of Sample: penalties and biases. Every product and sum is rounded by itself.
func (s *sampler) adjust(a []float32, sl *slots, h tensor.HeadRow, p tensor.Sampling) {
	if p.Penalized() {
		counts, prompt := sl.count(h.Slot), sl.prompted(h.Slot)
		for i, n := range counts {
			if n == 0 && prompt[i/32]>>(i%32)&1 == 0 {
				continue
			}
			if a[i] > 0 {
				a[i] /= p.Repetition
			} else {
				a[i] *= p.Repetition
			}
			if n > 0 {
				a[i] -= float32(p.Frequency * float32(n))
				a[i] -= p.Presence
			}
		}
		if f := p.Frequency; f-f != 0 { // an infinite or NaN penalty reaches tokens without a count, too: ∞ · 0
			for i, n := range counts {
				if n == 0 {
					a[i] -= float32(f * 0)
				}
			}
		}
	}
	sl.eachBias(h.Slot, h.Position, func(id int32, value float32) {
		if id >= 0 && int(id) < len(a) {
			a[id] += value
		}
	})
}

// weighed is a token that may be drawn.
type weighed struct {
	id     int32
	weight uint64
}

// noWeight is a difference from the peak below which SampleWeight is 0: 41 · ln 2 is 28.42.
const noWeight = -29

// draw is rules 3 to 5 of Sample. It uses up b. It returns -1 where no token has a weight, since the largest is infinite:
// then the largest is what is drawn.
func (s *sampler) draw(b []float32, p tensor.Sampling, position int32) int32 {
	for i := range b {
		b[i] /= p.Temperature
	}
	s.quiet(b)
	peak := s.kernels.Max(b)
	least := tensor.MinPWeight(p.MinP)
	stay := s.stay[:0]
	limit := peak + noWeight
	if p.TopK > 0 && int(p.TopK) <= maxSelect && int(p.TopK) < len(b) {
		// Weights round differences: take everything that might tie with the last of the K largest.
		kth := s.top(b, int(p.TopK))[p.TopK-1]
		limit = max(limit, b[kth]-1e-3)
	}
	for i := 0; ; i++ {
		// Not below the limit: the limit itself counts, and is met by looking for what exceeds its predecessor.
		if i = s.kernels.NextAbove(b, i, math.Nextafter32(limit, -infinity)); i == len(b) {
			break
		}
		if w := tensor.SampleWeight(b[i] - peak); w > 0 && w >= least {
			stay = append(stay, weighed{int32(i), w})
		}
	}
	s.stay = stay
	if p.TopK > 0 && int(p.TopK) < len(stay) || p.TopP < 1 {
		slices.SortFunc(stay, func(x, y weighed) int { return cmp.Or(cmp.Compare(y.weight, x.weight), cmp.Compare(x.id, y.id)) })
		if p.TopK > 0 && int(p.TopK) < len(stay) {
			stay = stay[:p.TopK]
		}
		target, running := tensor.TopPSum(p.TopP, sum(stay)), uint64(0)
		for i, t := range stay {
			if running += t.weight; running >= target {
				stay = stay[:i+1]
				break
			}
		}
		slices.SortFunc(stay, func(x, y weighed) int { return cmp.Compare(x.id, y.id) })
	}
	r, running := tensor.Draw(p.Seed, p.Choice, position, sum(stay)), uint64(0)
	for _, t := range stay {
		if running += t.weight; running > r {
			return t.id
		}
	}
	return -1
}

// maxSelect bounds the K for which keeping a sorted list of the K largest is cheaper than weighing everything.
const maxSelect = 256

func sum(list []weighed) (n uint64) {
	for _, t := range list {
		n += t.weight
	}
	return n
}
