package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// peaksAhead is how far ahead logits are asked for: the first pass over a row reads them from memory, and computes too much
// for the processor to look ahead far enough itself.
const peaksAhead = 4096

const peaksDoc = " writes, for each block of 256 values, the largest, m, and Σ e^(x−m); NaNs are passed over."

func (c samplingConsts) peaks512() {
	TEXT("peaks512", NOSPLIT, "func(x *float32, blocks int, peak, sum *float32)")
	Pragma("noescape")
	Doc("peaks512" + peaksDoc)
	r := args("x", "blocks", "peak", "sum")
	log2e, under, infinity := zmm[16], zmm[17], zmm[18]
	poly := zmm[20:27]
	VBROADCASTSS(c.log2e, log2e)
	VBROADCASTSS(c.under, under)
	VBROADCASTSS(c.infinity, infinity)
	for i, m := range c.poly {
		VBROADCASTSS(m, poly[i])
	}
	reduce := func(y, x, t reg.VecPhysical, i int, op func(a, b, c Op)) {
		VEXTRACTF64X4(Imm(1), zmm[i], y)
		op(y, ymm[i], ymm[i])
		horizontal(ymm[i], x, t, op)
	}
	countDown(r[1], 1, func() {
		VMOVAPS(infinity, zmm[0])
		VMOVAPS(infinity, zmm[1])
		for i := range sampleBlock / 16 {
			VMOVUPS(Mem{Base: r[0], Disp: 64 * i}, zmm[2+i%4])
			PREFETCHT0(Mem{Base: r[0], Disp: 64*i + peaksAhead})
			VMAXPS(zmm[i%2], zmm[2+i%4], zmm[i%2]) // the second source comes through where the first is a NaN
		}
		VMAXPS(zmm[1], zmm[0], zmm[0])
		reduce(ymm[1], xmm[0], xmm[1], 0, max_)
		VMOVSS(xmm[0], Mem{Base: r[2]})
		VBROADCASTSS(xmm[0], zmm[0])
		for i := range 2 {
			VPXORD(zmm[14+i], zmm[14+i], zmm[14+i])
		}
		const group = 4 // chains side by side
		for i := 0; i < sampleBlock/16; i += group {
			each := func(f func(t, n, p reg.VecPhysical, k Op, j int)) {
				for j := range group {
					f(zmm[1+j], zmm[5+j], zmm[9+j], []Op{reg.K1, reg.K2, reg.K3, reg.K4}[j], j)
				}
			}
			each(func(t, n, p reg.VecPhysical, k Op, j int) {
				VMOVUPS(Mem{Base: r[0], Disp: 64 * (i + j)}, t)
				VSUBPS(zmm[0], t, t)
				VMULPS(log2e, t, t)
				VCMPPS(Imm(29), under, t, k) // ≥, not for NaNs
				VCVTPS2DQ(t, n)
				VCVTDQ2PS(n, p)
				VSUBPS(p, t, t)
			})
			each(func(t, n, p reg.VecPhysical, _ Op, _ int) { VMOVAPS(poly[0], p) })
			for _, a := range poly[1:] {
				each(func(t, n, p reg.VecPhysical, _ Op, _ int) { VFMADD213PS(a, t, p) })
			}
			each(func(t, n, p reg.VecPhysical, k Op, j int) {
				VPSLLD(Imm(23), n, n)
				VPADDD(n, p, p)
				VADDPS(p, zmm[14+j%2], k, zmm[14+j%2])
			})
		}
		VADDPS(zmm[15], zmm[14], zmm[0])
		reduce(ymm[1], xmm[0], xmm[1], 0, add)
		VMOVSS(xmm[0], Mem{Base: r[3]})
		ADDQ(U32(4*sampleBlock), r[0])
		ADDQ(Imm(4), r[2])
		ADDQ(Imm(4), r[3])
	})
	done()
}

func (c samplingConsts) peaks256() {
	TEXT("peaks256", NOSPLIT, "func(x *float32, blocks int, peak, sum *float32)")
	Pragma("noescape")
	Doc("peaks256" + peaksDoc)
	r := args("x", "blocks", "peak", "sum")
	countDown(r[1], 1, func() {
		VMOVUPS(c.infinity, ymm[0])
		VMOVUPS(c.infinity, ymm[1])
		for i := range sampleBlock / 8 {
			VMOVUPS(Mem{Base: r[0], Disp: 32 * i}, ymm[2+i%4])
			if i%2 == 0 {
				PREFETCHT0(Mem{Base: r[0], Disp: 32*i + peaksAhead})
			}
			VMAXPS(ymm[i%2], ymm[2+i%4], ymm[i%2])
		}
		VMAXPS(ymm[1], ymm[0], ymm[0])
		horizontal(ymm[0], xmm[0], xmm[1], max_)
		VMOVSS(xmm[0], Mem{Base: r[2]})
		VBROADCASTSS(xmm[0], ymm[0])
		for i := range 3 {
			VXORPS(ymm[13+i], ymm[13+i], ymm[13+i])
		}
		each := func(n int, f func(t, n, p, k reg.VecPhysical, j int)) {
			for j := range n {
				f(ymm[1+j], ymm[4+j], ymm[7+j], ymm[10+j], j)
			}
		}
		const group = 3
		for i := 0; i < sampleBlock/8; i += group {
			n := min(group, sampleBlock/8-i)
			each(n, func(t, n, p, k reg.VecPhysical, j int) {
				VMOVUPS(Mem{Base: r[0], Disp: 32 * (i + j)}, t)
				VSUBPS(ymm[0], t, t)
				VMULPS(c.log2e, t, t)
				VCMPPS(Imm(29), c.under, t, k)
				VCVTPS2DQ(t, n)
				VCVTDQ2PS(n, p)
				VSUBPS(p, t, t)
				VMOVUPS(c.poly[0], p)
			})
			for _, a := range c.poly[1:] {
				each(n, func(t, n, p, _ reg.VecPhysical, _ int) { VFMADD213PS(a, t, p) })
			}
			each(n, func(t, n, p, k reg.VecPhysical, j int) {
				VPSLLD(Imm(23), n, n)
				VPADDD(n, p, p)
				VANDPS(k, p, p)
				VADDPS(p, ymm[13+j], ymm[13+j])
			})
		}
		VADDPS(ymm[14], ymm[13], ymm[0])
		VADDPS(ymm[15], ymm[0], ymm[0])
		horizontal(ymm[0], xmm[0], xmm[1], add)
		VMOVSS(xmm[0], Mem{Base: r[3]})
		ADDQ(U32(4*sampleBlock), r[0])
		ADDQ(Imm(4), r[2])
		ADDQ(Imm(4), r[3])
	})
	done()
}
