package simd

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

var lengths = []int{1, 3, 7, 8, 9, 16, 31, 64, 100}

func values(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * 4)
	}
	return v
}

func near(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance*(1+math.Abs(float64(want[i])))) {
			t.Fatalf("%s of %d: value %d is %g, want %g", what, len(want), i, got[i], want[i])
		}
	}
}

// TestElementwise compares every elementwise kernel with plain Go.
func TestElementwise(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, n := range lengths {
			a, b, c, s := values(r, n), values(r, n), values(r, n), values(r, n)
			got, want := make([]float32, n), make([]float32, n)
			g, w := k.AddSumSquares(got, a, b), addSumSquaresGo(want, a, b)
			near(t, "AddSumSquares", append(got, g), append(want, w), 1e-6)
			near(t, "SumSquares", []float32{k.SumSquares(a)}, []float32{sumSquaresGo(a)}, 1e-6)
			k.ScaleMul(got, a, b, 0.3)
			scaleMulGo(want, a, b, 0.3)
			near(t, "ScaleMul", got, want, 1e-7)
			k.SiLUMul(got, a, b)
			siluMulGo(want, a, b)
			near(t, "SiLUMul", got, want, 1e-6)
			near(t, "Max", []float32{k.Max(a)}, []float32{maxOfGo(a)}, 0)
			copy(got, c)
			copy(want, c)
			k.ScaleAdd(got, s, 0.7, -1.3)
			scaleAddGo(want, s, 0.7, -1.3)
			near(t, "ScaleAdd", got, want, 1e-6)
			k.Scale(got, a, 1.7)
			scaleGo(want, a, 1.7)
			near(t, "Scale", got, want, 0)
			x, y := append(append([]float32{}, a...), b...), append(append([]float32{}, a...), b...)
			k.Rotate(x, c, s)
			rotateGo(y[:n], y[n:], c, s)
			near(t, "Rotate", x, y, 1e-5)
			copy(got, a)
			copy(want, a)
			m := k.Max(a)
			g, w = k.ExpSum(got, m), expSumGo(want, m)
			near(t, "ExpSum", append(got, g), append(want, w), 1e-6)
			i8 := make([]int8, n*16)
			for i := range i8 {
				i8[i] = int8(r.IntN(256) - 128)
			}
			k.FromI8(got, i8[:n], 0.03)
			for i := range want {
				want[i] = float32(i8[i]) * 0.03
			}
			near(t, "FromI8", got, want, 0)
			cols, wide := [16]float32(values(r, 16)), make([]float32, n*16)
			k.FromI8Columns(wide, i8, &cols)
			for i := range wide {
				if wide[i] != float32(i8[i])*cols[i%16] {
					t.Fatalf("FromI8Columns: value %d is %g", i, wide[i])
				}
			}
		}
	})
}

// TestExp holds the polynomial to a few units in the last place over its whole range, and its edges to their promises.
func TestExp(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		var x [920]float32
		for i := range x {
			x[i] = -87 + float32(i)*0.2
		}
		got := x
		k.ExpSum(got[:], 0)
		for i, v := range x {
			want := math.Exp(float64(v))
			if want > math.MaxFloat32 {
				want = math.Inf(1)
			}
			if float64(got[i]) != want && !(math.Abs(float64(got[i])-want) <= want*3e-7) {
				t.Errorf("e^%g = %g, want %g", v, got[i], want)
			}
		}
		inf := float32(math.Inf(-1))
		edge := []float32{0, inf, -200, float32(math.NaN()), 0, 0, 0, 0}
		k.ExpSum(edge, 0)
		if edge[0] != 1 || edge[1] != 0 || edge[2] != 0 || edge[3] == edge[3] {
			t.Errorf("edges: %v", edge)
		}
		short, long := []float32{1, -2, 0.5, inf, inf, inf, inf, inf}, make([]float32, 64)
		for i := range long {
			long[i] = inf
		}
		copy(long, short)
		if a, b := k.ExpSum(short, 1), k.ExpSum(long, 1); a != b {
			t.Errorf("sum %g changed to %g with more zeros behind it", a, b)
		}
	})
}

