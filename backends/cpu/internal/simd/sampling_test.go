package simd

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/ullm/ullm/tensor"
)

// logitRow has n values of one spread, NaNs and infinities among them if odd.
func logitRow(r *rand.Rand, n int, spread float64, odd bool) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * spread)
		if odd && r.IntN(3) == 0 {
			x[i] = []float32{float32(math.NaN()), float32(math.Inf(-1)), -3e38, x[i]}[r.IntN(4)]
		}
	}
	return x
}

func TestPeaks(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(3, 4))
		for _, n := range []int{1, 8, 255, 256, 257, 1000, 1024} {
			for i, spread := range []float64{0.1, 3, 30} {
				x := logitRow(r, n, spread, i > 0)
				blocks := (n + SampleBlock - 1) / SampleBlock
				peak, sum := make([]float32, blocks), make([]float32, blocks)
				k.Peaks(x, peak, sum)
				for b := range blocks {
					m, s := math.Inf(-1), 0.0
					block := x[b*SampleBlock : min(n, (b+1)*SampleBlock)]
					for _, v := range block {
						if v == v {
							m = max(m, float64(v))
						}
					}
					for _, v := range block {
						if v == v && m > math.Inf(-1) {
							s += math.Exp(float64(v) - m)
						}
					}
					if float64(peak[b]) != m || math.Abs(float64(sum[b])-s) > 2e-6*s {
						t.Fatalf("block %d of %d: peak %g, sum %g; want %g, %g", b, n, peak[b], sum[b], m, s)
					}
				}
			}
		}
		nothing := []float32{float32(math.NaN()), float32(math.Inf(-1))}
		var peak, sum [1]float32
		if k.Peaks(nothing, peak[:], sum[:]); peak[0] != float32(math.Inf(-1)) || sum[0] != 0 {
			t.Errorf("nothing: peak %g, sum %g", peak[0], sum[0])
		}
	})
}

// TestWeigh: every level has tensor.SampleWeight's bits, and the sums are exact.
func TestWeigh(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(5, 6))
		for n := 1; n <= 3*SampleBlock; n += 1 + n/9 {
			for _, spread := range []float64{0.1, 3, 12} {
				for _, temperature := range []float32{1, 0.6, 1.7, 0.01, 50} {
					x := logitRow(r, n, spread*float64(temperature), n%2 == 0)
					peak := float32(math.Inf(-1))
					for _, v := range x {
						if v/temperature > peak {
							peak = v / temperature
						}
					}
					if peak-peak != 0 {
						continue
					}
					weights := make([]uint64, n)
					for i, v := range x {
						weights[i] = tensor.SampleWeight(v/temperature - peak)
					}
					checkWeights(t, k, r, x, weights, Weighing{temperature, peak, 1})
				}
			}
		}
	})
}

// checkWeights weighs x in every way.
func checkWeights(t *testing.T, k *Kernels, r *rand.Rand, x []float32, weights []uint64, p Weighing) {
	t.Helper()
	var have [SampleBlock]uint64
	blocks := (len(x) + SampleBlock - 1) / SampleBlock
	totals, above, one := make([]uint64, blocks), make([]uint64, blocks), make([]uint64, blocks)
	p.From = []float32{1, float32(max(1, weights[r.IntN(len(x))])), 1 << 62}[r.IntN(3)]
	k.WeighSums(&p, x, totals, above)
	k.WeighSum(&p, x, one)
	for b := range blocks {
		lo, hi := b*SampleBlock, min(len(x), (b+1)*SampleBlock)
		k.Weigh(&p, x[lo:hi], &have)
		total, from := uint64(0), uint64(0)
		for i, w := range weights[lo:hi] {
			if have[i] != w {
				t.Fatalf("%g/%g - %g weighs %d, want %d", x[lo+i], p.Temperature, p.Peak, have[i], w)
			}
			if total += w; float64(w) >= float64(p.From) {
				from += w
			}
		}
		if totals[b] != total || above[b] != from || one[b] != from {
			t.Fatalf("block %d of %d values, %+v: sums %d, %d and %d; want %d, %d", b, len(x), p, totals[b], above[b], one[b], total, from)
		}
	}
}

