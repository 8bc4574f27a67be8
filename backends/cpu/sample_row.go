package cpu

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// Sampling looks at a row in blocks of simd.SampleBlock logits. One pass finds each block's largest logit and the sum of
// its exponentials; from these follow the peak, the logprobs' denominator, and which blocks can hold what is looked for:
// the n largest logits lie in the blocks whose own largest are the n largest. Only drawing needs a second pass.

var infinity = float32(math.Inf(1))

// sampler draws from one row of logits at a time; its memory is reused.
type sampler struct {
	kernels *simd.Kernels
	pool    *pool
	single  *thread // computes alone; nil: the pool's threads share each pass
	run     *run

	logits  []float32
	peaks   []float32 // of each block, NaNs passed over
	sums    []float32 // Σ e^(logit − peak) of each block
	work    []float32 // as long as a row: blocks with penalties and biases
	changed []bool    // blocks that lie in work
	heights []float32 // each block's largest after penalties and biases
	best    []int32   // what top returns
	order   []float32 // of nth

	peakPass body
	drawing
}

// newSamplers makes one for each thread.
func newSamplers(p *pool, vocab int) []*sampler {
	blocks := (vocab + simd.SampleBlock - 1) / simd.SampleBlock
	samplers := make([]*sampler, len(p.threads))
	for i := range samplers {
		s := &sampler{kernels: p.kernels, pool: p, peaks: make([]float32, blocks), sums: make([]float32, blocks),
			changed: make([]bool, blocks), heights: make([]float32, blocks)}
		s.totals, s.above, s.marks = make([]uint64, blocks), make([]uint64, blocks), make([]simd.Marks, blocks)
		s.peakPass, s.sumPass, s.sumsPass, s.markPass = s.peakBlocks, s.sumBlocks, s.sumsBlocks, s.markBlocks
		samplers[i] = s
	}
	return samplers
}

// alone and together say who computes the next rows.
func (s *sampler) alone(t *thread) { s.single, s.run = t, nil }
func (s *sampler) together(r *run) { s.single, s.run = nil, r }

// passGrain is how many blocks a thread takes at a time when threads share a row: some microseconds of work.
const passGrain = 32

// each lets f work through all blocks.
func (s *sampler) each(f body) {
	if s.single != nil {
		f(s.single, nil, 0, len(s.peaks))
		return
	}
	s.pool.do(s.run, len(s.peaks), passGrain, f)
}

func (s *sampler) peakBlocks(_ *thread, _ *run, lo, hi int) {
	x := s.logits[lo*simd.SampleBlock : min(hi*simd.SampleBlock, len(s.logits))]
	s.kernels.Peaks(x, s.peaks[lo:hi], s.sums[lo:hi])
}

// span is where block b lies in a row.
func (s *sampler) span(b int) (lo, hi int) {
	return b * simd.SampleBlock, min((b+1)*simd.SampleBlock, len(s.logits))
}

// block is a block of the row with penalties and biases.
func (s *sampler) block(b int) []float32 {
	lo, hi := s.span(b)
	if s.changed[b] {
		return s.work[lo:hi]
	}
	return s.logits[lo:hi]
}

// row is Sample for one row of logits.
func (s *sampler) row(logits []float32, sl *slots, h tensor.HeadRow) tensor.Sampled {
	s.logits = logits
	s.each(s.peakPass)
	result := tensor.Sampled{ID: -1}
	top := s.top(s.peaks, int(min(h.Top, tensor.MaxTop)))
	if h.Sample {
		result.ID = s.sampled(sl, h)
	}
	peak := s.kernels.Max(s.peaks)
	sum := s.logSum(peak)
	logprob := func(id int32) float32 {
		p := float64(s.logit(id)) - float64(peak) - sum
		if p != p { // infinite logits leave no number
			p = math.Inf(-1)
		}
		return float32(p)
	}
	if h.Sample {
		result.Logprob = logprob(result.ID)
		if h.Top > 0 {
			result.Rank = s.rank(result.ID)
		}
	}
	if h.Ask >= 0 {
		result.AskLogprob, result.AskRank = logprob(h.Ask), s.rank(h.Ask)
	}
	for i, id := range top {
		result.TopIDs[i], result.TopLogprob[i] = id, logprob(id)
	}
	return result
}

// logit is the model's own, with NaN as −Inf.
func (s *sampler) logit(id int32) float32 {
	if l := s.logits[id]; l == l {
		return l
	}
	return -infinity
}

// logSum is log Σ exp(l − peak).
func (s *sampler) logSum(peak float32) float64 {
	sum := 0.0
	if peak-peak != 0 {
		// Infinite peaks leave no distribution; what the definition says of them is in float64.
		for i := range s.logits {
			sum += math.Exp(float64(s.logit(int32(i))) - float64(peak))
		}
		return math.Log(sum)
	}
	for b, p := range s.peaks {
		if d := float64(p) - float64(peak); d > -100 {
			sum += float64(s.sums[b]) * math.Exp(d)
		}
	}
	return math.Log(sum)
}

