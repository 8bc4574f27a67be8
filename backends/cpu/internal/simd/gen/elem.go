package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The elementwise kernels are AVX2 on every level above Portable: their time is small, and one text serves all. Their
// lengths are multiples of 8 unless said otherwise; package simd pads what is not.

// vector8 is a constant repeated over 32 bytes.
func vector8(name string, bits uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	return m
}

func float8(name string, v float32) Mem { return vector8(name, math.Float32bits(v)) }

// expConsts are the constants of exp: Cody and Waite's reduction by ln 2 in two parts, then the polynomial of degree 6
// that Cephes uses for float32.
type expConsts struct {
	lo, hi, log2e, ln2a, ln2b, one, bias Mem
	poly                                 []Mem
}

func makeExpConsts() expConsts {
	c := expConsts{
		lo: float8("expLo", -87.3), hi: float8("expHi", 89), log2e: float8("expLog2e", math.Log2E),
		ln2a: float8("expLn2a", 0.693359375), ln2b: float8("expLn2b", -2.12194440e-4),
		one: float8("one", 1), bias: vector8("expBias", 127),
	}
	for i, v := range []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		c.poly = append(c.poly, float8(fmt.Sprintf("expPoly%d", i), v))
	}
	return c
}

// exp replaces x by e^x, using four more registers. Below -87.3 the result is +0; a NaN stays one.
func (c expConsts) exp(x reg.VecPhysical, tmp []reg.VecPhysical) {
	n, r, p, under := tmp[0], tmp[1], tmp[2], tmp[3]
	VCMPPS(Imm(1), c.lo, x, under) // x < lo
	VMOVUPS(c.lo, r)
	VMAXPS(x, r, r) // the second source, x, comes through where it is a NaN
	VMOVUPS(c.hi, n)
	VMINPS(r, n, r)
	VMULPS(c.log2e, r, n)
	VROUNDPS(Imm(0), n, n)
	VFNMADD231PS(c.ln2a, n, r)
	VFNMADD231PS(c.ln2b, n, r)
	VMOVUPS(c.poly[0], p)
	for _, k := range c.poly[1:] {
		VFMADD213PS(k, r, p)
	}
	VMULPS(r, r, x)
	VFMADD213PS(r, x, p)
	VADDPS(c.one, p, p)
	VCVTPS2DQ(n, n) // 2ⁿ in two factors: 2¹²⁸ is no float32
	VPSRAD(Imm(1), n, r)
	VPSUBD(r, n, n)
	for _, f := range []reg.VecPhysical{n, r} {
		VPADDD(c.bias, f, f)
		VPSLLD(Imm(23), f, f)
		VMULPS(f, p, p)
	}
	VANDNPS(p, under, x)
}

// horizontal combines the lanes of y into the lowest of x, its lower half, always in the same order.
func horizontal(y, x, tmp reg.VecPhysical, op func(a, b, c Op)) {
	VEXTRACTF128(Imm(1), y, tmp)
	op(tmp, x, x)
	VPSHUFD(Imm(0x4e), x, tmp)
	op(tmp, x, x)
	VPSHUFD(Imm(0xb1), x, tmp)
	op(tmp, x, x)
}

func add(a, b, c Op)  { VADDPS(a, b, c) }
func max_(a, b, c Op) { VMAXPS(a, b, c) }
func addi(a, b, c Op) { VPADDD(a, b, c) }

// args loads the parameters into registers in order.
func args(names ...string) []reg.GPPhysical {
	regs := []reg.GPPhysical{reg.RDI, reg.RSI, reg.RDX, reg.RCX, reg.R8, reg.R9}
	for i, n := range names {
		Load(Param(n), regs[i])
	}
	return regs[:len(names)]
}

// each8 loops over n values, eight at a time; body gets the index register, which counts values.
func each8(n reg.GPPhysical, body func(i reg.GPPhysical)) {
	i := reg.RAX
	XORQ(i, i)
	JMP(LabelRef("test"))
	Label("loop")
	body(i)
	ADDQ(Imm(8), i)
	Label("test")
	CMPQ(i, n)
	JLT(LabelRef("loop"))
}

func idx(base, i reg.GPPhysical, scale uint8) Mem { return Mem{Base: base, Index: i, Scale: scale} }

func done() {
	VZEROUPPER()
	RET()
}

