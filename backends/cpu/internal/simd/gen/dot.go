package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A dot kernel multiplies bf16 panels whose k advances in pairs with bf16 activations: one VDPBF16PS per pair. K counts
// values and is even.
func dotBF16(panels, tokens int) {
	tile512(name("dotBF16", panels, tokens), panels, tokens, func(r tileRegs, acc func(p, t int) reg.VecPhysical) {
		w := panels * tokens // number of the first panel's register
		r.loop(r.countPairs, 4, 4, pairBytes, false, func(u int) {
			for p := range panels {
				VMOVUPS(Mem{Base: r.w[p], Disp: pairBytes * u}, zmm[w+p])
			}
			for t := range tokens {
				for p := range panels {
					dpbf16(p*tokens+t, w+p, r.token(t, 4*u))
				}
			}
		})
	})
}

// A q8 kernel multiplies panels of 8-bit blocks (simd.PackQ8 has the layout) with 8-bit activations: per block of 32
// values eight groups of 16 rows × 4 weights, an exact 32-bit sum, then its product with the weights' scales and one fused
// multiply-add by the activation's scale.
//
// The sum begins at magic: as bits of a float32 it then is 1.5·2²³ + sum, without a conversion, and a fused multiply-add
// with −1.5·2²³·scale, which is exact, rounds the product like a multiplication of the converted sum.

const (
	q8Block = 512 // bytes of one panel's integers per block
	q8X     = 64  // bytes of a simd.Q8Block
)

// q8Loop runs body for every block; s indexes the panels' scales, which lie behind their integers: relative to the
// advancing panel pointer they come nearer by 512 − 32 bytes a block.
func (r tileRegs) q8Loop(s reg.GPPhysical, body func()) {
	MOVQ(Mem{Base: r.t, Disp: tileScales}, s)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SHRQ(Imm(5), r.k)
	JEQ(LabelRef("end"))
	Label("loop")
	body()
	r.near(q8Block)
	r.far(len(r.w) * (q8Block + 32))
	r.advance(q8X, q8Block)
	SUBQ(U32(q8Block-32), s)
	DECQ(r.k)
	JNE(LabelRef("loop"))
	Label("end")
}

// dotQ8VNNI uses VPDPBUSD: weights are stored as unsigned, offset by 128, which the activations' blocks undo.
// Panels share broadcast activations, which cuts the loads to little more than half, and tokens are taken in turns of as
// many as registers have sums for beside the results.
func dotQ8VNNI(panels, tokens int, magic Mem) {
	if tokens >= hybridTokens {
		q8Hybrid(panels, tokens, magic)
		return
	}
	tile512(name("dotQ8VNNI", panels, tokens), panels, tokens, func(r tileRegs, acc func(p, t int) reg.VecPhysical) {
		s := reg.R11
		turns := 1
		for (tokens+turns-1)/turns*panels > len(zmm)-panels*tokens-panels-1 {
			turns++
		}
		w, x := zmm[31-panels:31], zmm[31]
		r.q8Loop(s, func() {
			for turn := range turns {
				first, end := turn*tokens/turns, (turn+1)*tokens/turns
				sum := func(p, t int) reg.VecPhysical { return zmm[panels*tokens+p*(end-first)+t-first] }
				for t := first; t < end; t++ {
					for p := range panels {
						VPBROADCASTD(r.token(t, actStart128), sum(p, t))
					}
				}
				for g := range 8 {
					for p, base := range r.w {
						VMOVDQU32(Mem{Base: base, Disp: 64 * g}, w[p])
					}
					for t := first; t < end; t++ {
						if panels == 1 {
							VPDPBUSD_BCST(r.token(t, 4*g), w[0], sum(0, t))
							continue
						}
						VPBROADCASTD(r.token(t, 4*g), x)
						for p := range panels {
							VPDPBUSD(x, w[p], sum(p, t))
						}
					}
				}
				for p, base := range r.w {
					VCVTPH2PS(Mem{Base: base, Index: s, Scale: 1}, x)
					VMULPS_BCST(magic, x, w[0])
					for t := first; t < end; t++ {
						VFMADD213PS(w[0], x, sum(p, t))
						VFMADD231PS_BCST(r.token(t, actScale), sum(p, t), acc(p, t))
					}
				}
			}
		})
	})
}

// q8Hybrid is the same for so many tokens that two panels have sums enough.
func q8Hybrid(panels, tokens int, magic Mem) {
	h, s := beginHybrid(name("dotQ8VNNI", panels, tokens), panels, tokens, 0), reg.R11
	h.r.q8Loop(s, func() {
		h.block(blocks{
			parts: 1,
			start: func(_, t int) Mem { return h.r.token(t, actStart128) },
			code:  func(p, g int, w reg.VecPhysical) { VMOVDQU32(Mem{Base: h.r.w[p], Disp: 64 * g}, w) },
			scales: func(_, p int, w, c reg.VecPhysical) {
				VCVTPH2PS(Mem{Base: h.r.w[p], Index: s, Scale: 1}, w)
				VMULPS_BCST(magic, w, c)
			},
		})
	})
	h.end()
}

// dotQ8AVX2 forms the same integers with VPMADDUBSW on |w| and x·sign(w), whose pairs stay below 2·128·127 < 2¹⁵.
func dotQ8AVX2(tokens int, ones, flip, magic, start Mem) {
	tile256(name("dotQ8AVX2", 1, tokens), 1, tokens, func(r tileRegs, acc func(p, h, t int) reg.VecPhysical) {
		s := reg.R11
		sum := func(t int) reg.VecPhysical { return ymm[2*tokens+t] }
		w, abs, x := ymm[13], ymm[14], ymm[15]
		r.q8Loop(s, func() {
			for h := range 2 {
				for t := range tokens {
					VMOVDQU(start, sum(t))
				}
				for g := range 8 {
					VMOVDQU(Mem{Base: r.w[0], Disp: 64*g + 32*h}, w)
					VPXOR(flip, w, w)
					VPABSB(w, abs)
					for t := range tokens {
						VPBROADCASTD(r.token(t, 4*g), x)
						VPSIGNB(w, x, x)
						VPMADDUBSW(x, abs, x)
						VPMADDWD(ones, x, x)
						VPADDD(x, sum(t), sum(t))
					}
				}
				VCVTPH2PS(Mem{Base: r.w[0], Index: s, Scale: 1, Disp: 16 * h}, w)
				VMULPS(magic, w, abs)
				for t := range tokens {
					VFMADD213PS(abs, w, sum(t))
					VBROADCASTSS(r.token(t, actScale), x)
					VFMADD231PS(x, sum(t), acc(0, h, t))
				}
			}
		})
	})
}
