package simd

import (
	"math"
	"math/rand/v2"
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

// TestWeigh: every level has tensor.SampleWeight's bits.
func TestWeigh(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(5, 6))
		for n := 1; n <= SampleBlock; n += 1 + n/9 {
			for _, temperature := range []float32{1, 0.6, 1.7, 0.01, 50} {
				x := logitRow(r, n, 12*float64(temperature), n%2 == 0)
				peak := float32(0)
				for _, v := range x {
					if v/temperature > peak {
						peak = v / temperature
					}
				}
				weights := make([]uint64, n)
				for i, v := range x {
					weights[i] = tensor.SampleWeight(v/temperature - peak)
				}
				some := func() uint64 { return max(1, weights[r.IntN(n)]) }
				p := Weighing{temperature, peak, 1, some(), some()}
				p.Least = []uint64{1, p.Low}[r.IntN(2)]
				var have, want Weights
				have.In[3] = 7
				total, above := k.Weigh(&p, x, &have)
				wantTotal, wantAbove := weighGo(&p, x, &want)
				for i, w := range weights {
					if want.W[i] != w || have.W[i] != w {
						t.Fatalf("%g/%g - %g weighs %d, want %d", x[i], temperature, peak, have.W[i], w)
					}
				}
				if have.In != want.In || total != wantTotal || above != wantAbove {
					t.Fatalf("%d values, %+v: sums %d, %d, marks %x; want %d, %d, %x", n, p, total, above, have.In, wantTotal, wantAbove, want.In)
				}
				if sum := k.WeighSum(&p, x); sum != wantTotal {
					t.Fatalf("%d values: sum %d, want %d", n, sum, wantTotal)
				}
			}
		}
	})
}

// TestWeighEverywhere goes through differences from the peak of every magnitude.
func TestWeighEverywhere(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		p := Weighing{1, 0, 1, 1, 1 << 62}
		var x [SampleBlock]float32
		var w Weights
		for bits := uint32(0x80000000); bits < 0xff900000; {
			for i := range x {
				x[i] = math.Float32frombits(bits)
				bits += 40009 // every binade, many significands
			}
			k.Weigh(&p, x[:], &w)
			for i, v := range x {
				if want := tensor.SampleWeight(v); w.W[i] != want {
					t.Fatalf("%g weighs %d, want %d", v, w.W[i], want)
				}
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
	var w Weights
	if unsafe.Offsetof(p.Peak) != 4 || unsafe.Offsetof(p.Least) != 8 || unsafe.Offsetof(p.Low) != 16 || unsafe.Offsetof(p.High) != 24 || unsafe.Offsetof(w.In) != 8*SampleBlock {
		t.Error("fields lie elsewhere than the generator thinks")
	}
}

func BenchmarkSampling(b *testing.B) {
	for _, l := range Levels() {
		k, err := For(l)
		if err != nil {
			b.Fatal(err)
		}
		x := logitRow(rand.New(rand.NewPCG(1, 1)), 594*SampleBlock, 3, false)
		peak, sum := make([]float32, 594), make([]float32, 594)
		p := Weighing{0.6, 24, 1, 1 << 20, 1 << 21}
		var w Weights
		b.Run(l.String()+"/peaks", func(b *testing.B) {
			for range b.N {
				k.Peaks(x, peak, sum)
			}
		})
		b.Run(l.String()+"/sum", func(b *testing.B) {
			for range b.N {
				for i := 0; i < len(x); i += SampleBlock {
					k.WeighSum(&p, x[i:i+SampleBlock])
				}
			}
		})
		one := p
		one.Temperature = 1
		b.Run(l.String()+"/sum1", func(b *testing.B) {
			for range b.N {
				for i := 0; i < len(x); i += SampleBlock {
					k.WeighSum(&one, x[i:i+SampleBlock])
				}
			}
		})
		b.Run(l.String()+"/weigh", func(b *testing.B) {
			for range b.N {
				for i := 0; i < len(x); i += SampleBlock {
					k.Weigh(&p, x[i:i+SampleBlock], &w)
				}
			}
		})
	}
}
