package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// word is a constant that is broadcast from memory.
func word(name string, v float32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, U32(math.Float32bits(v)))
	return m
}

// softmax turns a row of scores into weights. Value i is added in lane i mod 16, then the lanes in a fixed order.
func softmax() {
	// e^r for |r| ≤ ln 2 / 2: the polynomial of degree 6 that is nearest in relative error, 3·10⁻⁹.
	poly := []float32{1.38145406e-3, 8.36874545e-3, 4.16683890e-2, 1.66665211e-1, 4.99999940e-1, 1, 1}
	constants := map[reg.VecPhysical]Mem{}
	hold := func(i int, name string, v float32) reg.VecPhysical {
		constants[zmm[i]] = word(name, v)
		return zmm[i]
	}
	lo, log2e := hold(16, "softmaxLo", -87.3), hold(17, "softmaxLog2e", math.Log2E)
	ln2a, ln2b := hold(18, "softmaxLn2a", 0.693359375), hold(19, "softmaxLn2b", -2.12194440e-4)
	none := hold(20, "softmaxNone", float32(math.Inf(-1)))
	var c []reg.VecPhysical
	for i, v := range poly {
		c = append(c, hold(21+i, "softmaxPoly"+string(rune('0'+i)), v))
	}

	TEXT("softmax512", NOSPLIT, "func(x *float32, n, padded int) (peak, total float32)")
	x, n, padded := reg.RDI, reg.RSI, reg.RDX
	Load(Param("x"), x)
	Load(Param("n"), n)
	Load(Param("padded"), padded)
	for i := range 32 {
		if m, ok := constants[zmm[i]]; ok {
			VBROADCASTSS(m, zmm[i])
		}
	}
	// The mask of the last values, and the number of the others.
	full, rest := reg.R8, reg.RCX
	MOVQ(n, full)
	ANDQ(I32(-16), full)
	MOVQ(n, rest)
	SUBQ(full, rest)
	MOVL(U32(1), reg.EAX)
	SHLL(reg.CL, reg.EAX)
	DECL(reg.EAX)
	KMOVW(reg.EAX, reg.K1)

	i := reg.R9
	at16 := func(k int) Mem { return Mem{Base: x, Index: i, Scale: 4, Disp: 64 * k} }
	// The peak, in four chains.
	for k := range 4 {
		VMOVAPS(none, zmm[k])
	}
	XORQ(i, i)
	JMP(LabelRef("peakTest"))
	Label("peak")
	for k := range 4 {
		VMAXPS(at16(k), zmm[k], zmm[k])
	}
	ADDQ(Imm(64), i)
	Label("peakTest")
	LEAQ(Mem{Base: i, Disp: 64}, reg.R10)
	CMPQ(reg.R10, full)
	JLE(LabelRef("peak"))
	JMP(LabelRef("peakOneTest"))
	Label("peakOne")
	VMAXPS(at16(0), zmm[0], zmm[0])
	ADDQ(Imm(16), i)
	Label("peakOneTest")
	CMPQ(i, full)
	JLT(LabelRef("peakOne"))
	VMAXPS(zmm[1], zmm[0], zmm[0])
	VMAXPS(zmm[3], zmm[2], zmm[2])
	VMAXPS(zmm[2], zmm[0], zmm[0])
	VMOVAPS(none, zmm[1])
	VMOVUPS(at16(0), reg.K1, zmm[1])
	VMAXPS(zmm[1], zmm[0], zmm[0])
	VEXTRACTF64X4(Imm(1), zmm[0], ymm[1])
	VMAXPS(ymm[1], ymm[0], ymm[0])
	horizontal(ymm[0], xmm[0], xmm[1], max_)
	Store(xmm[0].(reg.Register), ReturnIndex(0))
	peak := zmm[15]
	VBROADCASTSS(xmm[0], peak)

	// e^(x−peak). What is below −87.3 becomes a zero; a NaN stays one.
	total := zmm[14]
	VPXORD(total, total, total)
	exp := func() {
		v, q, p := zmm[1], zmm[2], zmm[3]
		VSUBPS(peak, v, v)
		VCMPPS(Imm(5), lo, v, reg.K2) // not less
		VMAXPS(v, lo, v)              // the second source comes through where it is a NaN
		VMULPS(log2e, v, q)
		VRNDSCALEPS(Imm(8), q, q)
		VFNMADD231PS(ln2a, q, v)
		VFNMADD231PS(ln2b, q, v)
		VMOVAPS(c[0], p)
		for _, k := range c[1:] {
			VFMADD213PS(k, v, p)
		}
		VSCALEFPS_Z(q, p, reg.K2, v)
		VADDPS(v, total, total)
	}
	XORQ(i, i)
	JMP(LabelRef("expTest"))
	Label("exp")
	VMOVUPS(at16(0), zmm[1])
	exp()
	VMOVUPS(zmm[1], at16(0))
	ADDQ(Imm(16), i)
	Label("expTest")
	CMPQ(i, full)
	JLT(LabelRef("exp"))
	TESTQ(rest, rest)
	JEQ(LabelRef("clear"))
	VMOVAPS(none, zmm[1])
	VMOVUPS(at16(0), reg.K1, zmm[1])
	exp()
	VMOVUPS(zmm[1], at16(0))
	ADDQ(Imm(16), i)
	Label("clear")
	VPXORD(zmm[1], zmm[1], zmm[1])
	JMP(LabelRef("clearTest"))
	Label("clearOne")
	VMOVUPS(zmm[1], at16(0))
	ADDQ(Imm(16), i)
	Label("clearTest")
	CMPQ(i, padded)
	JLT(LabelRef("clearOne"))
	VEXTRACTF64X4(Imm(1), total, ymm[1])
	VADDPS(ymm[1], ymm[14], ymm[0])
	horizontal(ymm[0], xmm[0], xmm[1], add)
	Store(xmm[0].(reg.Register), ReturnIndex(1))
	done()
}
