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

// rows512 writes the AVX-512 kernel: one accumulator per panel and token, weights in the registers above them.
func rows512(e element, panels, tokens int) {
	r := begin(name("rows512"+e.name, panels, tokens), panels, tokens)
	acc := func(p, t int) reg.VecPhysical { return zmm[p*tokens+t] }
	w := func(p int) reg.VecPhysical { return zmm[panels*tokens+p] }
	r.initC("c", tokens, func(t int) {
		for p := range panels {
			VPXORD(acc(p, t), acc(p, t), acc(p, t))
		}
	}, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(at(row, 64*p), acc(p, t))
		}
	})
	r.loopK(4, func(u int) {
		for p := range panels {
			e.widen(Mem{Base: r.w[p]}, w(p))
			ADDQ(Mem{Base: r.t, Disp: tileKStride}, r.w[p])
		}
		for t := range tokens {
			for p := range panels {
				VFMADD231PS_BCST(Mem{Base: r.x[t], Index: r.i, Scale: 4, Disp: 4 * u}, w(p), acc(p, t))
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

// rows256 writes the AVX2 kernel: two accumulators per panel and token.
func rows256(e element, panels, tokens int) {
	r := begin(name("rows256"+e.name, panels, tokens), panels, tokens)
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
	r.loopK(2, func(u int) {
		w, x := []reg.VecPhysical{ymm[n], ymm[n+1]}, ymm[n+2]
		for p := range panels {
			for h := range 2 {
				e.widen(Mem{Base: r.w[p], Disp: 8 * e.size * h}, w[h])
			}
			ADDQ(Mem{Base: r.t, Disp: tileKStride}, r.w[p])
			for t := range tokens {
				VBROADCASTSS(Mem{Base: r.x[t], Index: r.i, Scale: 4, Disp: 4 * u}, x)
				for h := range 2 {
					VFMADD231PS(x, w[h], acc(p, h, t))
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

// loopK runs body for every k, unrolled, with i counting k.
func (r tileRegs) loopK(unroll int, body func(u int)) {
	XORQ(r.i, r.i)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SUBQ(Imm(uint64(unroll)), r.k)
	JLT(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		body(u)
	}
	ADDQ(Imm(uint64(unroll)), r.i)
	CMPQ(r.i, r.k)
	JLE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(unroll)), r.k)
	JMP(LabelRef("test"))
	Label("one")
	body(0)
	INCQ(r.i)
	Label("test")
	CMPQ(r.i, r.k)
	JLT(LabelRef("one"))
}
