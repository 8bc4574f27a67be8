package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns writes n 16-bit values into a column of a page of keys, 16 values wide.
func columns() {
	TEXT("storeColumn", NOSPLIT, "func(dst, src *uint16, n int)")
	dst, src, n := reg.RDI, reg.RSI, reg.RCX
	Load(Param("dst"), dst)
	Load(Param("src"), src)
	Load(Param("n"), n)
	four := reg.RAX
	some := func(values int) {
		for i := range values {
			MOVW(four.As16(), Mem{Base: dst, Disp: 32 * i})
			if i < values-1 {
				SHRQ(Imm(16), four)
			}
		}
		ADDQ(Imm(uint64(2*values)), src)
		ADDQ(U32(uint32(32*values)), dst)
	}
	SUBQ(Imm(4), n)
	JLT(LabelRef("tail"))
	Label("loop")
	MOVQ(Mem{Base: src}, four)
	some(4)
	SUBQ(Imm(4), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(4), n)
	JEQ(LabelRef("end"))
	Label("one")
	MOVW(Mem{Base: src}, four.As16())
	some(1)
	DECQ(n)
	JNE(LabelRef("one"))
	Label("end")
	RET()
}

// asking prefetches n bytes into the second cache.
func asking() {
	TEXT("prefetch", NOSPLIT, "func(at *byte, n int)")
	at, n := reg.RDI, reg.RCX
	Load(Param("at"), at)
	Load(Param("n"), n)
	JMP(LabelRef("test"))
	Label("loop")
	PREFETCHT1(Mem{Base: at})
	ADDQ(Imm(64), at)
	SUBQ(Imm(64), n)
	Label("test")
	TESTQ(n, n)
	JGT(LabelRef("loop"))
	RET()
}
