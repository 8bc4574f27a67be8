package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The sampling kernels evaluate 2ᶠ by the polynomial of tensor.SampleWeight: weigh in its very operations, peaks with fused
// ones.

// twoPoly are the coefficients of 2ᶠ, highest first.
var twoPoly = []float32{0.00015403530, 0.0013333558, 0.0096181291, 0.055504109, 0.24022651, 0.69314718, 1}

const (
	sampleBlock = 256 // simd.SampleBlock
	weighBits   = 24  // the polynomial is evaluated times 2²⁴, which changes no rounding and leaves integers

	// Offsets of the fields of simd.Weighing.
	weighTemperature = 0
	weighPeak        = 4
	weighFrom        = 8
)

// samplingConsts are repeated over 32 bytes: AVX2 reads them whole, AVX-512 broadcasts the first.
type samplingConsts struct {
	log2e, half, least, under, infinity, one, seventeen, sixteen, low, high Mem
	sumHalf, sumMagic, toWhole, wholes, fractions, starts, wholeBits        Mem // of sums512
	poly, scaled                                                            []Mem
}

func makeSamplingConsts() samplingConsts {
	c := samplingConsts{
		log2e: float8("log2e", 1.44269504), half: float8("half", 0.5), least: float8("least", -41), under: float8("under", -126),
		infinity: vector8("infinity", 0xff800000), one: vector8("one", 1), seventeen: vector8("seventeen", ^uint32(16)),
		sixteen: vector8("sixteen", 16), low: GLOBL("lowHalves", RODATA|NOPTR),
	}
	for i := range 8 {
		DATA(4*i, U32(0xffffffff*(1-uint32(i)%2)))
	}
	c.high = GLOBL("highHalves", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(0xffffffff*(uint32(i)%2)))
	}
	c.sumMagic = float8("sumMagic", 1<<23+1<<22+127+20) // the integer n in the last places; its lowest 9 bits are the exponent of 2ⁿ⁺²⁰
	c.sumHalf, c.toWhole = float8("sumHalf", 1.0/(1<<21)), float8("toWhole", 1.0/(1<<20))
	const wholes, fractions = 1 << 23, 8
	c.wholes, c.fractions = float8("wholes", wholes), float8("fractions", fractions)
	c.starts = GLOBL("starts", RODATA|NOPTR) // 32 times their bits
	for i := range 4 {
		DATA(4*i, U32(32*math.Float32bits([]float32{wholes, fractions}[i%2])))
	}
	c.wholeBits = GLOBL("wholeBits", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64([]uint64{20, 0}[i%2]))
	}
	for i, v := range twoPoly {
		c.poly = append(c.poly, float8(fmt.Sprintf("poly%d", i), v))
		c.scaled = append(c.scaled, float8(fmt.Sprintf("scaled%d", i), v*(1<<weighBits)))
	}
	return c
}

func sampling() {
	c := makeSamplingConsts()
	c.peaks512()
	c.peaks256()
	c.sums512(false)
	c.sums512(true)
	c.sums256(false)
	c.sums256(true)
	c.weigh512()
	c.weigh256()
	countAbove()
	massAbove()
	between512()
	between256()
}

// countDown runs body while n is positive, for so many of n at a time.
func countDown(n reg.GPPhysical, each uint64, body func()) {
	JMP(LabelRef("test"))
	Label("loop")
	body()
	if each == 1 {
		DECQ(n)
	} else {
		SUBQ(Imm(each), n)
	}
	Label("test")
	TESTQ(n, n)
	JG(LabelRef("loop"))
}

// weighText opens a kernel that writes weights and answers its registers for p, x, n and w.
func weighText(name string) []reg.GPPhysical {
	TEXT(name, NOSPLIT, "func(p *byte, x *float32, n int, w *uint64)")
	Pragma("noescape")
	Doc(name + " writes the weights of n values, a multiple of 16.")
	return args("p", "x", "n", "w")
}

