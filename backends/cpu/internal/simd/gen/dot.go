package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A dot kernel multiplies bf16 panels whose k advances in pairs (16 rows of 2 values: 64 bytes) with bf16 activations:
// one VDPBF16PS per pair. K counts values and is even.
func dotBF16(panels, tokens int) {
	r := begin(name("dotBF16", panels, tokens), panels, tokens)
	acc := func(p, t int) int { return p*tokens + t }
	w := func(p int) int { return panels*tokens + p }
	r.initC("c", tokens, func(t int) {
		for p := range panels {
			VPXORD(zmm[acc(p, t)], zmm[acc(p, t)], zmm[acc(p, t)])
		}
	}, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(at(row, 64*p), zmm[acc(p, t)])
		}
	})
	pair := func(u int) {
		for p := range panels {
			VMOVUPS(Mem{Base: r.w[p], Disp: 64 * u}, zmm[w(p)])
		}
		for t := range tokens {
			for p := range panels {
				dpbf16(acc(p, t), w(p), r.x[t], r.i, 4*u)
			}
		}
	}
	const unroll = 4 // pairs
	XORQ(r.i, r.i)   // byte offset in an activation row
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SHLQ(Imm(1), r.k)
	SUBQ(Imm(4*unroll), r.k)
	JLT(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		pair(u)
	}
	for p := range panels {
		PREFETCHT0(Mem{Base: r.w[p], Disp: prefetchAhead})
		PREFETCHT0(Mem{Base: r.w[p], Disp: prefetchAhead + 64})
		PREFETCHT0(Mem{Base: r.w[p], Disp: prefetchAhead + 128})
		PREFETCHT0(Mem{Base: r.w[p], Disp: prefetchAhead + 192})
		ADDQ(U32(64*unroll), r.w[p])
	}
	ADDQ(Imm(4*unroll), r.i)
	CMPQ(r.i, r.k)
	JLE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(4*unroll), r.k)
	JMP(LabelRef("test"))
	Label("one")
	pair(0)
	for p := range panels {
		ADDQ(Imm(64), r.w[p])
	}
	ADDQ(Imm(4), r.i)
	Label("test")
	CMPQ(r.i, r.k)
	JLT(LabelRef("one"))
	r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(zmm[acc(p, t)], at(row, 64*p))
		}
	})
	VZEROUPPER()
	RET()
}

// prefetchAhead is how many bytes before their use the weights of a panel are asked for.
const prefetchAhead = 1024

// A q8 kernel multiplies panels of 8-bit blocks (simd.PackQ8 has the layout) with 8-bit activations: per block of 32
// values eight groups of 16 rows × 4 weights, an exact 32-bit sum, then one multiplication by the weights' scales and one
// fused multiply-add by the activation's scale.

const (
	q8Block = 512 // bytes of one panel's integers per block
	q8X     = 40  // bytes of an activation block: 32 integers, f32 scale, i32 −128·Σ
)

// q8Loop runs body for every block; s indexes the panels' scales, which follow their integers: relative to the
// advancing panel pointer they come nearer by 512 − 32 bytes a block.
func (r tileRegs) q8Loop(s reg.GPPhysical, body func()) {
	XORQ(r.i, r.i)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	MOVQ(r.k, s)
	SHLQ(Imm(4), s) // 16 rows: 16·K bytes of integers
	SHRQ(Imm(5), r.k)
	IMUL3Q(Imm(q8X), r.k, r.k)
	JMP(LabelRef("test"))
	Label("loop")
	body()
	for _, w := range r.w {
		ADDQ(U32(q8Block), w)
	}
	SUBQ(U32(q8Block-32), s)
	ADDQ(Imm(q8X), r.i)
	Label("test")
	CMPQ(r.i, r.k)
	JLT(LabelRef("loop"))
}

