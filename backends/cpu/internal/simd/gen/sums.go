package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The sums of weights are sums of integers. AVX2 has the integers in 64 bits. AVX-512 never makes them: it splits
// floats whose last places are those of the integers, and keeps either part's sum in floats so large that their own last
// place is the part's, rounding down.

// sumsText opens a kernel that sums weights by blocks and answers its registers for p, x, blocks, totals and above.
func sumsText(name string, both bool) []reg.GPPhysical {
	params, doc, regs := "totals *uint64", "the sum of the weights from From on", []string{"p", "x", "blocks", "totals"}
	if both {
		params, doc, regs = "totals, above *uint64", "the sum of all weights and that of those from From on", append(regs, "above")
	}
	TEXT(name, NOSPLIT, fmt.Sprintf("func(p *byte, x *float32, blocks int, %s)", params))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s writes, for each block of %d values, %s.", name, sampleBlock, doc))
	r := args(regs...)
	MOVL(Mem{Base: r[0], Disp: weighTemperature}, reg.R9L) // a division by 1 changes nothing
	SUBL(U32(math.Float32bits(1)), reg.R9L)
	return r
}

// sums512 works on 64 values at a time in four chains.
//
// With w a weight as an integer, q = w · 2⁻²⁰ before it is rounded, in f32, and ½ of w's last place, 2⁻²¹, added, w is
// q · 2²⁰ rounded down. Half is added rounding down: where that loses bits they lie below w's last place, since what the
// sum's exponent allows is finer than this for all q below 2³, and larger ones have no bits there to begin with and stay
// what they are.
//
// The whole part of q, at most 2²⁰, is summed from 2²³ on, where floats are integers up to 2²⁴: eight fit, and rounding
// down takes the whole part by itself. The fraction, below 1, is summed from 8 on, where the last place is 2⁻²⁰ up to
// 16: eight fit, and rounding down takes what is in w. So every lane has two pairs of sums for a block of 256; their bits,
// read as integers, count their last places.
func (c samplingConsts) sums512(both bool) {
	name := map[bool]string{false: "sum512", true: "sums512"}[both]
	r := sumsText(name, both)
	const chains = 4
	total, above := zmm[12:16], zmm[16:20] // two sums of whole parts, two of fractions
	peak, log2e, from, magic, half := zmm[20], zmm[21], zmm[22], zmm[23], zmm[24]
	poly := zmm[25:32]
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighFrom}, from)
	VMULPS_BCST(c.toWhole, from, from)
	VBROADCASTSS(c.log2e, log2e)
	VBROADCASTSS(c.sumMagic, magic)
	VBROADCASTSS(c.sumHalf, half)
	for i, m := range c.poly {
		VBROADCASTSS(m, poly[i])
	}
	group := func(g int) {
		each := func(f func(j int, x, n, p reg.VecPhysical, k Op)) {
			for j := range chains {
				f(j, zmm[j], zmm[4+j], zmm[8+j], []Op{reg.K1, reg.K2, reg.K3, reg.K4}[j])
			}
		}
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VMOVUPS(Mem{Base: r[1], Disp: 64 * (chains*g + j)}, x)
		})
		whole := fmt.Sprintf("whole%d", g)
		TESTQ(reg.R9, reg.R9)
		JEQ(LabelRef(whole))
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VDIVPS_BCST(Mem{Base: r[0], Disp: weighTemperature}, x, x)
		})
		Label(whole)
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VSUBPS(peak, x, x)
			VMULPS(log2e, x, x)
			VCMPPS_BCST(Imm(30), c.least, x, k) // >, not for NaNs
			VADDPS_BCST(c.half, x, n)
			VADDPS_RD_SAE(magic, n, n) // the integer in the last places
			VSUBPS(magic, n, p)
			VSUBPS(p, x, x)
		})
		each(func(j int, x, n, p reg.VecPhysical, k Op) { VMULPS(poly[0], x, p) })
		for i, a := range poly[1:] {
			each(func(j int, x, n, p reg.VecPhysical, k Op) {
				VADDPS(a, p, p)
				if i < len(poly)-2 {
					VMULPS(x, p, p)
				}
			})
		}
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VPSLLD(Imm(23), n, n) // 2ⁿ⁺²⁰
			VFMADD213PS_RD_SAE_Z(half, n, k, p)
			VREDUCEPS(Imm(9), p, x) // what rounding down leaves
			add := func(sums []reg.VecPhysical, k ...Op) {
				wholes, fractions := sums[j%2], sums[2+j%2]
				VADDPS_RD_SAE(append(append([]Op{p, wholes}, k...), wholes)...)
				VADDPS_RD_SAE(append(append([]Op{x, fractions}, k...), fractions)...)
			}
			if both {
				add(total)
				VCMPPS(Imm(29), from, p, k)
				add(above, k)
			} else {
				VCMPPS(Imm(29), from, p, k)
				add(total, k)
			}
		})
	}
	countDown(r[2], 1, func() {
		for i := range 4 {
			start := []Mem{c.wholes, c.fractions}[i/2]
			VBROADCASTSS(start, total[i])
			if both {
				VBROADCASTSS(start, above[i])
			}
		}
		for g := range sampleBlock / 16 / chains {
			group(g)
		}
		// The sum of a block's whole parts is below 2²⁹, and so is that of its fractions in units of 2⁻²⁰: in each 128 bits,
		// those of total and then those of above.
		pairs := func(sums []reg.VecPhysical, to, tmp reg.VecPhysical) {
			VPADDD(sums[1], sums[0], sums[0])
			VPADDD(sums[3], sums[2], sums[2])
			VPUNPCKLDQ(sums[2], sums[0], to)
			VPUNPCKHDQ(sums[2], sums[0], tmp)
			VPADDD(tmp, to, to)
		}
		pairs(total, zmm[0], zmm[2])
		if both {
			pairs(above, zmm[1], zmm[2])
			VPUNPCKHQDQ(zmm[1], zmm[0], zmm[2])
			VPUNPCKLQDQ(zmm[1], zmm[0], zmm[0])
		} else {
			VPSHUFD(Imm(0x4e), zmm[0], zmm[2])
		}
		VPADDD(zmm[2], zmm[0], zmm[0])
		VEXTRACTI64X4(Imm(1), zmm[0], ymm[1])
		VPADDD(ymm[1], ymm[0], ymm[0])
		VEXTRACTI128(Imm(1), ymm[0], xmm[1])
		VPADDD(xmm[1], xmm[0], xmm[0])
		VPSUBD(c.starts, xmm[0], xmm[0])
		VPMOVZXDQ(xmm[0], ymm[0])
		VPSLLVQ(c.wholeBits, ymm[0], ymm[0])
		VPSHUFD(Imm(0x4e), ymm[0], ymm[1])
		VPADDQ(ymm[1], ymm[0], ymm[0])
		VMOVQ(xmm[0], Mem{Base: r[3]})
		if both {
			VEXTRACTI128(Imm(1), ymm[0], xmm[0])
			VMOVQ(xmm[0], Mem{Base: r[4]})
			ADDQ(Imm(8), r[4])
		}
		ADDQ(Imm(8), r[3])
		ADDQ(U32(4*sampleBlock), r[1])
	})
	done()
}

