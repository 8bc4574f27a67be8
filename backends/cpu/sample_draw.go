package cpu

import (
	"cmp"
	"math"
	"math/bits"
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
	limit     float32  // blocks whose largest value / temperature is below it have no weight that counts
	mark      bool     // find marked weights too
	totals    []uint64 // of each block: the sum of weights from Least on
	above     []uint64 // of each block: the sum of weights from High on
	list      []weighed
	near      []weighed // of lastWithin
	weighPass body
}

const (
	// noWeight is a difference from the peak below which SampleWeight is 0: 41 · ln 2 is 28.42.
	noWeight = -29
	// noBound is more than any weight.
	noBound = 1 << 62
)

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
	s.weighing = simd.Weighing{Temperature: p.Temperature, Peak: peak, Least: least, Low: noBound, High: noBound}
	s.limit = peak + max(noWeight, float32(math.Log(float64(least)/tensor.SampleOne))-1e-3)
	random := func(sum uint64) uint64 { return tensor.Draw(p.Seed, p.Choice, position, sum) }
	switch all := !(p.TopP < 1); {
	case p.TopK > 0 && int(p.TopK) < len(s.logits):
		s.collect(s.limitOfTop(int(p.TopK)))
		s.keep(int(p.TopK), p.TopP)
		return s.drawListed(random)
	case !all && least > 1: // few are left, as a rule
		s.collect(s.limit)
		s.keep(len(s.list), p.TopP)
		return s.drawListed(random)
	case all:
		s.mark = false
		s.each(s.weighPass)
		return s.drawBlocks(random, weighed{least, math.MaxInt32})
	}
	return s.drawBlocks(random, s.lastOfTopP(p.TopP))
}

// weighBlocks fills totals and, if marks are wanted, above and the lane's list of marked weights.
func (s *sampler) weighBlocks(t *thread, _ *run, lo, hi int) {
	l := &s.lanes[t.index]
	for b := lo; b < hi; b++ {
		s.totals[b], s.above[b] = 0, 0
		switch x := s.block(b); {
		case s.heights[b]/s.weighing.Temperature < s.limit:
		case !s.mark:
			s.totals[b] = s.kernels.WeighSum(&s.weighing, x)
		default:
			s.totals[b], s.above[b] = s.kernels.Weigh(&s.weighing, x, &l.weights)
			for i, marks := range l.weights.In {
				for ; marks != 0; marks &= marks - 1 {
					at := 64*i + bits.TrailingZeros64(marks)
					l.marked = append(l.marked, weighed{l.weights.W[at], int32(b*simd.SampleBlock + at)})
				}
			}
		}
	}
}

// drawBlocks draws from the tokens up to last, whose weights are summed in totals.
func (s *sampler) drawBlocks(random func(sum uint64) uint64, last weighed) int32 {
	sum := uint64(0)
	for _, n := range s.totals {
		sum += n
	}
	w, r := &s.lanes[s.index()].weights, random(sum)
	for b, n := range s.totals {
		if r >= n {
			r -= n
			continue
		}
		x := s.block(b)
		s.kernels.Weigh(&s.weighing, x, w)
		for i, weight := range w.W[:len(x)] {
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

// index is the lane of the thread that computes what is not shared out.
func (s *sampler) index() int {
	if s.single != nil {
		return s.single.index
	}
	return 0
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

// collect lists the tokens whose value, divided by the temperature, is limit or more and whose weight is Least or more, by
// id.
func (s *sampler) collect(limit float32) {
	s.list = s.list[:0]
	p := &s.weighing
	for b, height := range s.heights {
		if height/p.Temperature < limit {
			continue
		}
		for i, v := range s.block(b) {
			if v /= p.Temperature; v >= limit {
				if w := tensor.SampleWeight(v - p.Peak); w >= p.Least {
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