func elementwise() {
	c := makeExpConsts()

	TEXT("addSumSquares", NOSPLIT, "func(dst, a, b *float32, n int) float32")
	Pragma("noescape")
	Doc("addSumSquares writes a+b to dst and returns the sum of its squares.")
	r := args("dst", "a", "b", "n")
	VXORPS(ymm[0], ymm[0], ymm[0])
	each8(r[3], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[1], i, 4), ymm[1])
		VADDPS(idx(r[2], i, 4), ymm[1], ymm[1])
		VMOVUPS(ymm[1], idx(r[0], i, 4))
		VFMADD231PS(ymm[1], ymm[1], ymm[0])
	})
	horizontal(ymm[0], xmm[0], xmm[1], add)
	Store(xmm[0].(reg.Register), ReturnIndex(0))
	done()

	TEXT("sumSquares", NOSPLIT, "func(a *float32, n int) float32")
	Pragma("noescape")
	r = args("a", "n")
	VXORPS(ymm[0], ymm[0], ymm[0])
	each8(r[1], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[0], i, 4), ymm[1])
		VFMADD231PS(ymm[1], ymm[1], ymm[0])
	})
	horizontal(ymm[0], xmm[0], xmm[1], add)
	Store(xmm[0].(reg.Register), ReturnIndex(0))
	done()

	TEXT("scaleMul", NOSPLIT, "func(dst, x, w *float32, s float32, n int)")
	Pragma("noescape")
	Doc("scaleMul writes (x·s)·w.")
	Load(Param("dst"), reg.RDI)
	Load(Param("x"), reg.RSI)
	Load(Param("w"), reg.RDX)
	Load(Param("n"), reg.RCX)
	s, _ := Param("s").Resolve()
	VBROADCASTSS(s.Addr, ymm[0])
	each8(reg.RCX, func(i reg.GPPhysical) {
		VMULPS(idx(reg.RSI, i, 4), ymm[0], ymm[1])
		VMULPS(idx(reg.RDX, i, 4), ymm[1], ymm[1])
		VMOVUPS(ymm[1], idx(reg.RDI, i, 4))
	})
	done()

	TEXT("rotate", NOSPLIT, "func(x1, x2, cos, sin *float32, n int)")
	Pragma("noescape")
	Doc("rotate turns each pair (x1, x2) by the angle whose cosine and sine are given.")
	r = args("x1", "x2", "cos", "sin", "n")
	each8(r[4], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[0], i, 4), ymm[0])
		VMOVUPS(idx(r[1], i, 4), ymm[1])
		VMOVUPS(idx(r[2], i, 4), ymm[2])
		VMOVUPS(idx(r[3], i, 4), ymm[3])
		VMULPS(ymm[1], ymm[3], ymm[4])
		VFMSUB231PS(ymm[0], ymm[2], ymm[4]) // x1·cos − x2·sin
		VMULPS(ymm[0], ymm[3], ymm[5])
		VFMADD231PS(ymm[1], ymm[2], ymm[5]) // x2·cos + x1·sin
		VMOVUPS(ymm[4], idx(r[0], i, 4))
		VMOVUPS(ymm[5], idx(r[1], i, 4))
	})
	done()

	TEXT("siluMul", NOSPLIT, "func(dst, gate, up *float32, n int)")
	Pragma("noescape")
	Doc("siluMul writes gate / (1 + e^−gate) · up.")
	r = args("dst", "gate", "up", "n")
	VXORPS(ymm[7], ymm[7], ymm[7])
	each8(r[3], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[1], i, 4), ymm[0])
		VSUBPS(ymm[0], ymm[7], ymm[1])
		c.exp(ymm[1], ymm[2:6])
		VADDPS(c.one, ymm[1], ymm[1])
		VDIVPS(ymm[1], ymm[0], ymm[0])
		VMULPS(idx(r[2], i, 4), ymm[0], ymm[0])
		VMOVUPS(ymm[0], idx(r[0], i, 4))
	})
	done()

	TEXT("maxOf", NOSPLIT, "func(x *float32, n int) float32")
	Pragma("noescape")
	Doc("maxOf returns the largest of n ≥ 8 values.")
	r = args("x", "n")
	VMOVUPS(Mem{Base: r[0]}, ymm[0])
	each8(r[1], func(i reg.GPPhysical) {
		VMAXPS(idx(r[0], i, 4), ymm[0], ymm[0])
	})
	horizontal(ymm[0], xmm[0], xmm[1], max_)
	Store(xmm[0].(reg.Register), ReturnIndex(0))
	done()

	TEXT("expSum", NOSPLIT, "func(x *float32, n int, m float32) float32")
	Pragma("noescape")
	Doc("expSum replaces x by e^(x−m) and returns the sum: value i is added in lane i mod 8.")
	r = args("x", "n")
	m, _ := Param("m").Resolve()
	VBROADCASTSS(m.Addr, ymm[6])
	VXORPS(ymm[7], ymm[7], ymm[7])
	each8(r[1], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[0], i, 4), ymm[1])
		VSUBPS(ymm[6], ymm[1], ymm[1])
		c.exp(ymm[1], ymm[2:6])
		VMOVUPS(ymm[1], idx(r[0], i, 4))
		VADDPS(ymm[1], ymm[7], ymm[7])
	})
	horizontal(ymm[7], xmm[7], xmm[1], add)
	Store(xmm[7].(reg.Register), ReturnIndex(0))
	done()

	TEXT("scaleAdd", NOSPLIT, "func(dst, src *float32, a, b float32, n int)")
	Pragma("noescape")
	Doc("scaleAdd writes dst·a + src·b.")
	Load(Param("dst"), reg.RDI)
	Load(Param("src"), reg.RSI)
	Load(Param("n"), reg.RCX)
	a, _ := Param("a").Resolve()
	b, _ := Param("b").Resolve()
	VBROADCASTSS(a.Addr, ymm[2])
	VBROADCASTSS(b.Addr, ymm[3])
	each8(reg.RCX, func(i reg.GPPhysical) {
		VMULPS(idx(reg.RSI, i, 4), ymm[3], ymm[1])
		VMOVUPS(idx(reg.RDI, i, 4), ymm[0])
		VFMADD213PS(ymm[1], ymm[2], ymm[0])
		VMOVUPS(ymm[0], idx(reg.RDI, i, 4))
	})
	done()

	TEXT("scale", NOSPLIT, "func(dst, src *float32, s float32, n int)")
	Pragma("noescape")
	Load(Param("dst"), reg.RDI)
	Load(Param("src"), reg.RSI)
	Load(Param("n"), reg.RCX)
	s, _ = Param("s").Resolve()
	VBROADCASTSS(s.Addr, ymm[2])
	each8(reg.RCX, func(i reg.GPPhysical) {
		VMULPS(idx(reg.RSI, i, 4), ymm[2], ymm[0])
		VMOVUPS(ymm[0], idx(reg.RDI, i, 4))
	})
	done()

	conversions()
	transpose()
	quantize()
	search()

	TEXT("pause", NOSPLIT, "func(n int)")
	Doc("pause tells the processor n times that its thread is waiting in a loop.")
	Load(Param("n"), reg.RCX)
	Label("loop")
	PAUSE()
	DECQ(reg.RCX)
	JG(LabelRef("loop"))
	RET()
}

