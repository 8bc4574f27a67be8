package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A rows kernel multiplies panels whose k-th row of 16 values lies KStride bytes after the one before, in f32, f16 or
// bf16, with f32 activations: one fused multiply-add per value, in the order of k.

type element struct {
	name string
	size int
}

var elements = []element{{"F32", 4}, {"F16", 2}, {"BF16", 2}}

// widen loads a vector of e from m into v.
func (e element) widen(m Mem, v reg.VecPhysical) {
	switch e.name {
	case "F32":
		VMOVUPS(m, v)
	case "F16":
		VCVTPH2PS(m, v)
	case "BF16":
		VPMOVZXWD(m, v)
		VPSLLD(Imm(16), v, v)
	}
}

func (r tileRegs) countK() { MOVQ(Mem{Base: r.t, Disp: tileK}, r.k) }

func rows512(e element, panels, tokens int) {
	tile512(name("rows512"+e.name, panels, tokens), panels, tokens, func(r tileRegs, acc func(p, t int) reg.VecPhysical) {
		n := panels * tokens
		w := func(p int) reg.VecPhysical { return zmm[n+p] }
		r.loop(r.countK, 4, 4, e.size*16, true, func(u int) {
			for p := range panels {
				e.widen(Mem{Base: r.w[p]}, w(p))
				ADDQ(Mem{Base: r.t, Disp: tileKStride}, r.w[p])
			}
			r.fma512(panels, tokens, 4*u, w, zmm[31], acc)
		})
	})
}

func rows256(e element, panels, tokens int) {
	tile256(name("rows256"+e.name, panels, tokens), panels, tokens, func(r tileRegs, acc func(p, h, t int) reg.VecPhysical) {
		n := 2 * panels * tokens
		w, x := ymm[n:n+2], ymm[n+2]
		r.loop(r.countK, 2, 4, e.size*16, true, func(u int) {
			for p := range panels {
				for h := range 2 {
					e.widen(Mem{Base: r.w[p], Disp: 8 * e.size * h}, w[h])
				}
				ADDQ(Mem{Base: r.t, Disp: tileKStride}, r.w[p])
				for t := range tokens {
					VBROADCASTSS(r.token(t, 4*u), x)
					for h := range 2 {
						VFMADD231PS(x, w[h], acc(p, h, t))
					}
				}
			}
		})
	})
}
