package simd

import (
	"math"
	"unsafe"
)

// The elementwise operations. All slices of a call have the same length; none may overlap unless it is the same slice.
// Above Portable the assembly takes whole groups of 8; a rest goes through a zero-padded buffer, so that its values get
// the same arithmetic.

const lanes = 8

type group [lanes]float32

func load(x []float32) (g group) {
	copy(g[:], x)
	return g
}

// AddSumSquares writes a+b to dst and returns the sum of its squares.
func (k *Kernels) AddSumSquares(dst, a, b []float32) float32 {
	if k.Level == Portable {
		return addSumSquaresGo(dst, a, b)
	}
	n, sum := len(dst)&^(lanes-1), float32(0)
	if n > 0 {
		sum = addSumSquares(&dst[0], &a[0], &b[0], n)
	}
	if n < len(dst) {
		d, x, y := group{}, load(a[n:]), load(b[n:])
		sum += addSumSquares(&d[0], &x[0], &y[0], lanes)
		copy(dst[n:], d[:])
	}
	return sum
}

// SumSquares returns the sum of the squares of a.
func (k *Kernels) SumSquares(a []float32) float32 {
	if k.Level == Portable {
		return sumSquaresGo(a)
	}
	n, sum := len(a)&^(lanes-1), float32(0)
	if n > 0 {
		sum = sumSquares(&a[0], n)
	}
	if n < len(a) {
		x := load(a[n:])
		sum += sumSquares(&x[0], lanes)
	}
	return sum
}

// ScaleMul writes (x·s)·w to dst, which may be x.
func (k *Kernels) ScaleMul(dst, x, w []float32, s float32) {
	if k.Level == Portable {
		scaleMulGo(dst, x, w, s)
		return
	}
	n := len(dst) &^ (lanes - 1)
	if n > 0 {
		scaleMul(&dst[0], &x[0], &w[0], s, n)
	}
	if n < len(dst) {
		a, b := load(x[n:]), load(w[n:])
		scaleMul(&a[0], &a[0], &b[0], s, lanes)
		copy(dst[n:], a[:])
	}
}

// Rotate turns each pair (x[i], x[n+i]) of the two halves of x by the angle whose cosine and sine are given.
func (k *Kernels) Rotate(x, cos, sin []float32) {
	half := len(x) / 2
	x1, x2 := x[:half], x[half:]
	if k.Level == Portable {
		rotateGo(x1, x2, cos, sin)
		return
	}
	n := half &^ (lanes - 1)
	if n > 0 {
		rotate(&x1[0], &x2[0], &cos[0], &sin[0], n)
	}
	if n < half {
		a, b, c, s := load(x1[n:]), load(x2[n:]), load(cos[n:half]), load(sin[n:half])
		rotate(&a[0], &b[0], &c[0], &s[0], lanes)
		copy(x1[n:], a[:])
		copy(x2[n:], b[:])
	}
}

// SiLUMul writes gate / (1 + e^−gate) · up to dst, which may be gate or up.
func (k *Kernels) SiLUMul(dst, gate, up []float32) {
	if k.Level == Portable {
		siluMulGo(dst, gate, up)
		return
	}
	n := len(dst) &^ (lanes - 1)
	if n > 0 {
		siluMul(&dst[0], &gate[0], &up[0], n)
	}
	if n < len(dst) {
		g, u := load(gate[n:]), load(up[n:])
		siluMul(&g[0], &g[0], &u[0], lanes)
		copy(dst[n:], g[:])
	}
}

// Max returns the largest of x, which is not empty. NaNs are not looked for.
func (k *Kernels) Max(x []float32) float32 {
	if k.Level == Portable || len(x) < lanes {
		return maxOfGo(x)
	}
	n := len(x) &^ (lanes - 1)
	return max(maxOf(&x[0], n), maxOfGo(x[len(x)-lanes:]))
}

// ExpSum replaces x by e^(x−m) and returns the sum. Values of −Inf become zeros that leave the sum's bits alone, however
// many follow.
func (k *Kernels) ExpSum(x []float32, m float32) float32 {
	if k.Level == Portable {
		return expSumGo(x, m)
	}
	n, sum := len(x)&^(lanes-1), float32(0)
	if n > 0 {
		sum = expSum(&x[0], n, m)
	}
	if n < len(x) {
		g := load(x[n:])
		for i := len(x) - n; i < lanes; i++ {
			g[i] = float32(math.Inf(-1))
		}
		sum += expSum(&g[0], lanes, m)
		copy(x[n:], g[:])
	}
	return sum
}

