package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A pairs kernel multiplies bf16 panels whose k advances in pairs with f32 activations. The lower half of each 32-bit
// word, shifted up, is the even value, and the upper half, the lower cleared, the odd one: one instruction for each,
// where widening separate 16-bit values takes two. K counts values and is even.

// pairBytes is what a pair takes in a panel: 16 rows of 2 values of 2 bytes.
const pairBytes = 64

func (r tileRegs) countPairs() {
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SHRQ(Imm(1), r.k)
}

func pairs512(panels, tokens int, upper Mem) {
	tile512(name("pairs512", panels, tokens), panels, tokens, func(r tileRegs, acc func(p, t int) reg.VecPhysical) {
		n := panels * tokens
		w := func(p int) reg.VecPhysical { return zmm[n+p] }
		mask := zmm[30]
		VPBROADCASTD(upper, mask)
		r.loop(r.countPairs, 4, 8, pairBytes, false, func(u int) {
			for half := range 2 {
				for p := range panels {
					m := Mem{Base: r.w[p], Disp: pairBytes * u}
					if half == 0 {
						VPSLLD(Imm(16), m, w(p))
					} else {
						VPANDD(m, mask, w(p))
					}
				}
				r.fma512(panels, tokens, 8*u+4*half, w, zmm[31], acc)
			}
		})
	})
}

// pairs256 is the same in halves of a panel.
func pairs256(panels, tokens int, upper Mem) {
	tile256(name("pairs256", panels, tokens), panels, tokens, func(r tileRegs, acc func(p, h, t int) reg.VecPhysical) {
		n := 2 * panels * tokens
		w, x := ymm[n:n+2], ymm[n+2]
		r.loop(r.countPairs, 2, 8, pairBytes, false, func(u int) {
			for p := range panels {
				for half := range 2 {
					for h := range 2 {
						VMOVDQU(Mem{Base: r.w[p], Disp: pairBytes*u + 32*h}, w[h])
						if half == 0 {
							VPSLLD(Imm(16), w[h], w[h])
						} else {
							VPAND(upper, w[h], w[h])
						}
					}
					for t := range tokens {
						VBROADCASTSS(r.token(t, 8*u+4*half), x)
						for h := range 2 {
							VFMADD231PS(x, w[h], acc(p, h, t))
						}
					}
				}
			}
		})
	})
}