// weigh512 works on 16 values at a time.
func (c samplingConsts) weigh512() {
	r := weighText("weigh512")
	x, n, p, w, s := zmm[0], zmm[1], zmm[2], zmm[3], zmm[4]
	temperature, peak := zmm[5], zmm[6]
	VBROADCASTSS(Mem{Base: r[0], Disp: weighTemperature}, temperature)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	countDown(r[2], 16, func() {
		VMOVUPS(Mem{Base: r[1]}, x)
		VDIVPS(temperature, x, x)
		VSUBPS(peak, x, x)
		VMULPS_BCST(c.log2e, x, x)
		VCMPPS_BCST(Imm(30), c.least, x, reg.K1) // >, not for NaNs
		VADDPS_BCST(c.half, x, n)
		VCVTPS2DQ_RD_SAE(n, n)
		VCVTDQ2PS(n, p)
		VSUBPS(p, x, x)
		VMULPS_BCST(c.scaled[0], x, p)
		for i, a := range c.scaled[1:] {
			VADDPS_BCST(a, p, p)
			if i < len(c.scaled)-2 {
				VMULPS(x, p, p)
			}
		}
		VCVTPS2DQ_Z(p, reg.K1, p)
		VPBROADCASTD(c.seventeen, x)
		VPSUBD(n, x, x) // −n − 17: rounding adds half of what is shifted out
		VPBROADCASTD(c.one, s)
		VPSLLVD(x, s, x)
		VPADDD(x, p, p)
		VPXORD(s, s, s)
		VPSUBD(n, s, n)
		for h := range 2 {
			if h == 1 {
				VEXTRACTI64X4(Imm(1), p, ymm[2])
				VEXTRACTI64X4(Imm(1), n, ymm[1])
			}
			VPMOVZXDQ(ymm[2], w)
			VPMOVZXDQ(ymm[1], s)
			VPSLLQ(Imm(16), w, w)
			VPSRLVQ(s, w, w)
			VMOVDQU64(w, Mem{Base: r[3], Disp: 64 * h})
		}
		ADDQ(Imm(64), r[1])
		ADDQ(U32(128), r[3])
	})
	done()
}

// weights256 leaves the weights of 8 values in two steps: p, times 2²⁴ and with what rounds it, and n, by which they are
// to be shifted left after 16.
func (c samplingConsts) weights256(m Mem, temperature, peak, x, n, p, k reg.VecPhysical, whole string) {
	VMOVUPS(m, x)
	if whole != "" {
		TESTQ(reg.R9, reg.R9)
		JEQ(LabelRef(whole))
	}
	VDIVPS(temperature, x, x)
	if whole != "" {
		Label(whole)
	}
	VSUBPS(peak, x, x)
	VMULPS(c.log2e, x, x)
	VCMPPS(Imm(30), c.least, x, k)
	VADDPS(c.half, x, n)
	VROUNDPS(Imm(1), n, n)
	VSUBPS(n, x, x)
	VCVTPS2DQ(n, n)
	VMULPS(c.scaled[0], x, p)
	for i, a := range c.scaled[1:] {
		VADDPS(a, p, p)
		if i < len(c.scaled)-2 {
			VMULPS(x, p, p)
		}
	}
	VCVTPS2DQ(p, p)
	VPAND(k, p, p)
	VMOVDQU(c.seventeen, x)
	VPSUBD(n, x, x)
	VMOVDQU(c.one, k)
	VPSLLVD(x, k, x)
	VPADDD(x, p, p)
}

// weigh256 works on 8 values at a time.
func (c samplingConsts) weigh256() {
	r := weighText("weigh256")
	x, n, p, k, w, s, zero, temperature, peak := ymm[0], ymm[1], ymm[2], ymm[3], ymm[4], ymm[5], ymm[6], ymm[7], ymm[8]
	VBROADCASTSS(Mem{Base: r[0], Disp: weighTemperature}, temperature)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	VPXOR(zero, zero, zero)
	countDown(r[2], 16, func() {
		for i := range 2 {
			c.weights256(Mem{Base: r[1], Disp: 32 * i}, temperature, peak, x, n, p, k, "")
			VPSUBD(n, zero, n)
			for h := range 2 {
				if h == 1 {
					VEXTRACTI128(Imm(1), p, xmm[2])
					VEXTRACTI128(Imm(1), n, xmm[1])
				}
				VPMOVZXDQ(xmm[2], w)
				VPMOVZXDQ(xmm[1], s)
				VPSLLQ(Imm(16), w, w)
				VPSRLVQ(s, w, w)
				VMOVDQU(w, Mem{Base: r[3], Disp: 64*i + 32*h})
			}
		}
		ADDQ(Imm(64), r[1])
		ADDQ(U32(128), r[3])
	})
	done()
}

