package tensor

import (
	"math"
	"math/bits"
)

// SampleOne is the weight of the likeliest token.
const SampleOne = 1 << 40

// SampleWeight is round(eˣ · 2⁴⁰) for x ≤ 0, by a polynomial that every backend evaluates in the same f32 operations,
// none of them contracted, so that all agree to the bit: eˣ = 2ⁿ · 2ᶠ with n = floor(t + ½), f = t - n and t = x · log₂e,
// and 2ᶠ on [-½, ½] by a polynomial of degree 6 in Horner's form (the Taylor series of 2ᶠ; error under 2⁻²² of the
// result). Below 2⁻⁴¹ the weight is 0. NaN gives 0.
func SampleWeight(x float32) uint64 {
	t := float32(x * 1.44269504)
	if !(t > -41) {
		return 0
	}
	n := float32(math.Floor(float64(float32(t + 0.5))))
	f := float32(t - n)
	p := float32(0.00015403530)
	p = float32(float32(p*f) + 0.0013333558)
	p = float32(float32(p*f) + 0.0096181291)
	p = float32(float32(p*f) + 0.055504109)
	p = float32(float32(p*f) + 0.24022651)
	p = float32(float32(p*f) + 0.69314718)
	p = float32(float32(p*f) + 1)
	// p is in [0.70, 1.42] with a 24-bit significand: p · 2⁴⁰ is an integer, shifted right by -n with rounding to nearest.
	w := uint64(float64(p) * SampleOne)
	if n >= 0 {
		return min(w, SampleOne)
	}
	s := uint(-n)
	return min((w+1<<(s-1))>>s, SampleOne)
}

// DrawBits are 64 uniform bits for one draw of one choice at one position: Philox4x32 with 10 rounds (Salmon et al. 2011,
// "Parallel random numbers: as easy as 1, 2, 3"), keyed by the seed, with the counter (position, choice, 0, 0).
func DrawBits(seed uint64, choice uint32, position int32) uint64 {
	c := [4]uint32{uint32(position), choice, 0, 0}
	k0, k1 := uint32(seed), uint32(seed>>32)
	for range 10 {
		h0, l0 := bits.Mul32(0xD2511F53, c[0])
		h1, l1 := bits.Mul32(0xCD9E8D57, c[2])
		c = [4]uint32{h1 ^ c[1] ^ k0, l1, h0 ^ c[3] ^ k1, l0}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return uint64(c[0]) | uint64(c[1])<<32
}

// Draw scales DrawBits to [0, sum).
func Draw(seed uint64, choice uint32, position int32, sum uint64) uint64 {
	hi, _ := bits.Mul64(DrawBits(seed, choice, position), sum)
	return hi
}

// MinPWeight is ceil(p · 2⁴⁰), the least weight that MinP lets stay: exact, since a float32 has 24 bits. NaN is 0.
func MinPWeight(p float32) uint64 {
	if !(p > 0) {
		return 0
	}
	return uint64(math.Ceil(float64(min(p, 1)) * SampleOne))
}

// TopPSum is ceil(p · sum), the sum that TopP's tokens must reach, by an exact integer product. It is sum from 1 on and for
// NaN.
func TopPSum(p float32, sum uint64) uint64 {
	if !(p < 1) {
		return sum
	}
	if p <= 0 {
		return 0
	}
	fraction, exponent := math.Frexp(float64(p))
	hi, lo := bits.Mul64(uint64(fraction*(1<<24)), sum) // p · sum · 2^shift
	shift := uint(24 - exponent)                        // 24 or more
	if shift >= 64 {
		return min(sum, 1) // p < 2⁻³⁹: the likeliest token alone, of weight 2⁴⁰, has enough
	}
	q := hi<<(64-shift) | lo>>shift
	if lo&(1<<shift-1) != 0 {
		q++
	}
	return q
}