// TestWeighEverywhere goes through differences from the peak of every magnitude, and looks closely at those whose weights
// lie near a half of their last place, and at the largest sums.
func TestWeighEverywhere(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 2))
		check := func(at func(i int) float32) {
			x, weights := make([]float32, SampleBlock), make([]uint64, SampleBlock)
			for i := range x {
				x[i] = at(i)
				weights[i] = tensor.SampleWeight(x[i])
			}
			checkWeights(t, k, r, x, weights, Weighing{1, 0, 1})
		}
		for bits := uint32(0x80000000); bits < 0xff900000; bits += 40009 * SampleBlock { // every binade, many significands
			check(func(i int) float32 { return math.Float32frombits(bits + 40009*uint32(i)) })
		}
		for n := range 42 { // where 2ⁿ changes to 2ⁿ⁻¹, and where n itself is reached
			for _, d := range []float64{0, 0.5} {
				bits := math.Float32bits(float32((-float64(n) - d) * math.Ln2))
				check(func(i int) float32 { return math.Float32frombits(max(1<<31, bits+uint32(i)-SampleBlock/2)) })
			}
		}
		for range 20000 { // weights of few units, where most are rounded
			check(func(i int) float32 { return -9 - 20*r.Float32() })
		}
		for _, v := range []float32{0, -1e-7, -0.3, -12, -28.3} { // 256 of one weight
			check(func(i int) float32 { return v })
		}
	})
}

func TestBetween(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(8, 9))
		for n := 1; n <= 3*SampleBlock; n += 5 {
			x := logitRow(r, n, 3, true)
			low, high := x[r.IntN(n)], x[r.IntN(n)]
			if r.IntN(4) == 0 {
				low = float32(math.Inf(-1))
			}
			want := make([]Marks, (n+SampleBlock-1)/SampleBlock)
			for i, v := range x {
				if v > low && v < high {
					want[i/SampleBlock][i%SampleBlock/64] |= 1 << (i % 64)
				}
			}
			have := make([]Marks, len(want))
			have[0][1] = 7
			if k.Between(x, low, high, have); !slices.Equal(have, want) {
				t.Fatalf("%v between %g and %g: %x, want %x", x, low, high, have, want)
			}
		}
	})
}

func TestMassAbove(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(8, 9))
		for n := range 300 {
			x, want, limit := make([]float32, n), float32(0), float32(r.IntN(100))
			for i := range x {
				if x[i] = float32(r.IntN(100)); x[i] > limit {
					want += x[i]
				}
			}
			if have := k.MassAbove(x, limit); have != want {
				t.Fatalf("%v above %g: %g, want %g", x, limit, have, want)
			}
		}
	})
}

func TestCountAbove(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(7, 8))
		for n := range 70 {
			x, want := logitRow(r, n, 3, true), 0
			limit := float32(r.NormFloat64() * 3)
			for _, v := range x {
				if v > limit {
					want++
				}
			}
			if have := k.CountAbove(x, limit); have != want {
				t.Fatalf("%d of %v above %g, want %d", have, x, limit, want)
			}
		}
	})
}

// TestSamplingOffsets: the assembly knows these.
func TestSamplingOffsets(t *testing.T) {
	var p Weighing
	if unsafe.Offsetof(p.Peak) != 4 || unsafe.Offsetof(p.From) != 8 {
		t.Error("fields lie elsewhere than the generator thinks")
	}
}

func BenchmarkSampling(b *testing.B) {
	for _, l := range Levels() {
		k, err := For(l)
		if err != nil {
			b.Fatal(err)
		}
		const blocks = 594
		x := logitRow(rand.New(rand.NewPCG(1, 1)), blocks*SampleBlock, 3, false)
		peak, sum := make([]float32, blocks), make([]float32, blocks)
		totals, above := make([]uint64, blocks), make([]uint64, blocks)
		cool, one := Weighing{0.6, 24, 1 << 20}, Weighing{1, 15, 1 << 20}
		marks := make([]Marks, blocks)
		var w [SampleBlock]uint64
		each := func(f func(x []float32)) {
			for i := 0; i < len(x); i += SampleBlock {
				f(x[i : i+SampleBlock])
			}
		}
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"peaks", func() { k.Peaks(x, peak, sum) }},
			{"sum", func() { k.WeighSum(&cool, x, totals) }},
			{"sum1", func() { k.WeighSum(&one, x, totals) }},
			{"sums", func() { k.WeighSums(&cool, x, totals, above) }},
			{"sums1", func() { k.WeighSums(&one, x, totals, above) }},
			{"weigh", func() { each(func(x []float32) { k.Weigh(&cool, x, &w) }) }},
			{"between", func() { k.Between(x, 3, 3.01, marks) }},
			{"mass", func() { k.MassAbove(x, 3) }},
		} {
			b.Run(l.String()+"/"+c.name, func(b *testing.B) {
				for range b.N {
					c.f()
				}
			})
		}
	}
}