// sums256 takes 8 values at a time, the even and the odd places apart: sums do not care about order.
func (c samplingConsts) sums256(both bool) {
	name := map[bool]string{false: "sum256", true: "sums256"}[both]
	r := sumsText(name, both)
	temperature, peak, from := ymm[15], ymm[14], ymm[13]
	totals, aboves := []reg.VecPhysical{ymm[12], ymm[11]}, []reg.VecPhysical{ymm[10], ymm[9]}
	VBROADCASTSS(Mem{Base: r[0], Disp: weighTemperature}, temperature)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	VCVTTSS2SIQ(Mem{Base: r[0], Disp: weighFrom}, reg.RAX)
	DECQ(reg.RAX) // AVX2 compares by > alone
	VMOVQ(reg.RAX, xmm[13])
	VPBROADCASTQ(xmm[13], from)
	x, n, p, k := ymm[0], ymm[1], ymm[2], ymm[3]
	countDown(r[2], 1, func() {
		for i := range 2 {
			VPXOR(totals[i], totals[i], totals[i])
			if both {
				VPXOR(aboves[i], aboves[i], aboves[i])
			}
		}
		XORQ(reg.RAX, reg.RAX)
		Label("values")
		c.weights256(Mem{Base: r[1], Index: reg.RAX, Scale: 4}, temperature, peak, x, n, p, k, "whole")
		a, b, s := ymm[4], ymm[5], ymm[6]
		VMOVDQU(c.sixteen, k)
		VPSUBD(n, k, n)
		VPSLLQ(Imm(32), p, a)
		VPAND(c.low, n, s)
		VPSRLVQ(s, a, a)
		VPAND(c.high, p, b)
		VPSRLQ(Imm(32), n, s)
		VPSRLVQ(s, b, b)
		for i, w := range []reg.VecPhysical{a, b} {
			if both {
				VPADDQ(w, totals[i], totals[i])
			}
			VPCMPGTQ(from, w, s)
			VPAND(s, w, w)
			sum := totals[i]
			if both {
				sum = aboves[i]
			}
			VPADDQ(w, sum, sum)
		}
		ADDQ(Imm(8), reg.RAX)
		CMPQ(reg.RAX, U32(sampleBlock))
		JLT(LabelRef("values"))
		store := func(sums []reg.VecPhysical, to reg.GPPhysical) {
			VPADDQ(sums[1], sums[0], ymm[0])
			VEXTRACTI128(Imm(1), ymm[0], xmm[1])
			VPADDQ(xmm[1], xmm[0], xmm[0])
			VPSHUFD(Imm(0x4e), xmm[0], xmm[1])
			VPADDQ(xmm[1], xmm[0], xmm[0])
			VMOVQ(xmm[0], Mem{Base: to})
			ADDQ(Imm(8), to)
		}
		store(totals, r[3])
		if both {
			store(aboves, r[4])
		}
		ADDQ(U32(4*sampleBlock), r[1])
	})
	done()
}
