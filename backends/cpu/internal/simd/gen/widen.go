package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// widening writes n values, a multiple of 16, of a page of a KV cache as f32, and asks for another page meanwhile.
func widening() {
	for _, e := range elements[1:] {
		TEXT("widen512"+e.name, NOSPLIT, "func(dst *float32, src, next *uint16, n int)")
		dst, src, next, n := reg.RDI, reg.RSI, reg.RDX, reg.RCX
		Load(Param("dst"), dst)
		Load(Param("src"), src)
		Load(Param("next"), next)
		Load(Param("n"), n)
		some := func(vectors int) {
			for i := range vectors {
				e.widen(Mem{Base: src, Disp: 32 * i}, zmm[i])
			}
			for i := 0; i < vectors; i += 2 {
				PREFETCHT1(Mem{Base: next, Disp: 32 * i})
			}
			for i := range vectors {
				VMOVUPS(zmm[i], Mem{Base: dst, Disp: 64 * i})
			}
			ADDQ(U32(uint32(32*vectors)), src)
			ADDQ(U32(uint32(32*vectors)), next)
			ADDQ(U32(uint32(64*vectors)), dst)
		}
		const unroll = 8
		SUBQ(U32(16*unroll), n)
		JLT(LabelRef("tail"))
		Label("loop")
		some(unroll)
		SUBQ(U32(16*unroll), n)
		JGE(LabelRef("loop"))
		Label("tail")
		ADDQ(U32(16*unroll), n)
		JEQ(LabelRef("end"))
		Label("one")
		some(1)
		SUBQ(Imm(16), n)
		JNE(LabelRef("one"))
		Label("end")
		done()
	}
}
