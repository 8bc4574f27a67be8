package quant

import "encoding/binary"

// Q5_0: 32 values in 22 bytes: a binary16 scale d, a little-endian uint32 whose bit i is the fifth bit of value i, then
// the low four bits as in Q4_0. value = d·(q-16).
//
// Q5_1: 32 values in 24 bytes: binary16 scale d and minimum m, then fifth bits and low bits as above. value = d·q + m.
const (
	bytesQ5_0 = 22
	bytesQ5_1 = 24
)

func decodeQ5_0(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:smallBlock], src[:bytesQ5_0]
		d := getF16(b)
		fifth := binary.LittleEndian.Uint32(b[2:])
		for i, q := range b[6:] {
			low := uint32(q&15) | fifth>>i&1<<4
			high := uint32(q>>4) | fifth>>(i+half)&1<<4
			x[i] = float32(int(low)-16) * d
			x[i+half] = float32(int(high)-16) * d
		}
		dst, src = dst[smallBlock:], src[bytesQ5_0:]
	}
}

// encodeQ5_0 is quantize_row_q5_0_ref.
func encodeQ5_0(dst []byte, src []float32) {
	for len(src) > 0 {
		x, b := src[:smallBlock], dst[:bytesQ5_0]
		d := largest(x) / -16
		putF16(b, d)
		id := inverse(d)
		var q [smallBlock]uint8
		for i, v := range x {
			q[i] = floorTo(float32(v*id)+16.5, 31)
		}
		packFiveBits(b[2:], &q)
		src, dst = src[smallBlock:], dst[bytesQ5_0:]
	}
}

func decodeQ5_1(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:smallBlock], src[:bytesQ5_1]
		d, m := getF16(b), getF16(b[2:])
		fifth := binary.LittleEndian.Uint32(b[4:])
		for i, q := range b[8:] {
			low := uint32(q&15) | fifth>>i&1<<4
			high := uint32(q>>4) | fifth>>(i+half)&1<<4
			x[i] = float32(float32(low)*d) + m
			x[i+half] = float32(float32(high)*d) + m
		}
		dst, src = dst[smallBlock:], src[bytesQ5_1:]
	}
}

// encodeQ5_1 is quantize_row_q5_1_ref.
func encodeQ5_1(dst []byte, src []float32) {
	for len(src) > 0 {
		x, b := src[:smallBlock], dst[:bytesQ5_1]
		low, high := extremes(x)
		d := (high - low) / 31
		putF16(b, d)
		putF16(b[2:], low)
		id := inverse(d)
		var q [smallBlock]uint8
		for i, v := range x {
			q[i] = floorTo(float32((v-low)*id)+0.5, 31)
		}
		packFiveBits(b[4:], &q)
		src, dst = src[smallBlock:], dst[bytesQ5_1:]
	}
}

// packFiveBits stores the fifth bits of q, then their low halves in pairs.
func packFiveBits(b []byte, q *[smallBlock]uint8) {
	var fifth uint32
	for i, v := range q {
		fifth |= uint32(v>>4) << i
	}
	binary.LittleEndian.PutUint32(b, fifth)
	for i := range half {
		b[4+i] = q[i]&15 | q[i+half]<<4
	}
}