// rank is how many tokens are more likely, plus one.
func (s *sampler) rank(id int32) int32 {
	limit, n := s.logit(id), 1
	for b, p := range s.peaks {
		if p > limit {
			lo, hi := s.span(b)
			n += s.kernels.CountAbove(s.logits[lo:hi], limit)
		}
	}
	return int32(n)
}

// top lists the n largest logits, lower ids first among equals; peaks are those of the blocks.
func (s *sampler) top(peaks []float32, n int) []int32 {
	n = min(n, len(s.logits))
	if n <= 0 {
		return nil
	}
	limit := -infinity
	if n <= len(peaks) {
		limit = s.nth(peaks, n)
	}
	best := s.best[:0]
	order := func(x, y int32) int { return cmp.Or(cmp.Compare(s.logit(y), s.logit(x)), cmp.Compare(x, y)) }
	for b, p := range peaks {
		if p < limit {
			continue
		}
		lo, hi := s.span(b)
		for i := lo; i < hi; i++ {
			if s.logit(int32(i)) < limit {
				continue
			}
			at, _ := slices.BinarySearchFunc(best, int32(i), order)
			if at == n {
				continue
			}
			if len(best) == n {
				best = best[:n-1]
			}
			best = slices.Insert(best, at, int32(i))
			if len(best) == n {
				limit = s.logit(best[n-1])
			}
		}
	}
	s.best = best
	return best
}

// nth is the n-th largest of x.
func (s *sampler) nth(x []float32, n int) float32 {
	largest := s.order[:0]
	for _, v := range x {
		if len(largest) == n && v <= largest[n-1] {
			continue
		}
		at, _ := slices.BinarySearchFunc(largest, v, func(have, v float32) int { return cmp.Compare(v, have) })
		if len(largest) == n {
			largest = largest[:n-1]
		}
		largest = slices.Insert(largest, at, v)
	}
	s.order = largest
	return largest[n-1]
}

// adjust is rule 1 of Sample: penalties and biases. Every product and sum is rounded by itself.
func (s *sampler) adjust(sl *slots, h tensor.HeadRow, p tensor.Sampling) {
	clear(s.changed)
	if p.Penalized() {
		s.penalize(sl.count(h.Slot), sl.prompted(h.Slot), p)
	}
	sl.eachBias(h.Slot, h.Position, func(id int32, value float32) {
		if id >= 0 && int(id) < len(s.logits) {
			*s.change(int(id)) += value
		}
	})
	copy(s.heights, s.peaks)
	s.settle()
}

// settle finds the largest values of blocks that were changed.
func (s *sampler) settle() {
	for b, changed := range s.changed {
		if changed {
			var sum [1]float32
			s.kernels.Peaks(s.block(b), s.heights[b:b+1], sum[:])
		}
	}
}

// change is where a logit may be changed.
func (s *sampler) change(id int) *float32 {
	b := id / simd.SampleBlock
	if !s.changed[b] {
		lo, hi := s.span(b)
		copy(s.work[lo:hi], s.logits[lo:hi])
		s.changed[b] = true
	}
	return &s.work[id]
}

// penalize changes the logits of tokens that were counted or lie in the prompt, whose bits come 32 to a word.
func (s *sampler) penalize(counts []uint16, prompt []uint32, p tensor.Sampling) {
	everywhere := p.Frequency-p.Frequency != 0 // an infinite or NaN penalty reaches tokens without a count, too: ∞ · 0
	for w, bits := range prompt {
		lo, hi := 32*w, min(32*w+32, len(counts))
		if bits == 0 && hi == lo+32 && !everywhere && none(counts[lo:hi]) {
			continue
		}
		for id := lo; id < hi; id++ {
			n := counts[id]
			seen := n > 0 || bits>>(id-lo)&1 != 0
			if !seen && !everywhere {
				continue
			}
			a := s.change(id)
			if seen {
				if *a > 0 {
					*a /= p.Repetition
				} else {
					*a *= p.Repetition
				}
			}
			*a -= float32(p.Frequency * float32(n))
			if n > 0 {
				*a -= p.Presence
			}
		}
	}
}

// none tells whether 32 counts are zero.
func none(counts []uint16) bool {
	b, x := unsafe.Slice((*byte)(unsafe.Pointer(&counts[0])), 64), uint64(0)
	for i := 0; i < 64; i += 8 {
		x |= binary.LittleEndian.Uint64(b[i:])
	}
	return x == 0
}

// sampled is the token that a row's slot gets.
func (s *sampler) sampled(sl *slots, h tensor.HeadRow) int32 {
	p := sl.sampling(h.Slot)
	s.adjust(sl, h, p)
	if p.Temperature == 0 {
		return s.largest()
	}
	return s.draw(p, h.Position)
}

// largest is the first among the largest values, rule 2 of Sample.
func (s *sampler) largest() int32 {
	m := s.kernels.Max(s.heights)
	if m == -infinity {
		return 0
	}
	for b, height := range s.heights {
		if height == m {
			return int32(b*simd.SampleBlock + slices.Index(s.block(b), m))
		}
	}
	return 0
}