func countAbove() {
	TEXT("countAbove", NOSPLIT, "func(x *float32, n int, limit float32) int")
	Pragma("noescape")
	Doc("countAbove counts the values above limit among n, a multiple of 8.")
	r := args("x", "n")
	l, _ := Param("limit").Resolve()
	VBROADCASTSS(l.Addr, ymm[1])
	VPXOR(ymm[2], ymm[2], ymm[2])
	each8(r[1], func(i reg.GPPhysical) {
		VMOVUPS(idx(r[0], i, 4), ymm[0])
		VCMPPS(Imm(30), ymm[1], ymm[0], ymm[0])
		VPSUBD(ymm[0], ymm[2], ymm[2])
	})
	horizontal(ymm[2], xmm[2], xmm[0], addi)
	VMOVD(xmm[2], reg.EAX)
	MOVLQSX(reg.EAX, reg.RAX)
	Store(reg.RAX, ReturnIndex(0))
	done()
}

// massAbove keeps four sums, so that additions need not wait for each other.
func massAbove() {
	TEXT("massAbove", NOSPLIT, "func(x *float32, n int, limit float32) float32")
	Pragma("noescape")
	Doc("massAbove sums the values above limit among n, a multiple of 32.")
	r := args("x", "n")
	l, _ := Param("limit").Resolve()
	VBROADCASTSS(l.Addr, ymm[0])
	for j := range 4 {
		VXORPS(ymm[1+j], ymm[1+j], ymm[1+j])
	}
	countDown(r[1], 32, func() {
		for j := range 4 {
			VMOVUPS(Mem{Base: r[0], Disp: 32 * j}, ymm[5+j])
			VCMPPS(Imm(30), ymm[0], ymm[5+j], ymm[9+j])
			VANDPS(ymm[9+j], ymm[5+j], ymm[5+j])
			VADDPS(ymm[5+j], ymm[1+j], ymm[1+j])
		}
		ADDQ(U32(128), r[0])
	})
	VADDPS(ymm[2], ymm[1], ymm[1])
	VADDPS(ymm[4], ymm[3], ymm[3])
	VADDPS(ymm[3], ymm[1], ymm[1])
	horizontal(ymm[1], xmm[1], xmm[2], add)
	Store(xmm[1], ReturnIndex(0))
	done()
}

// betweenText opens a kernel that marks values and answers its registers for x, n and marks; the limits lie in low and
// high.
func betweenText(name string, low, high reg.VecPhysical) []reg.GPPhysical {
	TEXT(name, NOSPLIT, "func(x *float32, n int, low, high float32, marks *uint64)")
	Pragma("noescape")
	Doc(name + " sets the bits of those values above low and below high among n, a multiple of 64, and clears the others'.")
	r := args("x", "n")
	for i, v := range []reg.VecPhysical{low, high} {
		limit, _ := Param([]string{"low", "high"}[i]).Resolve()
		VBROADCASTSS(limit.Addr, v)
	}
	Load(Param("marks"), reg.RDX)
	return append(r, reg.RDX)
}

func between512() {
	low, high := zmm[0], zmm[1]
	r := betweenText("between512", low, high)
	countDown(r[1], 64, func() {
		for j := range 4 {
			k := []Op{reg.K1, reg.K2, reg.K3, reg.K4}[j]
			VMOVUPS(Mem{Base: r[0], Disp: 64 * j}, zmm[2+j])
			VCMPPS(Imm(30), low, zmm[2+j], k)
			VCMPPS(Imm(17), high, zmm[2+j], k, k)
			KMOVW(k, Mem{Base: r[2], Disp: 2 * j})
		}
		ADDQ(U32(256), r[0])
		ADDQ(Imm(8), r[2])
	})
	done()
}

func between256() {
	low, high := ymm[0], ymm[1]
	r := betweenText("between256", low, high)
	countDown(r[1], 64, func() {
		for j := range 8 {
			x, y := ymm[2+j%4], ymm[6+j%4]
			VMOVUPS(Mem{Base: r[0], Disp: 32 * j}, x)
			VCMPPS(Imm(30), low, x, y)
			VCMPPS(Imm(17), high, x, x)
			VANDPS(x, y, x)
			VMOVMSKPS(x, reg.EAX)
			MOVB(reg.AL, Mem{Base: r[2], Disp: j})
		}
		ADDQ(U32(256), r[0])
		ADDQ(Imm(8), r[2])
	})
	done()
}
