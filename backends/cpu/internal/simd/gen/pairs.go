package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A pairs kernel multiplies bf16 panels whose k advances in pairs with f32 activations. The lower half of each 32-bit
// word, shifted up, is the even value, and the upper half, the lower cleared, the odd one: one instruction for each,
// where widening separate 16-bit values takes two. K counts values and is even.

// pairLoop runs body for every pair, unrolled, with i counting values; bytes is what a pair takes in a panel.
func (r tileRegs) pairLoop(unroll int, body func(u int)) {
	const bytes = 64
	XORQ(r.i, r.i)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SUBQ(Imm(uint64(2*unroll)), r.k)
	JLT(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		body(u)
	}
	for _, w := range r.w {
		for u := range unroll {
			PREFETCHT0(Mem{Base: w, Disp: prefetchAhead + bytes*u})
		}
		ADDQ(U32(bytes*unroll), w)
	}
	ADDQ(Imm(uint64(2*unroll)), r.i)
	CMPQ(r.i, r.k)
	JLE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(2*unroll)), r.k)
	JMP(LabelRef("test"))
	Label("one")
	body(0)
	for _, w := range r.w {
		ADDQ(Imm(bytes), w)
	}
	ADDQ(Imm(2), r.i)
	Label("test")
	CMPQ(r.i, r.k)
	JLT(LabelRef("one"))
}

// pairs512 keeps the mask of upper halves in zmm31 and one widened vector per panel above the accumulators.
func pairs512(panels, tokens int, upper Mem) {
	r := begin(name("pairs512", panels, tokens), panels, tokens)
	acc := func(p, t int) reg.VecPhysical { return zmm[p*tokens+t] }
	w := func(p, half int) reg.VecPhysical { return zmm[panels*tokens+2*p+half] }
	mask := zmm[31]
	VPBROADCASTD(upper, mask)
	r.initC("c", tokens, func(t int) {
		for p := range panels {
			VPXORD(acc(p, t), acc(p, t), acc(p, t))
		}
	}, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(at(row, 64*p), acc(p, t))
		}
	})
	r.pairLoop(4, func(u int) {
		for p := range panels {
			m := Mem{Base: r.w[p], Disp: 64 * u}
			VPSLLD(Imm(16), m, w(p, 0))
			VPANDD(m, mask, w(p, 1))
		}
		for half := range 2 {
			for t := range tokens {
				for p := range panels {
					VFMADD231PS_BCST(Mem{Base: r.x[t], Index: r.i, Scale: 4, Disp: 8*u + 4*half}, w(p, half), acc(p, t))
				}
			}
		}
	})
	r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(acc(p, t), at(row, 64*p))
		}
	})
	VZEROUPPER()
	RET()
}

// pairs256 is the same in halves of a panel.
func pairs256(panels, tokens int, upper Mem) {
	r := begin(name("pairs256", panels, tokens), panels, tokens)
	acc := func(p, h, t int) reg.VecPhysical { return ymm[(p*tokens+t)*2+h] }
	n := panels * tokens * 2
	r.initC("c", tokens, func(t int) {
		for p := range panels {
			for h := range 2 {
				VXORPS(acc(p, h, t), acc(p, h, t), acc(p, h, t))
			}
		}
	}, func(t int, row Mem) {
		for p := range panels {
			for h := range 2 {
				VMOVUPS(at(row, 64*p+32*h), acc(p, h, t))
			}
		}
	})
	r.pairLoop(2, func(u int) {
		w, x := []reg.VecPhysical{ymm[n], ymm[n+1]}, ymm[n+2]
		for p := range panels {
			for half := range 2 {
				for h := range 2 {
					VMOVDQU(Mem{Base: r.w[p], Disp: 64*u + 32*h}, w[h])
					if half == 0 {
						VPSLLD(Imm(16), w[h], w[h])
					} else {
						VPAND(upper, w[h], w[h])
					}
				}
				for t := range tokens {
					VBROADCASTSS(Mem{Base: r.x[t], Index: r.i, Scale: 4, Disp: 8*u + 4*half}, x)
					for h := range 2 {
						VFMADD231PS(x, w[h], acc(p, h, t))
					}
				}
			}
		}
	})
	r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			for h := range 2 {
				VMOVUPS(acc(p, h, t), at(row, 64*p+32*h))
			}
		}
	})
	VZEROUPPER()
	RET()
}