// dotQ8VNNI uses VPDPBUSD: weights are stored as unsigned, offset by 128, which the −128·Σ of the activations undoes.
func dotQ8VNNI(panels, tokens int) {
	r := begin(name("dotQ8VNNI", panels, tokens), panels, tokens)
	s := r.t // reloaded for the epilogue
	acc := func(p, t int) reg.VecPhysical { return zmm[p*tokens+t] }
	sum := func(t int) reg.VecPhysical { return zmm[panels*tokens+t] }
	w, scale := zmm[30], zmm[31]
	r.initC("c", tokens, func(t int) {
		for p := range panels {
			VPXORD(acc(p, t), acc(p, t), acc(p, t))
		}
	}, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(at(row, 64*p), acc(p, t))
		}
	})
	r.q8Loop(s, func() {
		for p := range panels {
			for t := range tokens {
				VPBROADCASTD(Mem{Base: r.x[t], Index: r.i, Scale: 1, Disp: 36}, sum(t))
			}
			for g := range 8 {
				VMOVDQU32(Mem{Base: r.w[p], Disp: 64 * g}, w)
				for t := range tokens {
					VPDPBUSD_BCST(Mem{Base: r.x[t], Index: r.i, Scale: 1, Disp: 4 * g}, w, sum(t))
				}
			}
			if tokens == 1 {
				for line := range 8 {
					PREFETCHT0(Mem{Base: r.w[p], Disp: prefetchAhead + 64*line})
				}
			}
			VCVTPH2PS(Mem{Base: r.w[p], Index: s, Scale: 1}, scale)
			for t := range tokens {
				VCVTDQ2PS(sum(t), sum(t))
				VMULPS(scale, sum(t), sum(t))
				VFMADD231PS_BCST(Mem{Base: r.x[t], Index: r.i, Scale: 1, Disp: 32}, sum(t), acc(p, t))
			}
		}
	})
	Load(Param("t"), r.t)
	r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(acc(p, t), at(row, 64*p))
		}
	})
	VZEROUPPER()
	RET()
}

// dotQ8AVX2 forms the same integers with VPMADDUBSW on |w| and x·sign(w), whose pairs stay below 2·128·127 < 2¹⁵.
func dotQ8AVX2(tokens int, ones, flip Mem) {
	r := begin(name("dotQ8AVX2", 1, tokens), 1, tokens)
	s := r.t
	acc := func(h, t int) reg.VecPhysical { return ymm[2*t+h] }
	sum := func(t int) reg.VecPhysical { return ymm[2*tokens+t] }
	w, abs, x := ymm[13], ymm[14], ymm[15]
	r.initC("c", tokens, func(t int) {
		for h := range 2 {
			VXORPS(acc(h, t), acc(h, t), acc(h, t))
		}
	}, func(t int, row Mem) {
		for h := range 2 {
			VMOVUPS(at(row, 32*h), acc(h, t))
		}
	})
	r.q8Loop(s, func() {
		for h := range 2 {
			for t := range tokens {
				VPXOR(sum(t), sum(t), sum(t))
			}
			for g := range 8 {
				VMOVDQU(Mem{Base: r.w[0], Disp: 64*g + 32*h}, w)
				VPXOR(flip, w, w)
				VPABSB(w, abs)
				for t := range tokens {
					VPBROADCASTD(Mem{Base: r.x[t], Index: r.i, Scale: 1, Disp: 4 * g}, x)
					VPSIGNB(w, x, x)
					VPMADDUBSW(x, abs, x)
					VPMADDWD(ones, x, x)
					VPADDD(x, sum(t), sum(t))
				}
			}
			VCVTPH2PS(Mem{Base: r.w[0], Index: s, Scale: 1, Disp: 16 * h}, w)
			for t := range tokens {
				VCVTDQ2PS(sum(t), sum(t))
				VMULPS(w, sum(t), sum(t))
				VBROADCASTSS(Mem{Base: r.x[t], Index: r.i, Scale: 1, Disp: 32}, x)
				VFMADD231PS(x, sum(t), acc(h, t))
			}
		}
	})
	Load(Param("t"), r.t)
	r.eachC(tokens, func(t int, row Mem) {
		for h := range 2 {
			VMOVUPS(acc(h, t), at(row, 32*h))
		}
	})
	VZEROUPPER()
	RET()
}
