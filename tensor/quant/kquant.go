package quant

import "math"

// K-quants pack 256 values in a super-block of sub-blocks, whose scales are themselves quantised against one binary16
// scale. This file has what Q4_K, Q5_K and Q6_K share: the searches for a sub-block's scale, and Q4_K's and Q5_K's
// packing of their 6-bit scales and minima.
const (
	superBlock   = 256
	subBlock     = 32 // values that share a scale and a minimum in Q4_K and Q5_K
	subBlocks    = superBlock / subBlock
	packedScales = 12 // bytes of the 8 scales and 8 minima of 6 bits each
)

// tiny is the magnitude below which ggml treats a sub-block as zeros (GROUP_MAX_EPS).
const tiny = 1e-15

// nearest rounds to the nearest integer, ties to even, by adding 1.5×2²³ as ggml's nearest_int does, for |v| < 2²².
// Outside that range, where C's is undefined, the result is some integer of the same 23 bits: callers clamp it.
func nearest(v float32) int {
	bits := math.Float32bits(float32(v) + 12582912) // float32: where nearest is inlined, v may be a product
	return int(bits&0x7fffff) - 0x400000
}

// search is how make_qkx2_quants looks for a better scale: it tries the scales that map a sub-block's range to
// levels + first + step·k, k = 0 … steps.
type search struct {
	levels      int // largest q
	first, step float32
	steps       int
}

// fitScaleAndMin finds scale and minimum ≥ 0 such that scale·q - minimum fits the sub-block x with the least error,
// weighted by w: make_qkx2_quants of ggml-quants.c. For each candidate scale it rounds x, then solves the weighted least
// squares for scale and minimum given those q. It leaves the q of the best fit in best.
func fitScaleAndMin(x, w *[subBlock]float32, best *[subBlock]uint8, s search) (scale, minimum float32) {
	low, high := x[0], x[0]
	sumW := w[0]
	sumX := w[0] * x[0]
	for i := 1; i < subBlock; i++ {
		if x[i] < low {
			low = x[i]
		}
		if x[i] > high {
			high = x[i]
		}
		sumW += w[i]
		sumX += float32(w[i] * x[i])
	}
	if low > 0 {
		low = 0
	}
	if high == low {
		return 0, -low
	}

	levels := float32(s.levels)
	iscale := levels / (high - low)
	scale = 1 / iscale
	var bestErr float32
	for i, v := range x {
		l := clamp(nearest(iscale*(v-low)), 0, s.levels)
		best[i] = uint8(l)
		diff := float32(scale*float32(l)) + low - v
		bestErr += float32(w[i] * float32(diff*diff))
	}

	var q [subBlock]uint8
	for k := range s.steps + 1 {
		// low is the minimum of the best fit so far, as in ggml: later candidates start from it.
		iscale := (s.first + float32(s.step*float32(k)) + levels) / (high - low)
		var sumL, sumL2, sumXL float32
		for i, v := range x {
			n := clamp(nearest(iscale*(v-low)), 0, s.levels)
			q[i] = uint8(n)
			l := float32(n)
			wl := w[i] * l
			sumL += float32(wl)
			sumL2 += float32(wl * l)
			sumXL += float32(wl * v)
		}
		det := float32(sumW*sumL2) - float32(sumL*sumL)
		if !(det > 0) {
			continue
		}
		fitScale := (float32(sumW*sumXL) - float32(sumX*sumL)) / det
		fitLow := (float32(sumL2*sumX) - float32(sumL*sumXL)) / det
		if fitLow > 0 {
			fitLow = 0
			fitScale = sumXL / sumL2
		}
		var err float32
		for i, v := range x {
			diff := float32(fitScale*float32(q[i])) + fitLow - v
			err += float32(w[i] * float32(diff*diff))
		}
		if err < bestErr {
			*best, bestErr, scale, low = q, err, fitScale, fitLow
		}
	}
	return scale, -low
}

// fitSuperBlock chooses scales and minima for the sub-blocks of x as quantize_row_q4_K_ref and quantize_row_q5_K_ref
// do, and stores them in b: binary16 d and dmin, then the packed 6-bit scales. It gives the q of every value:
// value = d·scale·q - dmin·minimum.
func fitSuperBlock(b []byte, x *[superBlock]float32, s search) (q [superBlock]uint8) {
	var scales, mins [subBlocks]float32
	var maxScale, maxMin float32
	for j := range subBlocks {
		xs, qs := (*[subBlock]float32)(x[subBlock*j:]), (*[subBlock]uint8)(q[subBlock*j:])
		w := weights(xs)
		scales[j], mins[j] = fitScaleAndMin(xs, &w, qs, s)
		if scales[j] > maxScale {
			maxScale = scales[j]
		}
		if mins[j] > maxMin {
			maxMin = mins[j]
		}
	}

	var inverseScale, inverseMin float32
	if maxScale > 0 {
		inverseScale = 63 / maxScale
	}
	if maxMin > 0 {
		inverseMin = 63 / maxMin
	}
	var sc, m [subBlocks]uint8
	for j := range subBlocks {
		// As in C, a negative number wraps to a large one before it is cut.
		sc[j] = min(63, uint8(nearest(inverseScale*scales[j])))
		m[j] = min(63, uint8(nearest(inverseMin*mins[j])))
	}
	putF16(b, maxScale/63)
	putF16(b[2:], maxMin/63)
	packScales(b[4:], &sc, &m)

	// Round anew against the scales as they are stored. Where a stored scale is 0 the q do not matter: they stay as
	// the search left them, for files that equal ggml's.
	d, dmin := getF16(b), getF16(b[2:])
	for j := range subBlocks {
		scale, minimum := d*float32(sc[j]), float32(dmin*float32(m[j]))
		if scale == 0 {
			continue
		}
		for i := subBlock * j; i < subBlock*(j+1); i++ {
			q[i] = uint8(clamp(nearest((x[i]+minimum)/scale), 0, s.levels))
		}
	}
	return q
}

// weights are how much each value's error counts: its magnitude plus the sub-block's root mean square.
func weights(x *[subBlock]float32) (w [subBlock]float32) {
	var sum float32
	for _, v := range x {
		sum += float32(v * v)
	}
	rms := float32(math.Sqrt(float64(sum / subBlock)))
	for i, v := range x {
		w[i] = rms + float32(math.Abs(float64(v)))
	}
	return w
}

// packScales stores 8 scales and 8 minima of 6 bits in 12 bytes: scales 0-3 and minima 0-3 lie in the low six bits of
// bytes 0-3 and 4-7; the low four bits of scale and minimum j+4 share byte 8+j, and their upper two bits are the upper
// bits of bytes j and 4+j.
func packScales(b []byte, sc, m *[subBlocks]uint8) {
	for j := range 4 {
		b[j] = sc[j] | sc[j+4]>>4<<6
		b[4+j] = m[j] | m[j+4]>>4<<6
		b[8+j] = sc[j+4]&15 | m[j+4]<<4
	}
}

// unpackScales undoes packScales: get_scale_min_k4 of ggml-quants.c.
func unpackScales(b []byte) (sc, m [subBlocks]uint8) {
	for j := range 4 {
		sc[j] = b[j] & 63
		m[j] = b[4+j] & 63
		sc[j+4] = b[8+j]&15 | b[j]>>6<<4
		m[j+4] = b[8+j]>>4 | b[4+j]>>6<<4
	}
	return sc, m
}

func clamp(v, low, high int) int { return min(max(v, low), high) }