// TestHalves runs all 65,536 halves both ways, and values between them.
func TestHalves(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		all, wide, back := make([]uint16, 1<<16), make([]float32, 1<<16), make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		k.FromF16(wide, all)
		k.ToF16(back, wide)
		for i, v := range wide {
			if v == v && (v != F16(uint16(i)) || back[i] != uint16(i)) || v != v && back[i]&0x7c00 != 0x7c00 {
				t.Fatalf("f16 %#x: %g, back %#x", i, v, back[i])
			}
		}
		k.FromBF16(wide, all)
		k.ToBF16(back, wide)
		for i, v := range wide {
			if v == v && back[i] != uint16(i) || v != v && back[i] != 0x7fc0 {
				t.Fatalf("bf16 %#x: %g, back %#x", i, v, back[i])
			}
		}
		r := rand.New(rand.NewPCG(9, 9))
		for i := range wide {
			wide[i] = math.Float32frombits(r.Uint32())
			if i%2 == 0 { // near the subnormals and the largest halves too
				wide[i] = float32(math.Ldexp(r.Float64()*2-1, r.IntN(44)-26))
			}
		}
		k.ToF16(back, wide)
		for i, v := range wide {
			if v == v && back[i] != ToF16(v) {
				t.Fatalf("f16 of %g: %#x, want %#x", v, back[i], ToF16(v))
			}
		}
		k.ToBF16(back, wide)
		for i, v := range wide {
			if back[i] != ToBF16(v) {
				t.Fatalf("bf16 of %g: %#x, want %#x", v, back[i], ToBF16(v))
			}
		}
	})
}

// TestQuantizeQ8: every level makes the same blocks, to the bit.
func TestQuantizeQ8(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(1, 1))
		x := values(r, 32*50)
		clear(x[32:64])
		for i := 64; i < 96; i++ {
			x[i] *= 1e-38
		}
		got, want := make([]Q8Block, 51), make([]Q8Block, 51)
		k.QuantizeQ8(got[:50], x)
		quantizeQ8Go(want[:50], x)
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("block %d: %v, want %v", i, got[i], want[i])
			}
		}
		if unsafe.Sizeof(got[0]) != 64 {
			t.Fatal("the kernels know blocks of 64 bytes")
		}
	})
}

func TestNextAbove(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(2, 2))
		for range 200 {
			x := values(r, 1+r.IntN(70))
			if r.IntN(4) == 0 {
				x[r.IntN(len(x))] = float32(math.NaN())
			}
			limit := float32(r.NormFloat64() * 8)
			for from := 0; from <= len(x); from++ {
				want := from
				for want < len(x) && x[want] <= limit {
					want++
				}
				if got := k.NextAbove(x, from, limit); got != want {
					t.Fatalf("NextAbove(%v, %d, %g) = %d, want %d", x, from, limit, got, want)
				}
			}
		}
	})
}

// TestOffsets: the assembly knows Tile by these offsets.
func TestOffsets(t *testing.T) {
	var tile Tile
	for i, o := range []uintptr{unsafe.Offsetof(tile.W), unsafe.Offsetof(tile.X), unsafe.Offsetof(tile.XStride), unsafe.Offsetof(tile.C),
		unsafe.Offsetof(tile.CStride), unsafe.Offsetof(tile.K), unsafe.Offsetof(tile.KStride), unsafe.Offsetof(tile.Scales), unsafe.Offsetof(tile.Add)} {
		if want := []uintptr{0, 32, 40, 48, 56, 64, 72, 80, 88}[i]; o != want {
			t.Errorf("field %d lies at %d, the generator thinks %d", i, o, want)
		}
	}
}
