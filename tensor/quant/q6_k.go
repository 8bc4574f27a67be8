package quant

import "math"

// Q6_K: 256 values in 210 bytes: 128 bytes ql of low four bits, 64 bytes qh of upper two bits, 16 signed scales of
// sub-blocks of 16, and a binary16 d last. value = d·scale·(q-32). Of each 128 values, value i of quarter k (k = 0 … 3,
// 32 values each) has its low bits in ql[i + 32·(k mod 2)], in the low half for k < 2, and its upper bits at bit 2k
// of qh[i].
const (
	bytesQ6_K    = 210
	q6SubBlock   = 16
	q6SubBlocks  = superBlock / q6SubBlock
	q6Zero       = 32 // the q that stands for 0
	q6High       = superBlock / 2
	q6Scales     = q6High + superBlock/4
	q6SuperScale = q6Scales + q6SubBlocks
)

func decodeQ6_K(dst []float32, src []byte) {
	for len(dst) > 0 {
		b := src[:bytesQ6_K]
		d := getF16(b[q6SuperScale:])
		for h := range 2 { // halves of 128 values
			x := dst[128*h:][:128]
			ql, qh, sc := b[64*h:][:64], b[q6High+32*h:][:32], b[q6Scales+8*h:][:8]
			for i := range 32 {
				low, high, s := ql[i], ql[i+32], i/q6SubBlock
				x[i] = d * float32(int8(sc[s])) * float32(int(low&15|qh[i]&3<<4)-q6Zero)
				x[i+32] = d * float32(int8(sc[s+2])) * float32(int(high&15|qh[i]>>2&3<<4)-q6Zero)
				x[i+64] = d * float32(int8(sc[s+4])) * float32(int(low>>4|qh[i]>>4&3<<4)-q6Zero)
				x[i+96] = d * float32(int8(sc[s+6])) * float32(int(high>>4|qh[i]>>6<<4)-q6Zero)
			}
		}
		dst, src = dst[superBlock:], src[bytesQ6_K:]
	}
}

// encodeQ6_K is quantize_row_q6_K_ref.
func encodeQ6_K(dst []byte, src []float32) {
	for len(src) > 0 {
		encodeBlockQ6_K(dst[:bytesQ6_K], (*[superBlock]float32)(src))
		src, dst = src[superBlock:], dst[bytesQ6_K:]
	}
}

func encodeBlockQ6_K(b []byte, x *[superBlock]float32) {
	var q [superBlock]uint8
	var scales [q6SubBlocks]float32
	var maxScale, maxMagnitude float32
	for j := range q6SubBlocks {
		scales[j] = fitScale((*[q6SubBlock]float32)(x[q6SubBlock*j:]), (*[q6SubBlock]uint8)(q[q6SubBlock*j:]))
		if a := float32(math.Abs(float64(scales[j]))); a > maxMagnitude {
			maxMagnitude, maxScale = a, scales[j]
		}
	}
	if maxMagnitude < tiny {
		clear(b)
		return
	}

	iscale := -128 / maxScale
	putF16(b[q6SuperScale:], 1/iscale)
	d := getF16(b[q6SuperScale:])
	for j := range q6SubBlocks {
		sc := int8(min(127, nearest(iscale*scales[j])))
		b[q6Scales+j] = uint8(sc)
		// Round anew against the scale as it is stored. Where that is 0 the q do not matter: they stay as the search
		// left them, for files that equal ggml's.
		scale := d * float32(sc)
		if scale == 0 {
			continue
		}
		for i := q6SubBlock * j; i < q6SubBlock*(j+1); i++ {
			q[i] = uint8(q6Zero + clamp(nearest(x[i]/scale), -q6Zero, q6Zero-1))
		}
	}

	for h := range 2 {
		q, ql, qh := q[128*h:], b[64*h:], b[q6High+32*h:]
		for i := range 32 {
			q0, q1, q2, q3 := q[i], q[i+32], q[i+64], q[i+96]
			ql[i] = q0&15 | q2<<4
			ql[i+32] = q1&15 | q3<<4
			qh[i] = q0>>4 | q1>>4<<2 | q2>>4<<4 | q3>>4<<6
		}
	}
}

// fitScale finds the scale such that scale·(q-32) fits the sub-block x with the least error weighted by x², and leaves
// the q of the best fit in best: make_qx_quants of ggml-quants.c with nmax 32 and rmse_type 1. It tries 19 scales
// that map the value of largest magnitude to -(32 + k/10), k = -9 … 9.
func fitScale(x *[q6SubBlock]float32, best *[q6SubBlock]uint8) float32 {
	extreme := largest(x[:])
	if float32(math.Abs(float64(extreme))) < tiny {
		return 0
	}
	try := func(iscale float32) (sumLX, sumL2 float32) {
		for _, v := range x {
			l := float32(clamp(nearest(iscale*v), -q6Zero, q6Zero-1))
			w := v * v
			sumLX += float32(w * v * l)
			sumL2 += float32(w * l * l)
		}
		return sumLX, sumL2
	}
	keep := func(iscale float32) {
		for i, v := range x {
			best[i] = uint8(q6Zero + clamp(nearest(iscale*v), -q6Zero, q6Zero-1))
		}
	}

	iscale := -q6Zero / extreme
	keep(iscale)
	sumLX, sumL2 := try(iscale)
	var scale float32
	if sumL2 != 0 {
		scale = sumLX / sumL2
	}
	bestFit := scale * sumLX
	for k := -9; k <= 9; k++ {
		if k == 0 {
			continue
		}
		iscale := -(q6Zero + float32(0.1*float32(k))) / extreme
		sumLX, sumL2 := try(iscale)
		if sumL2 > 0 && sumLX*sumLX > bestFit*sumL2 {
			keep(iscale)
			scale = sumLX / sumL2
			bestFit = scale * sumLX
		}
	}
	return scale
}
