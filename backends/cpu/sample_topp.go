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
	stretch := 1.25 // how far the next guess reaches beyond a wrong one
	for s.mark = true; ; stretch *= stretch {
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
			w.Low, w.High = w.High, uint64(min(stretch*float64(w.High)+1, noBound))
			continue
		case need > above+sum(list):
			w.Low, w.High = uint64(max(float64(w.Low)/stretch-1, 1)), w.Low
			continue
		}
		last := s.lastWithin(list, need-above, weighed.mass)
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
	sampleOf   = 8 // values of each block that are looked at
	classBits  = 4 // of a weight's significand that tell classes apart
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
// it is, the first few others for all others.
func (s *sampler) guess(p float32) (low, high uint64) {
	var mass [classes]float64 // of the weights of a class
	l := &s.lanes[s.index()]
	weigh := func(x []float32, stands float64) {
		s.kernels.Weigh(&s.weighing, x, &l.weights)
		for _, w := range l.weights.W[:len(x)] {
			if w > 0 {
				mass[class(w)] += stands * float64(w)
			}
		}
	}
	var some [simd.SampleBlock]float32
	n := 0
	for b, height := range s.heights {
		if height/s.weighing.Temperature < s.limit {
			continue
		}
		if n+sampleOf > len(some) {
			weigh(some[:n], float64(simd.SampleBlock-1)/sampleOf)
			n = 0
		}
		at := n
		n += copy(some[at:], s.block(b)[:min(sampleOf, len(s.block(b)))])
		for i, v := range some[at:n] {
			if v == height {
				some[at+i] = -infinity
			}
		}
	}
	weigh(some[:n], float64(simd.SampleBlock-1)/sampleOf)
	for at := 0; at < len(s.heights); at += simd.SampleBlock {
		weigh(s.heights[at:min(at+simd.SampleBlock, len(s.heights))], 1)
	}
	total := 0.0
	for _, m := range mass {
		total += m
	}
	// The mass of what does not stay, and by how much that may be wrong.
	q := 1 - float64(p)
	spread := 0.08*q*float64(p) + 0.0005
	low, high = 1, noBound
	below, listed := 0.0, 0.0
	for c, m := range mass {
		if below+m < (q-spread)*total {
			low = classFloor(c + 1)
		} else if listed += m / float64(max(1, classFloor(c))); below >= (q+spread)*total && listed > listAtEase {
			high = max(1, classFloor(c))
			break
		}
		below += m
	}
	return max(1, low), high
}

// lastWithin is the last token of the shortest run, in the order before, whose measure reaches need. The list has that
// much; it stays as it is.
func (s *sampler) lastWithin(list []weighed, need uint64, measure func(weighed) uint64) (last weighed) {
	const few, parts = 64, 1024
	near, sum := list, uint64(0)
	for {
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
		s.near = s.near[:0] // where near may lie: what is kept moves forward
		for _, t := range near {
			if (t.weight-low)>>shift == part {
				s.near = append(s.near, t)
			}
		}
		near = s.near
	}
	s.near = append(s.near[:0], near...)
	slices.SortFunc(s.near, before)
	for _, t := range s.near {
		last = t
		if sum += measure(t); sum >= need {
			break
		}
	}
	return last
}
