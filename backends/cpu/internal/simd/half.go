package simd

import "math"

// BF16 widens a bfloat16.
func BF16(v uint16) float32 { return math.Float32frombits(uint32(v) << 16) }

// ToBF16 rounds to nearest, ties to even; a NaN becomes 0x7fc0.
func ToBF16(v float32) uint16 {
	if v != v {
		return 0x7fc0
	}
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// F16 widens an IEEE half.
func F16(v uint16) float32 {
	sign, exp, frac := uint32(v>>15)<<31, uint32(v>>10&31), uint32(v&1023)
	switch exp {
	case 0: // zero and subnormal: frac · 2⁻²⁴ is exact
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*(1.0/(1<<24))))
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// ToF16 rounds to nearest, ties to even; what is too large becomes an infinity, a NaN a quiet NaN.
func ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign, a := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case a > 0x7f800000:
		return sign | 0x7e00 | uint16(a>>13&0x3ff)
	case a >= 0x47800000: // 65536 and above
		return sign | 0x7c00
	case a < 0x38800000: // below 2⁻¹⁴: a multiple of 2⁻²⁴, rounded by adding 0.5 at that place
		f := math.Float32frombits(a) + 0.5
		return sign | uint16(math.Float32bits(f)-0x3f000000)
	}
	a += 0xfff + a>>13&1
	return sign | uint16((a-0x38000000)>>13)
}
