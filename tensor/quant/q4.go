package quant

// Q4_0: 32 values in 18 bytes: a binary16 scale d, then 16 bytes of two 4-bit q each, value i in the low half of byte i
// and value i+16 in its high half. value = d·(q-8). The value of largest magnitude maps to q = 0 exactly, so d has the
// opposite sign of it.
//
// Q4_1: 32 values in 20 bytes: binary16 scale d and minimum m, then q as above. value = d·q + m.
const (
	bytesQ4_0 = 18
	bytesQ4_1 = 20
	half      = smallBlock / 2
)

func decodeQ4_0(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:smallBlock], src[:bytesQ4_0]
		d := getF16(b)
		for i, q := range b[2:] {
			x[i] = float32(int(q&15)-8) * d
			x[i+half] = float32(int(q>>4)-8) * d
		}
		dst, src = dst[smallBlock:], src[bytesQ4_0:]
	}
}

// encodeQ4_0 is quantize_row_q4_0_ref.
func encodeQ4_0(dst []byte, src []float32) {
	for len(src) > 0 {
		x, b := src[:smallBlock], dst[:bytesQ4_0]
		d := largest(x) / -8
		putF16(b, d)
		id := inverse(d)
		for i := range half {
			low := floorTo(float32(x[i]*id)+8.5, 15)
			high := floorTo(float32(x[i+half]*id)+8.5, 15)
			b[2+i] = low | high<<4
		}
		src, dst = src[smallBlock:], dst[bytesQ4_0:]
	}
}

func decodeQ4_1(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:smallBlock], src[:bytesQ4_1]
		d, m := getF16(b), getF16(b[2:])
		for i, q := range b[4:] {
			x[i] = float32(float32(q&15)*d) + m
			x[i+half] = float32(float32(q>>4)*d) + m
		}
		dst, src = dst[smallBlock:], src[bytesQ4_1:]
	}
}

// encodeQ4_1 is quantize_row_q4_1_ref.
func encodeQ4_1(dst []byte, src []float32) {
	for len(src) > 0 {
		x, b := src[:smallBlock], dst[:bytesQ4_1]
		low, high := extremes(x)
		d := (high - low) / 15
		putF16(b, d)
		putF16(b[2:], low)
		id := inverse(d)
		for i := range half {
			l := floorTo(float32((x[i]-low)*id)+0.5, 15)
			h := floorTo(float32((x[i+half]-low)*id)+0.5, 15)
			b[4+i] = l | h<<4
		}
		src, dst = src[smallBlock:], dst[bytesQ4_1:]
	}
}

// largest is the value of largest magnitude in x with its sign, the first of equals; 0 if there is none but NaN.
func largest(x []float32) float32 {
	var magnitude, value float32
	for _, v := range x {
		a := v
		if a < 0 {
			a = -a
		}
		if a > magnitude {
			magnitude, value = a, v
		}
	}
	return value
}

// extremes are the smallest and the largest value in x.
func extremes(x []float32) (low, high float32) {
	low, high = x[0], x[0]
	for _, v := range x[1:] {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// floorTo cuts v to an integer in [0, limit]. NaN gives 0, so that the result does not depend on how a machine
// converts it.
func floorTo(v float32, limit uint8) uint8 {
	switch {
	case v >= float32(limit):
		return limit
	case v > 0:
		return uint8(v)
	}
	return 0
}
