package quant

import (
	"encoding/binary"
	"math"
)

// F16ToF32 widens an IEEE 754 binary16 number. It is exact; a NaN keeps its payload and becomes quiet, as the
// hardware's VCVTPH2PS does.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent := uint32(h>>10) & 0x1f
	mantissa := uint32(h & 0x3ff)
	switch exponent {
	case 0: // zero and denormals: mantissa × 2⁻²⁴, and every such number is a normal float32
		return math.Float32frombits(sign | math.Float32bits(float32(mantissa)*0x1p-24))
	case 0x1f:
		if mantissa != 0 {
			mantissa |= 0x200
		}
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | mantissa<<13)
}

// F32ToF16 rounds to the nearest IEEE 754 binary16 number, ties to even; what is too large becomes infinite. A NaN
// becomes the quiet NaN of its sign, 0x7e00 or 0xfe00, as in ggml.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000:
		return sign | 0x7e00
	case bits >= 0x477ff000: // 65520, halfway between the largest number and the next power of two
		return sign | 0x7c00
	case bits < 0x38800000: // below 2⁻¹⁴, the smallest normal number
		// Adding 0.5 leaves the multiples of 2⁻²⁴ in the mantissa, rounded to even by the addition itself.
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-0x3f000000)
	}
	// Rebias the exponent, then round the 13 lost bits to nearest even. A carry into the exponent is right.
	bits -= (127 - 15) << 23
	return sign | uint16((bits+0xfff+(bits>>13)&1)>>13)
}

// BF16ToF32 widens a bfloat16 number, the upper half of a float32. It is exact.
func BF16ToF32(h uint16) float32 {
	return math.Float32frombits(uint32(h) << 16)
}

// F32ToBF16 rounds to the nearest bfloat16 number, ties to even. A NaN keeps the upper part of its payload and becomes
// quiet, as in ggml_compute_fp32_to_bf16.
func F32ToBF16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + (bits>>16)&1) >> 16)
}

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func encodeF32(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = F16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func encodeF16(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToF16(v))
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func encodeBF16(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], F32ToBF16(v))
	}
}

// getF16 reads the little-endian binary16 number at the start of b, as every block's scale is stored.
func getF16(b []byte) float32 { return F16ToF32(binary.LittleEndian.Uint16(b)) }

// putF16 stores v at the start of b, rounded as F32ToF16 rounds.
func putF16(b []byte, v float32) { binary.LittleEndian.PutUint16(b, F32ToF16(v)) }
