package simd

import (
	"math"
	"unsafe"

	"github.com/ullm/ullm/tensor"
)

// SampleBlock is how many logits the sampling kernels take together: few enough for sums in f32 and to skip what cannot
// matter, many enough that a row has some hundred blocks.
const SampleBlock = 256

// Weighing says how logits become weights: tensor.SampleWeight(x/Temperature − Peak), and which ones count. Least, Low
// and High are at least 1, and Least ≤ Low.
type Weighing struct {
	Temperature, Peak float32
	Least             uint64 // weights below it are not summed
	Low, High         uint64 // weights from Low to below High are marked
}

// Weights are those of a block, and a bit for each that is marked.
type Weights struct {
	W  [SampleBlock]uint64
	In [SampleBlock / 64]uint64
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

// Weigh writes the weights of x, at most a block, to w and marks some. It returns the sums of those from p.Least and from
// p.High on.
func (k *Kernels) Weigh(p *Weighing, x []float32, w *Weights) (total, above uint64) {
	if k.Level < AVX2 || k.Level > AVX512BF16 {
		return weighGo(p, x, w)
	}
	n := len(x)
	if n%16 != 0 {
		whole := padded(x)
		x, n = whole[:], (n+15)&^15
	}
	if n < SampleBlock {
		w.In = [SampleBlock / 64]uint64{}
	}
	weigh := weigh512
	if k.Level == AVX2 {
		weigh = weigh256
	}
	return weigh((*byte)(unsafe.Pointer(p)), &x[0], n, (*byte)(unsafe.Pointer(w)))
}

// WeighSum is Weigh's total alone.
func (k *Kernels) WeighSum(p *Weighing, x []float32) uint64 {
	if k.Level < AVX2 || k.Level > AVX512BF16 {
		return weighSumGo(p, x)
	}
	n := len(x)
	if n%16 != 0 {
		whole := padded(x)
		x, n = whole[:], (n+15)&^15
	}
	if k.Level == AVX2 {
		return weighSum256((*byte)(unsafe.Pointer(p)), &x[0], n)
	}
	return weighSum512((*byte)(unsafe.Pointer(p)), &x[0], n)
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

func weighGo(p *Weighing, x []float32, w *Weights) (total, above uint64) {
	w.In = [SampleBlock / 64]uint64{}
	for i, v := range x {
		weight := tensor.SampleWeight(v/p.Temperature - p.Peak)
		w.W[i] = weight
		if weight >= p.Least {
			total += weight
		}
		if weight >= p.High {
			above += weight
		} else if weight >= p.Low {
			w.In[i/64] |= 1 << (i % 64)
		}
	}
	return total, above
}

func weighSumGo(p *Weighing, x []float32) (total uint64) {
	for _, v := range x {
		if w := tensor.SampleWeight(v/p.Temperature - p.Peak); w >= p.Least {
			total += w
		}
	}
	return total
}
