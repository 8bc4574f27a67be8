package quant

// Q8_0: 32 values in 34 bytes: a binary16 scale d, then 32 signed bytes q. value = d·q, with d = max|x|/127.
const (
	smallBlock = 32 // values per block of every format that is not a K-quant
	bytesQ8_0  = 34
)

func decodeQ8_0(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:smallBlock], src[:bytesQ8_0]
		d := getF16(b)
		for i, q := range b[2:] {
			x[i] = float32(int8(q)) * d
		}
		dst, src = dst[smallBlock:], src[bytesQ8_0:]
	}
}

// encodeQ8_0 is quantize_row_q8_0_ref.
func encodeQ8_0(dst []byte, src []float32) {
	for len(src) > 0 {
		x, b := src[:smallBlock], dst[:bytesQ8_0]
		d := maxAbs(x) / 127
		putF16(b, d)
		id := inverse(d)
		for i, v := range x {
			b[2+i] = uint8(roundAway(v * id))
		}
		src, dst = src[smallBlock:], dst[bytesQ8_0:]
	}
}

// maxAbs is the largest magnitude in x, NaN passed over.
func maxAbs(x []float32) float32 {
	var m float32
	for _, v := range x {
		if v < 0 {
			v = -v
		}
		if v > m {
			m = v
		}
	}
	return m
}

// inverse is 1/d, or 0 where d is 0: a block of zeros.
func inverse(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// roundAway rounds to the nearest integer in [-128, 127], ties away from zero, as C's roundf. NaN gives 0, so that the
// result does not depend on how a machine converts it.
func roundAway(v float32) int8 {
	// In float64 adding a half is exact, and the conversion cuts towards zero.
	switch {
	case v >= 0:
		return int8(min(float64(v)+0.5, 127))
	case v < 0:
		return int8(max(float64(v)-0.5, -128))
	}
	return 0
}