// ScaleAdd writes dst·a + src·b to dst.
func (k *Kernels) ScaleAdd(dst, src []float32, a, b float32) {
	if k.Level == Portable {
		scaleAddGo(dst, src, a, b)
		return
	}
	n := len(dst) &^ (lanes - 1)
	if n > 0 {
		scaleAdd(&dst[0], &src[0], a, b, n)
	}
	if n < len(dst) {
		d, s := load(dst[n:]), load(src[n:])
		scaleAdd(&d[0], &s[0], a, b, lanes)
		copy(dst[n:], d[:])
	}
}

// Scale writes src·s to dst, which may be src.
func (k *Kernels) Scale(dst, src []float32, s float32) {
	if k.Level == Portable {
		scaleGo(dst, src, s)
		return
	}
	n := len(dst) &^ (lanes - 1)
	if n > 0 {
		scale(&dst[0], &src[0], s, n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = src[i] * s
	}
}

// ToBF16 rounds src to nearest, ties to even.
func (k *Kernels) ToBF16(dst []uint16, src []float32) {
	n := 0
	if k.Level != Portable {
		if n = len(dst) &^ (lanes - 1); n > 0 {
			toBF16(&dst[0], &src[0], n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = ToBF16(src[i])
	}
}

// ToF16 rounds src to nearest, ties to even.
func (k *Kernels) ToF16(dst []uint16, src []float32) {
	n := 0
	if k.Level != Portable {
		if n = len(dst) &^ (lanes - 1); n > 0 {
			toF16(&dst[0], &src[0], n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = ToF16(src[i])
	}
}

// FromBF16 widens src.
func (k *Kernels) FromBF16(dst []float32, src []uint16) {
	n := 0
	if k.Level != Portable {
		if n = len(dst) &^ (lanes - 1); n > 0 {
			fromBF16(&dst[0], &src[0], n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = BF16(src[i])
	}
}

// FromF16 widens src.
func (k *Kernels) FromF16(dst []float32, src []uint16) {
	n := 0
	if k.Level != Portable {
		if n = len(dst) &^ (lanes - 1); n > 0 {
			fromF16(&dst[0], &src[0], n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = F16(src[i])
	}
}

// FromI8 writes src·s.
func (k *Kernels) FromI8(dst []float32, src []int8, s float32) {
	n := 0
	if k.Level != Portable {
		if n = len(dst) &^ (lanes - 1); n > 0 {
			fromI8(&dst[0], &src[0], s, n)
		}
	}
	for i := n; i < len(dst); i++ {
		dst[i] = float32(src[i]) * s
	}
}

// FromI8Columns writes src·s for rows of 16 columns, each column with its own scale.
func (k *Kernels) FromI8Columns(dst []float32, src []int8, s *[PanelRows]float32) {
	rows := len(dst) / PanelRows
	if k.Level != Portable && rows > 0 {
		fromI8Columns(&dst[0], &src[0], &s[0], rows)
		return
	}
	for i := range rows * PanelRows {
		dst[i] = float32(src[i]) * s[i%PanelRows]
	}
}

// QuantizeQ8 rounds blocks of 32 values to the form that Q8 kernels read: scale max|x|/127, ties to even.
func (k *Kernels) QuantizeQ8(dst []Q8Block, src []float32) {
	if k.Level == Portable || len(dst) == 0 {
		quantizeQ8Go(dst, src)
		return
	}
	quantizeQ8((*byte)(unsafe.Pointer(&dst[0])), &src[0], len(dst))
}

// NextAbove returns the first i ≥ from whose x exceeds limit or is a NaN; len(x) if there is none.
func (k *Kernels) NextAbove(x []float32, from int, limit float32) int {
	n := len(x) &^ (lanes - 1)
	for i := from; i < len(x); i++ {
		if k.Level != Portable && i%lanes == 0 && i < n {
			if i = nextAbove(&x[0], i, n, limit); i == len(x) {
				break
			}
		}
		if !(x[i] <= limit) {
			return i
		}
	}
	return len(x)
}

// Pause tells the processor n times that its thread is waiting in a loop.
func (k *Kernels) Pause(n int) {
	if k.Level != Portable {
		pause(n)
	}
}
