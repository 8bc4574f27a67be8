package simd

import "math"

// Elementwise operations in plain Go. Conversions around products keep compilers from fusing them into sums.

func addSumSquaresGo(dst, a, b []float32) float32 {
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
	return sumSquaresGo(dst)
}

func sumSquaresGo(a []float32) float32 {
	sum := float32(0)
	for _, v := range a {
		sum += float32(v * v)
	}
	return sum
}

func scaleMulGo(dst, x, w []float32, s float32) {
	for i := range dst {
		dst[i] = x[i] * s * w[i]
	}
}

func rotateGo(x1, x2, cos, sin []float32) {
	for i, a := range x1 {
		b, c, s := x2[i], cos[i], sin[i]
		x1[i] = float32(a*c) - float32(b*s)
		x2[i] = float32(b*c) + float32(a*s)
	}
}

func expGo(x float32) float32 { return float32(math.Exp(float64(x))) }

func siluMulGo(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = g / (1 + expGo(-g)) * up[i]
	}
}

func maxOfGo(x []float32) float32 {
	m := x[0]
	for _, v := range x[1:] {
		if v > m {
			m = v
		}
	}
	return m
}

// expSumGo adds in eight lanes, as the assembly does: for accuracy, not for speed.
func expSumGo(x []float32, m float32) float32 {
	var sum group
	for i, v := range x {
		x[i] = expGo(v - m)
		sum[i%lanes] += x[i]
	}
	for n := lanes / 2; n > 0; n /= 2 {
		for i := range n {
			sum[i] += sum[i+n]
		}
	}
	return sum[0]
}

func scaleAddGo(dst, src []float32, a, b float32) {
	for i, v := range src {
		dst[i] = float32(dst[i]*a) + float32(v*b)
	}
}

func scaleGo(dst, src []float32, s float32) {
	for i, v := range src {
		dst[i] = v * s
	}
}

func quantizeQ8Go(dst []Q8Block, src []float32) {
	for b := range dst {
		x := src[b*Q8Values : (b+1)*Q8Values]
		top := float32(0)
		for _, v := range x {
			top = max(top, v, -v)
		}
		inverse := float32(0)
		if top >= 1e-30 {
			inverse = 127 / top
		}
		d, sum := &dst[b], [2]int32{}
		for i, v := range x {
			q := math.RoundToEven(float64(v * inverse))
			d.Q[i] = int8(q)
			sum[i/16] -= int32(d.Q[i])
		}
		all := sum[0] + sum[1]
		d.Scale = top / 127
		d.Shift = float32(all) * d.Scale
		d.Start128, d.Start8, d.Start16 = magic+128*all, magic+8*all, magic+16*all
		d.Half = [2]int32{magic + 32*sum[0], magic + 32*sum[1]}
	}
}
