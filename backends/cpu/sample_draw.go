package cpu

import (
	"cmp"
	"math"
	"slices"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// A draw needs Σ of the weights that stay, and then the block, and in it the token, where the running sum passes a random
// number. Which tokens stay is said by a bound in the order of rule 4, so that nothing is sorted but what lies near it.

// weighed is a token and its weight.
type weighed struct {
	weight uint64
	id     int32
}

// before is the order in which TopK and TopP let tokens stay.
func before(x, y weighed) int {
	return cmp.Or(cmp.Compare(y.weight, x.weight), cmp.Compare(x.id, y.id))
}

// stays tells whether a token comes no later than the last one that stays.
func (last weighed) stays(weight uint64, id int32) bool {
	return weight > last.weight || weight == last.weight && id <= last.id
}

// drawing is what a draw needs.
type drawing struct {
	weighing  simd.Weighing
	limit     float32    // values / temperature below it have no weight that counts
	light     float32    // nor have values up to it
	turn      int        // whose blocks are summed
	from      [2]float32 // the weighing's From of either turn
	low, high [2]float32 // values between them are looked for
	weights   [simd.SampleBlock]uint64
	totals    []uint64 // of each block: the sum of weights
	above     []uint64 // of each block: the sum of weights from weighing.From on
	marks     []simd.Marks
	list      []weighed
	near      []weighed // of lastWithin
	some      []float32 // of sample

	sumPass, sumsPass, markPass body
}

// noWeight is a difference from the peak below which SampleWeight is 0: 41 · ln 2 is 28.42.
const noWeight = -29

// draw is rules 3 to 5 of Sample.
func (s *sampler) draw(p tensor.Sampling, position int32) int32 {
	largest := s.largest()
	if t := p.Temperature; !(t > 0 && t <= math.MaxFloat32) { // no order is kept then: the quotients are taken as logits
		for id := range s.logits {
			*s.change(id) /= t
		}
		s.settle()
		p.Temperature = 1
	}
	peak := s.kernels.Max(s.heights) / p.Temperature // dividing by a positive number keeps order
	if peak-peak != 0 {
		return largest
	}
	least := max(1, tensor.MinPWeight(p.MinP))
	s.weighing = simd.Weighing{Temperature: p.Temperature, Peak: peak, From: float32(least)} // exact: MinPWeight has 24 bits
	s.limit = peak + max(noWeight, float32(math.Log(float64(least)/tensor.SampleOne))-1e-3)
	s.light = s.lighter(least)
	random := func(sum uint64) uint64 { return tensor.Draw(p.Seed, p.Choice, position, sum) }
	switch all := !(p.TopP < 1); {
	case p.TopK > 0 && int(p.TopK) < len(s.logits):
		s.collect(s.limitOfTop(int(p.TopK)), least)
		s.keep(int(p.TopK), p.TopP)
		return s.drawListed(random)
	case !all && least > 1: // few are left, as a rule
		s.collect(s.limit, least)
		s.keep(len(s.list), p.TopP)
		return s.drawListed(random)
	case all:
		s.each(s.sumPass)
		return s.drawBlocks(random, weighed{least, math.MaxInt32})
	}
	return s.drawBlocks(random, s.lastOfTopP(p.TopP))
}

// stretch is how far blocks from lo on, but before hi, lie side by side and have values above limit, and those blocks.
func (s *sampler) stretch(lo, hi int, limit float32) (end int, x []float32) {
	for end = lo; end < hi && s.changed[end] == s.changed[lo] && s.heights[end] > limit; end++ {
	}
	row := s.logits
	if s.changed[lo] {
		row = s.work
	}
	return end, row[lo*simd.SampleBlock : min(end*simd.SampleBlock, len(s.logits))]
}

// sumBlocks fills totals.
func (s *sampler) sumBlocks(_ *thread, _ *run, lo, hi int) {
	for lo < hi {
		end, x := s.stretch(lo, hi, s.light)
		if end == lo {
			s.totals[lo] = 0
			lo++
			continue
		}
		s.kernels.WeighSum(&s.weighing, x, s.totals[lo:end])
		lo = end
	}
}

// drawBlocks draws from the tokens up to last, whose weights are summed in totals.
func (s *sampler) drawBlocks(random func(sum uint64) uint64, last weighed) int32 {
	sum := uint64(0)
	for _, n := range s.totals {
		sum += n
	}
	w, r := &s.weights, random(sum)
	for b, n := range s.totals {
		if r >= n {
			r -= n
			continue
		}
		x := s.block(b)
		s.kernels.Weigh(&s.weighing, x, w)
		for i, weight := range w[:len(x)] {
			if id := int32(b*simd.SampleBlock + i); last.stays(weight, id) {
				if r < weight {
					return id
				}
				r -= weight
			}
		}
	}
	return s.largest() // not reached: sums of integers have no order
}

// limitOfTop is a value, divided by the temperature, below which no token is among the k of largest weight.
func (s *sampler) limitOfTop(k int) float32 {
	if k > min(len(s.heights), maxSelect) {
		return s.limit
	}
	// The k-th largest of the blocks' largest: k tokens at least are as large.
	kth := s.nth(s.heights, k) / s.weighing.Temperature
	w := tensor.SampleWeight(kth - s.weighing.Peak)
	if w <= 64 {
		return s.limit
	}
	// Weights are rounded, so that somewhat smaller values may weigh as much: e^x within 2⁻²⁰, then to an integer.
	return max(s.limit, kth-(4/float32(w)+1e-5))
}

// maxSelect bounds the K for which looking at K blocks is cheaper than looking at all.
const maxSelect = 256

// collect lists the tokens whose value, divided by the temperature, is limit or more and whose weight is least or more, by
// id.
func (s *sampler) collect(limit float32, least uint64) {
	s.list = s.list[:0]
	p := &s.weighing
	for b, height := range s.heights {
		if height/p.Temperature < limit {
			continue
		}
		for i, v := range s.block(b) {
			if v /= p.Temperature; v >= limit {
				if w := tensor.SampleWeight(v - p.Peak); w >= least {
					s.list = append(s.list, weighed{w, int32(b*simd.SampleBlock + i)})
				}
			}
		}
	}
}

// keep lets the first k of the list stay, and of these what TopP lets stay.
func (s *sampler) keep(k int, topP float32) {
	upTo := func(last weighed) {
		s.list = slices.DeleteFunc(s.list, func(t weighed) bool { return !last.stays(t.weight, t.id) })
	}
	if k < len(s.list) {
		upTo(s.lastWithin(s.list, uint64(k), func(weighed) uint64 { return 1 }))
	}
	if topP < 1 {
		upTo(s.lastWithin(s.list, max(1, tensor.TopPSum(topP, sum(s.list))), weighed.mass))
	}
}

// drawListed draws from the list.
func (s *sampler) drawListed(random func(sum uint64) uint64) int32 {
	r := random(sum(s.list))
	for _, t := range s.list {
		if r < t.weight {
			return t.id
		}
		r -= t.weight
	}
	return s.largest() // not reached: the peak has a weight
}

func (t weighed) mass() uint64 { return t.weight }

func sum(list []weighed) (n uint64) {
	for _, t := range list {
		n += t.weight
	}
	return n
}
