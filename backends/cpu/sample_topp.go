package cpu

import (
	"math"
	"math/bits"
	"slices"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// TopP over a whole vocabulary, without sorting it: a few values of some blocks say near which weight the last token that
// stays will lie; the exact sums of these blocks, of all weights and of those from there on, say it better; then the other
// blocks are summed. So it is known how much is still to be found, and the tokens near there are listed. Whatever the
// guesses, the result is the definition's: a wrong one costs a longer list, or another.

const (
	firstOf, firstBlocks = 32, 4 // the first of every so many blocks are summed first
	sampleOf             = 16    // values of each of these that are looked at
	stepRatio            = 1.05  // the ratio of weights in which distances are counted
	listAtEase           = 150   // tokens that are listed on either side of where the last one should be, and
	listShare            = 0.5   // the part of all distances that may be wrong
	listTries            = 6     // lists that are guessed before all is listed
)

// turnOf is 0 for blocks that are summed first, else 1; blocks before end have the same.
func turnOf(b int) (turn, end int) {
	if at := b % firstOf; at < firstBlocks {
		return 0, b - at + firstBlocks
	}
	return 1, b - b%firstOf + firstOf
}

// turn is that of the token's block.
func (t weighed) turn() int {
	turn, _ := turnOf(int(t.id) / simd.SampleBlock)
	return turn
}

// away is the weight that lies some steps from another.
func away(from float32, steps float64) float32 {
	w := math.Ceil(float64(from) * math.Pow(stepRatio, max(-100, min(steps, 100))))
	return float32(max(1, min(w, 2*tensor.SampleOne)))
}

// lastOfTopP finds the last token that stays, and leaves in totals what stays of each block.
func (s *sampler) lastOfTopP(p float32) weighed {
	sample := s.sample()
	s.from[0] = sample.guess(p)
	s.sumTurn(0)
	density := sample.density(s.from[0])
	shift := max(-100, min(s.excess(sample, p)/density, 100))
	s.from[1] = away(s.from[0], shift)
	s.sumTurn(1)
	total, above, first := uint64(0), uint64(0), uint64(0)
	for b, n := range s.totals {
		total, above = total+n, above+s.above[b]
		if turn, _ := turnOf(b); turn == 0 {
			first += n
		}
	}
	copy(s.totals, s.above)
	need := max(1, tensor.TopPSum(p, total))
	// Where the last token should lie, in steps from the second guess, were the first blocks summed from there on, too.
	shift *= float64(first) / float64(total)
	center := (float64(above)-float64(need))/float64(total)/density - shift
	slack := listShare*(math.Abs(center)+math.Abs(shift)) + listAtEase*float64(s.from[1])/float64(total)/density
	low, high := away(s.from[1], center-slack), away(s.from[1], center+slack)
	for try := 0; ; try++ {
		l, h := uint64(low), max(uint64(low)+1, uint64(high))
		if try == listTries {
			l, h = 1, 2*tensor.SampleOne
		}
		s.between(l, h)
		heavier, within := above, uint64(0) // the sums of weights from h on, and of those from l on before them
		for _, t := range s.list {
			if t.weight >= uint64(s.from[t.turn()]) {
				heavier -= t.weight
			}
			if t.weight >= h {
				heavier += t.weight
			} else if t.weight >= l {
				within += t.weight
			}
		}
		switch {
		case need <= heavier:
			high = away(high, slack)
		case need > heavier+within:
			low = away(low, -slack)
		default:
			last := s.lastWithin(s.list, need-heavier, func(t weighed) uint64 {
				if t.weight >= h {
					return 0
				}
				return t.weight
			})
			s.settleTotals(last)
			return last
		}
		slack = 3 * max(1, slack)
	}
}

// settleTotals makes what is above the guesses what stays.
func (s *sampler) settleTotals(last weighed) {
	for _, t := range s.list {
		have, want := t.weight >= uint64(s.from[t.turn()]), last.stays(t.weight, t.id)
		if b := t.id / simd.SampleBlock; want && !have {
			s.totals[b] += t.weight
		} else if have && !want {
			s.totals[b] -= t.weight
		}
	}
}

// sumTurn fills totals and above for the blocks of a turn.
func (s *sampler) sumTurn(turn int) {
	s.turn, s.weighing.From = turn, s.from[turn]
	s.each(s.sumsPass)
}

func (s *sampler) sumsBlocks(_ *thread, _ *run, lo, hi int) {
	for lo < hi {
		turn, end := turnOf(lo)
		if turn != s.turn {
			lo = end
			continue
		}
		end, x := s.stretch(lo, min(end, hi), s.light)
		if end == lo {
			s.totals[lo], s.above[lo] = 0, 0
			lo++
			continue
		}
		s.kernels.WeighSums(&s.weighing, x, s.totals[lo:end], s.above[lo:end])
		lo = end
	}
}

// markBlocks marks the logits between low and high of their turn.
func (s *sampler) markBlocks(_ *thread, _ *run, lo, hi int) {
	for lo < hi {
		turn, end := turnOf(lo)
		end, x := s.stretch(lo, min(end, hi), s.low[turn])
		if end == lo {
			s.marks[lo] = simd.Marks{}
			lo++
			continue
		}
		s.kernels.Between(x, s.low[turn], s.high[turn], s.marks[lo:end])
		lo = end
	}
}

// between lists the tokens whose weights are low or more and less than high, and those between there and the guess of
// their block's turn.
func (s *sampler) between(low, high uint64) {
	var lows, highs [2]uint64
	for turn, from := range s.from {
		lows[turn], highs[turn] = min(low, uint64(from)), max(high, uint64(from))
		s.low[turn], s.high[turn] = s.lighter(lows[turn]), s.heavier(highs[turn])
	}
	s.each(s.markPass)
	s.list = s.list[:0]
	var logits [simd.SampleBlock]float32
	var ids [simd.SampleBlock]int32
	n := 0 // of those not weighed yet
	weigh := func() {
		s.kernels.Weigh(&s.weighing, logits[:n], &s.weights)
		for i, id := range ids[:n] {
			t := weighed{s.weights[i], id}
			if turn := t.turn(); t.weight >= lows[turn] && t.weight < highs[turn] {
				s.list = append(s.list, t)
			}
		}
		n = 0
	}
	for b := range s.marks {
		marks := &s.marks[b]
		if marks[0]|marks[1]|marks[2]|marks[3] == 0 {
			continue
		}
		x, first := s.block(b), b*simd.SampleBlock
		for i, m := range marks {
			for ; m != 0; m &= m - 1 {
				at := 64*i + bits.TrailingZeros64(m)
				if n == len(logits) {
					weigh()
				}
				logits[n], ids[n] = x[at], int32(first+at)
				n++
			}
		}
	}
	weigh()
}

// SampleWeight(x) is 2ᵗ · 2⁴⁰ within 2⁻²⁰ of it, rounded, and t, which is rounded thrice, does not fall where x grows. So
// a logit whose t is found to be small or large enough bounds all those beyond it.

// weightSlack is more than the logarithm of 1 + 2⁻²⁰.
const weightSlack = 1e-5

// lighter is a logit that weighs less than w, as do all below it.
func (s *sampler) lighter(w uint64) float32 {
	return s.beyond(math.Log2((float64(w)-0.5)/tensor.SampleOne)-weightSlack, -1)
}

// heavier is a logit that would weigh w or more, as would all above it.
func (s *sampler) heavier(w uint64) float32 {
	return s.beyond(math.Log2(float64(w)/tensor.SampleOne)+weightSlack, 1)
}

// beyond is a logit near the one whose t is limit, and on the wanted side of it: -1 below, 1 above.
func (s *sampler) beyond(limit float64, side float32) float32 {
	w := &s.weighing
	x := float32((float64(w.Peak) + limit*math.Ln2) * float64(w.Temperature))
	x = max(-math.MaxFloat32, min(x, math.MaxFloat32))
	for step := max(1e-30, 1e-7*x, -1e-7*x); ; step *= 2 {
		t := float32(float32(x/w.Temperature-w.Peak) * 1.44269504)
		if float64(side)*(float64(t)-limit) > 0 {
			return x
		}
		x += side * step
	}
}

// rowSample is a sample of a row: e to the difference from the peak of each block's largest value, which counts as what it
// is, and of the first few others of the blocks of turn 0, which count for all others.
type rowSample struct {
	kernels         *simd.Kernels
	largest, others []float32
	blocks          float64 // for how many blocks one of turn 0 stands
}

// sample looks at the row.
func (s *sampler) sample() rowSample {
	blocks := len(s.heights)
	if s.some == nil {
		s.some = make([]float32, blocks+sampleOf*(blocks/firstOf+1)*firstBlocks)
	}
	scale, n := 1/s.weighing.Temperature, blocks
	var counts [2]int
	for b, height := range s.heights {
		s.some[b] = height * scale
		if height <= s.light {
			continue
		}
		turn, _ := turnOf(b)
		if counts[turn]++; turn == 1 {
			continue
		}
		block := s.block(b)
		block = block[:min(sampleOf, len(block))]
		some := s.some[n:][:len(block)]
		for i, v := range block {
			if !(v < height) { // the largest itself, or a NaN
				v = -infinity
			}
			some[i] = v * scale
		}
		n += len(some)
	}
	s.kernels.ExpSum(s.some[:n], s.weighing.Peak)
	return rowSample{s.kernels, s.some[:blocks], s.some[blocks:n], float64(counts[0]+counts[1]) / float64(max(1, counts[0]))}
}

// above is about what the values above limit, and so their weights, sum up to, in peaks.
func (r rowSample) above(limit float32) float64 {
	stands := r.blocks * float64(simd.SampleBlock-1) / sampleOf
	return float64(r.kernels.MassAbove(r.largest, limit)) + stands*float64(r.kernels.MassAbove(r.others, limit))
}

// guess is about the weight of the last token that stays.
func (r rowSample) guess(p float32) float32 {
	need := float64(p) * r.above(0)
	low, high := uint32(127-41)<<23, uint32(127)<<23 // the bits of 2⁻⁴¹ and 1
	for high-low > 1<<16 {                           // 1/128 of a weight
		if mid := (low + high) / 2; r.above(math.Float32frombits(mid)) >= need {
			low = mid
		} else {
			high = mid
		}
	}
	return away(math.Float32frombits(low)*tensor.SampleOne, 0)
}

// density is about the share of all weights that lies in a step near one.
func (r rowSample) density(from float32) float64 {
	limit := from / tensor.SampleOne
	share := (r.above(limit/(stepRatio*stepRatio)) - r.above(limit*(stepRatio*stepRatio))) / 4 / r.above(0)
	if share > 1e-6 { // also not NaN
		return share
	}
	return 1.0 / 16 // single tokens far apart
}

// excess is about how much of all weights is more than p and from the first guess on, now that turn 0 is summed.
func (s *sampler) excess(r rowSample, p float32) float64 {
	limit := s.from[0] / tensor.SampleOne
	total, above := 0.0, 0.0
	for b, e := range r.largest {
		if turn, _ := turnOf(b); turn == 0 && s.totals[b] > 0 {
			total += float64(s.totals[b])/tensor.SampleOne - float64(e)
			above += float64(s.above[b]) / tensor.SampleOne
			if e >= limit {
				above -= float64(e)
			}
		}
	}
	total = r.blocks*total + float64(r.kernels.MassAbove(r.largest, 0))
	above = r.blocks*above + float64(r.kernels.MassAbove(r.largest, limit))
	if excess := above/total - float64(p); excess == excess { // not where the temperature is too small for f32
		return excess
	}
	return 0
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
