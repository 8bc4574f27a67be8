package cpu

import (
	"math"
	"math/bits"
	"slices"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// TopP over a whole vocabulary, without sorting it: a sample of the row says between which two weights the last token that
// stays will lie; one pass sums what is above and lists what is between; then the exact sums tell whether that was right.
// Whatever the guess, the result is the definition's: a wrong guess costs another pass.

// lastOfTopP finds the last token that stays, and leaves in totals what stays of each block.
func (s *sampler) lastOfTopP(p float32) weighed {
	w := &s.weighing
	w.Low, w.High = s.guess(p)
	for s.mark = true; ; {
		for i := range s.lanes {
			if s.single == nil || s.single.index == i {
				s.lanes[i].marked = s.lanes[i].marked[:0]
			}
		}
		s.each(s.weighPass)
		total, above := uint64(0), uint64(0)
		for b, n := range s.totals {
			total, above = total+n, above+s.above[b]
		}
		list := s.marked()
		need := max(1, tensor.TopPSum(p, total))
		switch {
		case need <= above:
			w.Low, w.High = w.High, noBound
			continue
		case need > above+sum(list):
			w.Low, w.High = w.Least, w.Low
			continue
		}
		last, _ := s.lastWithin(list, need-above, weighed.mass)
		copy(s.totals, s.above)
		for _, t := range list {
			if last.stays(t.weight, t.id) {
				s.totals[t.id/simd.SampleBlock] += t.weight
			}
		}
		return last
	}
}

// marked is what all lanes have listed.
func (s *sampler) marked() []weighed {
	if s.single != nil {
		return s.lanes[s.single.index].marked
	}
	s.list = s.list[:0]
	for i := range s.lanes {
		s.list = append(s.list, s.lanes[i].marked...)
	}
	return s.list
}

const (
	sampleOf   = 16 // values of each block that are looked at
	classBits  = 4  // of a weight's significand that tell classes apart
	classes    = 42 << classBits
	listAtEase = 2048 // tokens that are listed without a thought
)

// class orders weights: the exponent and the first bits of the significand.
func class(w uint64) int {
	return int(math.Float64bits(float64(w))>>(52-classBits)) - 1023<<classBits
}

// classFloor is the least weight of a class.
func classFloor(c int) uint64 {
	return uint64(math.Float64frombits(uint64(c+1023<<classBits) << (52 - classBits)))
}

// guess answers weights between which the last token that stays probably lies. Each block's largest value counts as what
// it is, the first others for all others.
func (s *sampler) guess(p float32) (low, high uint64) {
	var mass, count [classes]float64
	l := &s.lanes[s.index()]
	for b, height := range s.heights {
		if height/s.weighing.Temperature < s.limit {
			continue
		}
		if w := tensor.SampleWeight(height/s.weighing.Temperature - s.weighing.Peak); w > 0 {
			mass[class(w)] += float64(w)
			count[class(w)]++
		}
		x := s.block(b)
		n := min(len(x), sampleOf)
		stands := float64(len(x)-1) / float64(n)
		s.kernels.Weigh(&s.weighing, x[:n], &l.weights)
		for i, w := range l.weights.W[:n] {
			if w > 0 && x[i] != height {
				c := class(w)
				mass[c] += stands * float64(w)
				count[c] += stands
			}
		}
	}
	total := 0.0
	for _, m := range mass {
		total += m
	}
	// The mass of what does not stay, and by how much that may be wrong.
	q := 1 - float64(p)
	spread := 0.15*q*float64(p) + 0.002
	low, high = 1, noBound
	below, listed := 0.0, 0.0
	for c := range mass {
		if below+mass[c] < (q-spread)*total {
			low = classFloor(c + 1)
		} else if listed += count[c]; below >= (q+spread)*total && listed > listAtEase {
			high = classFloor(c)
			break
		}
		below += mass[c]
	}
	return max(1, low), max(1, high)
}

// lastWithin is the last token of the shortest run, in the order before, whose measure reaches need, and the run's
// measure. The list has that much.
func (s *sampler) lastWithin(list []weighed, need uint64, measure func(weighed) uint64) (last weighed, sum uint64) {
	const few, parts = 64, 1024
	s.near = append(s.near[:0], list...)
	for {
		near := s.near
		low, high := near[0].weight, near[0].weight
		for _, t := range near {
			low, high = min(low, t.weight), max(high, t.weight)
		}
		if len(near) <= few || low == high {
			break
		}
		// Parts of equal width; the last one that is needed is looked at again.
		var sums [parts]uint64
		shift := bits.Len64((high - low) / parts)
		for _, t := range near {
			sums[(t.weight-low)>>shift%parts] += measure(t)
		}
		part := (high - low) >> shift
		for ; sum+sums[part] < need; part-- {
			sum += sums[part]
		}
		s.near = slices.DeleteFunc(near, func(t weighed) bool { return (t.weight-low)>>shift != part })
	}
	slices.SortFunc(s.near, before)
	for _, t := range s.near {
		last = t
		if sum += measure(t); sum >= need {
			break
		}
	}
	return last, sum
}
