package simd

import (
	"math"
	"unsafe"

	"github.com/ullm/ullm/tensor"
)

// SampleBlock is how many logits the sampling kernels take together: few enough for sums in f32 and to skip what cannot
// matter, many enough that a row has some hundred blocks.
const SampleBlock = 256

// Weighing says how logits become weights: tensor.SampleWeight(x/Temperature − Peak). No quotient may be above Peak, which
// is finite.
type Weighing struct {
	Temperature, Peak float32
	From              float32 // sums may leave out weights below it: a positive integer
}

// Peaks writes for each block of x, the last of which may be short, its largest value m and Σ e^(x−m). NaNs are passed
// over; where there is nothing else, m is −Inf and the sum 0.
func (k *Kernels) Peaks(x, peak, sum []float32) {
	blocks := len(x) / SampleBlock
	switch {
	case blocks == 0:
	case k.Level == AVX2:
		peaks256(&x[0], blocks, &peak[0], &sum[0])
	case k.Level >= AVX512 && k.Level <= AVX512BF16:
		peaks512(&x[0], blocks, &peak[0], &sum[0])
	default:
		for i := range blocks {
			peak[i], sum[i] = k.blockPeak(x[i*SampleBlock:][:SampleBlock])
		}
	}
	if rest := x[blocks*SampleBlock:]; len(rest) > 0 {
		whole := padded(rest)
		k.Peaks(whole[:], peak[blocks:], sum[blocks:])
	}
}

// padded fills a block up with −Inf.
func padded(x []float32) (whole [SampleBlock]float32) {
	for i := copy(whole[:], x); i < SampleBlock; i++ {
		whole[i] = float32(math.Inf(-1))
	}
	return whole
}

// blockPeak is Peaks for one block, in steps.
func (k *Kernels) blockPeak(x []float32) (peak, sum float32) {
	y, inf := padded(x), float32(math.Inf(1))
	for i := k.NextAbove(y[:], 0, inf); i < SampleBlock; i = k.NextAbove(y[:], i, inf) {
		y[i] = -inf
	}
	if peak = k.Max(y[:]); peak-peak != 0 {
		return peak, 0
	}
	return peak, k.ExpSum(y[:], peak)
}

// Weigh writes the weights of x, at most a block, to w.
func (k *Kernels) Weigh(p *Weighing, x []float32, w *[SampleBlock]uint64) {
	if len(x) == 0 || k.Level < AVX2 || k.Level > AVX512BF16 {
		for i, v := range x {
			w[i] = tensor.SampleWeight(v/p.Temperature - p.Peak)
		}
		return
	}
	n := len(x)
	if n%16 != 0 {
		whole := padded(x)
		x, n = whole[:], (n+15)&^15
	}
	weigh := weigh512
	if k.Level == AVX2 {
		weigh = weigh256
	}
	weigh((*byte)(unsafe.Pointer(p)), &x[0], n, &w[0])
}

// WeighSum writes for each block of x, the last of which may be short, the sum of the weights from p.From on.
func (k *Kernels) WeighSum(p *Weighing, x []float32, totals []uint64) {
	blocks := len(x) / SampleBlock
	switch {
	case blocks == 0:
	case k.Level == AVX2:
		sum256((*byte)(unsafe.Pointer(p)), &x[0], blocks, &totals[0])
	case k.Level >= AVX512 && k.Level <= AVX512BF16:
		sum512((*byte)(unsafe.Pointer(p)), &x[0], blocks, &totals[0])
	default:
		for i := range blocks {
			_, totals[i] = sumsGo(p, x[i*SampleBlock:][:SampleBlock])
		}
	}
	if rest := x[blocks*SampleBlock:]; len(rest) > 0 {
		whole := padded(rest)
		k.WeighSum(p, whole[:], totals[blocks:])
	}
}

// WeighSums is WeighSum with the sums of all weights, too: the sums from p.From on are those above.
func (k *Kernels) WeighSums(p *Weighing, x []float32, totals, above []uint64) {
	blocks := len(x) / SampleBlock
	switch {
	case blocks == 0:
	case k.Level == AVX2:
		sums256((*byte)(unsafe.Pointer(p)), &x[0], blocks, &totals[0], &above[0])
	case k.Level >= AVX512 && k.Level <= AVX512BF16:
		sums512((*byte)(unsafe.Pointer(p)), &x[0], blocks, &totals[0], &above[0])
	default:
		for i := range blocks {
			totals[i], above[i] = sumsGo(p, x[i*SampleBlock:][:SampleBlock])
		}
	}
	if rest := x[blocks*SampleBlock:]; len(rest) > 0 {
		whole := padded(rest)
		k.WeighSums(p, whole[:], totals[blocks:], above[blocks:])
	}
}

func sumsGo(p *Weighing, x []float32) (total, above uint64) {
	for _, v := range x {
		w := tensor.SampleWeight(v/p.Temperature - p.Peak)
		if total += w; float64(w) >= float64(p.From) {
			above += w
		}
	}
	return total, above
}

// Marks are a bit for each value of a block.
type Marks [SampleBlock / 64]uint64

// Between marks the values of x that lie above low and below high, in blocks, the last of which may be short.
func (k *Kernels) Between(x []float32, low, high float32, marks []Marks) {
	n := len(x) &^ (SampleBlock - 1)
	switch {
	case n == 0:
	case k.Level == AVX2:
		between256(&x[0], n, low, high, &marks[0][0])
	case k.Level >= AVX512 && k.Level <= AVX512BF16:
		between512(&x[0], n, low, high, &marks[0][0])
	default:
		clear(marks[:n/SampleBlock])
		for i, v := range x[:n] {
			if v > low && v < high {
				marks[i/SampleBlock][i%SampleBlock/64] |= 1 << (i % 64)
			}
		}
	}
	if rest := x[n:]; len(rest) > 0 {
		whole := padded(rest)
		k.Between(whole[:], low, high, marks[n/SampleBlock:])
	}
}

// MassAbove sums the values above limit, in an order that depends on the level. No value is negative.
func (k *Kernels) MassAbove(x []float32, limit float32) (sum float32) {
	n := 0
	if k.Level >= AVX2 && k.Level <= AVX512BF16 {
		if n = len(x) &^ 31; n > 0 {
			sum = massAbove(&x[0], n, limit)
		}
	}
	for _, v := range x[n:] {
		if v > limit {
			sum += v
		}
	}
	return sum
}

// CountAbove counts the values above limit.
func (k *Kernels) CountAbove(x []float32, limit float32) int {
	count, n := 0, 0
	if k.Level >= AVX2 && k.Level <= AVX512BF16 {
		if n = len(x) &^ (lanes - 1); n > 0 {
			count = countAbove(&x[0], n, limit)
		}
	}
	for _, v := range x[n:] {
		if v > limit {
			count++
		}
	}
	return count
}