func conversions() {
	TEXT("toBF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	Doc("toBF16 rounds to nearest, ties to even; a NaN becomes 0x7fc0.")
	r := args("dst", "src", "n")
	one, half, nan := vector8("intOne", 1), vector8("bf16Half", 0x7fff), vector8("bf16NaN", 0x7fc0)
	each8(r[2], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[1], i, 4), ymm[0])
		VPSRLD(Imm(16), ymm[0], ymm[1])
		VPAND(one, ymm[1], ymm[1])
		VPADDD(half, ymm[1], ymm[1])
		VPADDD(ymm[0], ymm[1], ymm[1])
		VPSRLD(Imm(16), ymm[1], ymm[1])
		VCMPPS(Imm(3), ymm[0], ymm[0], ymm[2]) // unordered
		VBLENDVPS(ymm[2], nan, ymm[1], ymm[1])
		VPACKUSDW(ymm[1], ymm[1], ymm[1])
		VPERMQ(Imm(0xd8), ymm[1], ymm[1])
		VMOVDQU(xmm[1], idx(r[0], i, 2))
	})
	done()

	TEXT("toF16", NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	r = args("dst", "src", "n")
	each8(r[2], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[1], i, 4), ymm[0])
		VCVTPS2PH(Imm(0), ymm[0], idx(r[0], i, 2))
	})
	done()

	TEXT("fromBF16", NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	r = args("dst", "src", "n")
	each8(r[2], func(i reg.GPPhysical) {
		VPMOVZXWD(idx(r[1], i, 2), ymm[0])
		VPSLLD(Imm(16), ymm[0], ymm[0])
		VMOVUPS(ymm[0], idx(r[0], i, 4))
	})
	done()

	TEXT("fromF16", NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	r = args("dst", "src", "n")
	each8(r[2], func(i reg.GPPhysical) {
		VCVTPH2PS(idx(r[1], i, 2), ymm[0])
		VMOVUPS(ymm[0], idx(r[0], i, 4))
	})
	done()

	TEXT("fromI8", NOSPLIT, "func(dst *float32, src *int8, s float32, n int)")
	Pragma("noescape")
	Doc("fromI8 writes src·s.")
	Load(Param("dst"), reg.RDI)
	Load(Param("src"), reg.RSI)
	Load(Param("n"), reg.RCX)
	s, _ := Param("s").Resolve()
	VBROADCASTSS(s.Addr, ymm[2])
	each8(reg.RCX, func(i reg.GPPhysical) {
		VPMOVSXBD(idx(reg.RSI, i, 1), ymm[0])
		VCVTDQ2PS(ymm[0], ymm[0])
		VMULPS(ymm[0], ymm[2], ymm[0])
		VMOVUPS(ymm[0], idx(reg.RDI, i, 4))
	})
	done()

	TEXT("fromI8Columns", NOSPLIT, "func(dst *float32, src *int8, s *float32, n int)")
	Pragma("noescape")
	Doc("fromI8Columns writes src·s for n rows of 16 columns, each column with its own scale.")
	r = args("dst", "src", "s", "n")
	VMOVUPS(Mem{Base: r[2]}, ymm[2])
	VMOVUPS(Mem{Base: r[2], Disp: 32}, ymm[3])
	SHLQ(Imm(4), r[3])
	i := reg.RAX
	XORQ(i, i)
	JMP(LabelRef("test"))
	Label("loop")
	for h := range 2 {
		VPMOVSXBD(at(idx(r[1], i, 1), 8*h), ymm[h])
		VCVTDQ2PS(ymm[h], ymm[h])
		VMULPS(ymm[h], ymm[2+h], ymm[h])
		VMOVUPS(ymm[h], at(idx(r[0], i, 4), 32*h))
	}
	ADDQ(Imm(16), i)
	Label("test")
	CMPQ(i, r[3])
	JLT(LabelRef("loop"))
	done()
}

// transpose writes 16 columns from 16 rows, 8 × 8 values at a time.
func transpose() {
	TEXT("transpose16", NOSPLIT, "func(dst, src *float32, stride, n int)")
	Pragma("noescape")
	Doc("transpose16 writes dst[i][j] = src[j][i] for j < 16, i < n, n a multiple of 8; row j begins j·stride bytes behind row 0.")
	r := args("dst", "src", "stride", "n")
	three, low, high := reg.R8, reg.R9, reg.R10
	LEAQ(Mem{Base: r[2], Index: r[2], Scale: 2}, three)
	JMP(LabelRef("test"))
	Label("loop")
	MOVQ(r[1], low)
	for h := range 2 {
		LEAQ(Mem{Base: low, Index: r[2], Scale: 4}, high)
		for i, base := range []reg.GPPhysical{low, high} {
			VMOVUPS(Mem{Base: base}, ymm[4*i])
			VMOVUPS(Mem{Base: base, Index: r[2], Scale: 1}, ymm[4*i+1])
			VMOVUPS(Mem{Base: base, Index: r[2], Scale: 2}, ymm[4*i+2])
			VMOVUPS(Mem{Base: base, Index: three, Scale: 1}, ymm[4*i+3])
		}
		for i := range 4 { // pairs of rows
			VUNPCKLPS(ymm[2*i+1], ymm[2*i], ymm[8+2*i])
			VUNPCKHPS(ymm[2*i+1], ymm[2*i], ymm[9+2*i])
		}
		for i := range 2 { // fours
			a := 8 + 4*i
			VUNPCKLPD(ymm[a+2], ymm[a], ymm[4*i])
			VUNPCKHPD(ymm[a+2], ymm[a], ymm[4*i+1])
			VUNPCKLPD(ymm[a+3], ymm[a+1], ymm[4*i+2])
			VUNPCKHPD(ymm[a+3], ymm[a+1], ymm[4*i+3])
		}
		for i := range 4 { // eights
			VPERM2F128(Imm(0x20), ymm[4+i], ymm[i], ymm[8])
			VPERM2F128(Imm(0x31), ymm[4+i], ymm[i], ymm[9])
			VMOVUPS(ymm[8], Mem{Base: r[0], Disp: 64*i + 32*h})
			VMOVUPS(ymm[9], Mem{Base: r[0], Disp: 64*(i+4) + 32*h})
		}
		if h == 0 {
			LEAQ(Mem{Base: high, Index: r[2], Scale: 4}, low)
		}
	}
	ADDQ(Imm(32), r[1])
	ADDQ(U32(512), r[0])
	SUBQ(Imm(8), r[3])
	Label("test")
	CMPQ(r[3], Imm(0))
	JG(LabelRef("loop"))
	done()
}

// quantize writes the activation blocks that the q8 kernels read.
func quantize() {
	abs, tiny, top := vector8("absMask", 0x7fffffff), float8("q8Tiny", 1e-30), float8("q8Max", 127)
	magics := float8("q8Magic", magic)
	order := GLOBL("q8Order", RODATA|NOPTR)
	for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(v))
	}
	TEXT("quantizeQ8", NOSPLIT, "func(dst *byte, src *float32, blocks int)")
	Pragma("noescape")
	Doc("quantizeQ8 writes blocks of 32 values as 32 int8, the f32 scale max|x|/127, and what Q8Block derives from their sums.")
	r := args("dst", "src", "blocks")
	VMOVDQU(order, ymm[15])
	JMP(LabelRef("test"))
	Label("loop")
	for j := range 4 {
		VMOVUPS(Mem{Base: r[1], Disp: 32 * j}, ymm[j])
	}
	VANDPS(abs, ymm[0], ymm[4])
	for j := 1; j < 4; j++ {
		VANDPS(abs, ymm[j], ymm[5])
		VMAXPS(ymm[5], ymm[4], ymm[4])
	}
	horizontal(ymm[4], xmm[4], xmm[5], max_)
	VBROADCASTSS(xmm[4], ymm[4])
	VMOVUPS(top, ymm[6])
	VDIVPS(ymm[6], ymm[4], ymm[5]) // scale
	VMOVSS(xmm[5], Mem{Base: r[0], Disp: actScale})
	VDIVPS(ymm[4], ymm[6], ymm[6])
	VCMPPS(Imm(13), tiny, ymm[4], ymm[7]) // ≥
	VANDPS(ymm[7], ymm[6], ymm[6])
	for j := range 4 {
		VMULPS(ymm[6], ymm[j], ymm[j])
		VCVTPS2DQ(ymm[j], ymm[j])
	}
	VPADDD(ymm[0], ymm[1], ymm[8])
	VPADDD(ymm[2], ymm[3], ymm[10])
	VPACKSSDW(ymm[1], ymm[0], ymm[0])
	VPACKSSDW(ymm[3], ymm[2], ymm[2])
	VPACKSSWB(ymm[2], ymm[0], ymm[0])
	VPERMD(ymm[0], ymm[15], ymm[0])
	VMOVDQU(ymm[0], Mem{Base: r[0]})
	VPXOR(xmm[11], xmm[11], xmm[11])
	start := func(y, shift, disp int) {
		VPSLLD(Imm(uint64(shift)), xmm[y], xmm[9])
		VPADDD(xmm[12], xmm[9], xmm[9])
		VMOVD(xmm[9], Mem{Base: r[0], Disp: disp})
	}
	VMOVDQU(magics, xmm[12])
	for j, y := range []int{8, 10} {
		horizontal(ymm[y], xmm[y], xmm[9], addi)
		VPSUBD(xmm[y], xmm[11], xmm[y])
		start(y, 5, actHalf+4*j)
	}
	VPADDD(xmm[10], xmm[8], xmm[8])
	start(8, 7, actStart128)
	start(8, 3, actStart8)
	start(8, 4, actStart16)
	VCVTDQ2PS(xmm[8], xmm[8])
	VMULSS(xmm[5], xmm[8], xmm[8])
	VMOVSS(xmm[8], Mem{Base: r[0], Disp: actShift})
	ADDQ(Imm(q8X), r[0])
	ADDQ(Imm(128), r[1])
	DECQ(r[2])
	Label("test")
	CMPQ(r[2], Imm(0))
	JG(LabelRef("loop"))
	done()
}

func search() {
	TEXT("nextAbove", NOSPLIT, "func(x *float32, from, n int, limit float32) int")
	Pragma("noescape")
	Doc("nextAbove returns the first i ≥ from, from a multiple of 8, whose x exceeds limit or is a NaN, in groups of 8: the group's start; n if none.")
	r := args("x", "from", "n")
	l, _ := Param("limit").Resolve()
	VBROADCASTSS(l.Addr, ymm[1])
	JMP(LabelRef("test"))
	Label("loop")
	VMOVUPS(idx(r[0], r[1], 4), ymm[0])
	VCMPPS(Imm(6), ymm[1], ymm[0], ymm[0]) // not ≤
	VMOVMSKPS(ymm[0], reg.EAX)
	TESTL(reg.EAX, reg.EAX)
	JNE(LabelRef("found"))
	ADDQ(Imm(8), r[1])
	Label("test")
	CMPQ(r[1], r[2])
	JLT(LabelRef("loop"))
	Label("found")
	Store(r[1], ReturnIndex(0))
	done()
}
