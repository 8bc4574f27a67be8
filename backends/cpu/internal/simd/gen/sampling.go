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

	// Offsets of the fields of simd.Weighing and simd.Weights.
	weighTemperature = 0
	weighPeak        = 4
	weighLeast       = 8
	weighLow         = 16
	weighHigh        = 24
	weightsIn        = 8 * sampleBlock
)

// samplingConsts are repeated over 32 bytes: AVX2 reads them whole, AVX-512 broadcasts the first.
type samplingConsts struct {
	log2e, half, least, under, infinity, one, seventeen, sixteen, low, high Mem
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
	c.weigh512(false)
	c.weigh512(true)
	c.weigh256(false)
	c.weigh256(true)
	countAbove()
}

// eachBlock loops over n blocks.
func eachBlock(n reg.GPPhysical, body func()) {
	JMP(LabelRef("test"))
	Label("loop")
	body()
	DECQ(n)
	Label("test")
	TESTQ(n, n)
	JG(LabelRef("loop"))
}

// weighText opens a kernel and answers its registers for p, x, n and, where all weights are wanted, w.
func weighText(name string, all bool) []reg.GPPhysical {
	if all {
		TEXT(name, NOSPLIT, "func(p *byte, x *float32, n int, w *byte) (total, above uint64)")
		Pragma("noescape")
		Doc(name + " writes the weights of n values, a multiple of 16, and marks those from Low to High. It returns the sums of those from Least and from High on.")
		return args("p", "x", "n", "w")
	}
	TEXT(name, NOSPLIT, "func(p *byte, x *float32, n int) uint64")
	Pragma("noescape")
	Doc(name + " returns the sum of the weights from Least on of n values, a multiple of 16.")
	return args("p", "x", "n")
}

// weigh512 works on 32 values at a time in two chains; a rest of 16 goes through the first alone.
func (c samplingConsts) weigh512(all bool) {
	name := map[bool]string{false: "weighSum512", true: "weigh512"}[all]
	r := weighText(name, all)
	temperature, peak, log2e, half, under := zmm[31], zmm[30], zmm[29], zmm[28], zmm[27]
	poly := zmm[20:27]
	seventeen, one, sixteen, evens := zmm[19], zmm[18], zmm[17], zmm[16]
	least, low, high, total, above := zmm[15], zmm[14], zmm[13], zmm[12], zmm[11]
	VBROADCASTSS(Mem{Base: r[0], Disp: weighTemperature}, temperature)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	VPBROADCASTQ(Mem{Base: r[0], Disp: weighLeast}, least)
	VPBROADCASTQ(Mem{Base: r[0], Disp: weighLow}, low)
	VPBROADCASTQ(Mem{Base: r[0], Disp: weighHigh}, high)
	VBROADCASTSS(c.log2e, log2e)
	VBROADCASTSS(c.half, half)
	VBROADCASTSS(c.least, under)
	VBROADCASTSS(c.seventeen, seventeen)
	VBROADCASTSS(c.one, one)
	VBROADCASTSS(c.sixteen, sixteen)
	VPBROADCASTQ(c.low, evens)
	for i, m := range c.scaled {
		VBROADCASTSS(m, poly[i])
	}
	VPXORD(total, total, total)
	VPXORD(above, above, above)
	MOVL(Mem{Base: r[0], Disp: weighTemperature}, reg.R9L) // a division by 1 changes nothing and takes as long as all the rest
	SUBL(U32(math.Float32bits(1)), reg.R9L)
	body := func(chains int) {
		each := func(f func(j int, x, n, p reg.VecPhysical, k Op)) {
			for j := range chains {
				f(j, zmm[j], zmm[2+j], zmm[4+j], []Op{reg.K1, reg.K2}[j])
			}
		}
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VMOVUPS(Mem{Base: r[1], Disp: 64 * j}, x)
		})
		whole := fmt.Sprintf("whole%d", chains)
		TESTQ(reg.R9, reg.R9)
		JEQ(LabelRef(whole))
		each(func(j int, x, n, p reg.VecPhysical, k Op) { VDIVPS(temperature, x, x) })
		Label(whole)
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VSUBPS(peak, x, x)
			VMULPS(log2e, x, x)
			VCMPPS(Imm(30), under, x, k) // >, not for NaNs
			VADDPS(half, x, n)
			VCVTPS2DQ_RD_SAE(n, n)
			VCVTDQ2PS(n, p)
			VSUBPS(p, x, x)
		})
		each(func(j int, x, n, p reg.VecPhysical, k Op) { VMULPS(poly[0], x, p) })
		for i, a := range poly[1:] {
			each(func(j int, x, n, p reg.VecPhysical, k Op) {
				VADDPS(a, p, p)
				if i < len(poly)-2 {
					VMULPS(x, p, p)
				}
			})
		}
		each(func(j int, x, n, p reg.VecPhysical, k Op) {
			VCVTPS2DQ_Z(p, k, p)
			VPSUBD(n, seventeen, x) // −n − 17: rounding adds half of what is shifted out
			VPSLLVD(x, one, x)
			VPADDD(x, p, p)
		})
		if !all { // even and odd places: sums do not care about order
			each(func(j int, x, n, p reg.VecPhysical, k Op) {
				a, b, s, odds := zmm[6], zmm[7], zmm[8], zmm[9]
				VPSUBD(n, sixteen, n)
				VPSLLQ(Imm(32), p, a)
				VPANDQ(evens, n, s)
				VPSRLVQ(s, a, a)
				VPANDNQ(p, evens, b)
				VPSRLQ(Imm(32), n, odds)
				VPSRLVQ(odds, b, b)
				VPCMPUQ(Imm(5), least, a, reg.K3)
				VPCMPUQ(Imm(5), least, b, reg.K4)
				VPADDQ(a, total, reg.K3, total)
				VPADDQ(b, above, reg.K4, above)
			})
		} else {
			each(func(j int, x, n, p reg.VecPhysical, k Op) {
				zero := zmm[10]
				VPXORD(zero, zero, zero)
				VPSUBD(n, zero, n)
				for h := range 2 {
					w, s := zmm[6+h], zmm[8]
					if h == 0 {
						VPMOVZXDQ(ymm[4+j], w)
						VPMOVZXDQ(ymm[2+j], s)
					} else {
						VEXTRACTI64X4(Imm(1), p, ymm[7])
						VEXTRACTI64X4(Imm(1), n, ymm[8])
						VPMOVZXDQ(ymm[7], w)
						VPMOVZXDQ(ymm[8], s)
					}
					VPSLLQ(Imm(16), w, w)
					VPSRLVQ(s, w, w)
					VMOVDQU64(w, Mem{Base: r[3], Disp: 128*j + 64*h})
					kLeast, kHigh, kLow := reg.K3, reg.K4, []reg.Register{reg.K5, reg.K6}[h]
					VPCMPUQ(Imm(5), least, w, kLeast)
					VPCMPUQ(Imm(5), high, w, kHigh)
					VPCMPUQ(Imm(5), low, w, kLow)
					VPADDQ(w, total, kLeast, total)
					VPADDQ(w, above, kHigh, above)
					KANDNB(kLow, kHigh, kLow)
				}
				KUNPCKBW(reg.K5, reg.K6, reg.K5)
				KMOVW(reg.K5, Mem{Base: reg.R8, Disp: 2 * j})
			})
		}
		ADDQ(U32(uint32(64*chains)), r[1])
		if all {
			ADDQ(U32(uint32(128*chains)), r[3])
			ADDQ(Imm(uint64(2*chains)), reg.R8)
		}
	}
	if all {
		LEAQ(Mem{Base: r[3], Disp: weightsIn}, reg.R8)
	}
	SUBQ(Imm(32), r[2])
	JLT(LabelRef("rest"))
	Label("loop")
	body(2)
	SUBQ(Imm(32), r[2])
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(32), r[2])
	JEQ(LabelRef("end"))
	body(1)
	Label("end")
	sum := func(z int) {
		VEXTRACTI64X4(Imm(1), zmm[z], ymm[0])
		VPADDQ(ymm[0], ymm[z], ymm[z])
		sum64(ymm[z], xmm[z], xmm[0])
	}
	if !all {
		VPADDQ(above, total, total)
		sum(12)
		Store(xmm64(12), ReturnIndex(0))
		done()
		return
	}
	sum(12)
	sum(11)
	Store(xmm64(12), ReturnIndex(0))
	Store(xmm64(11), ReturnIndex(1))
	done()
}

// sum64 adds the four integers of y into the lowest of x, its lower half.
func sum64(y, x, tmp reg.VecPhysical) {
	VEXTRACTI128(Imm(1), y, tmp)
	VPADDQ(tmp, x, x)
	VPSHUFD(Imm(0x4e), x, tmp)
	VPADDQ(tmp, x, x)
}

// xmm64 moves the lowest integer of a vector to a register that can be returned.
func xmm64(x int) reg.Register {
	VMOVQ(xmm[x], reg.RAX)
	return reg.RAX
}

// weigh256 takes 8 values at a time; its thresholds are less by one, since AVX2 compares by > alone.
func (c samplingConsts) weigh256(all bool) {
	name := map[bool]string{false: "weighSum256", true: "weigh256"}[all]
	r := weighText(name, all)
	temperature, peak, least, low, high, total, above := ymm[15], ymm[14], ymm[13], ymm[12], ymm[11], ymm[10], ymm[9]
	VPCMPEQD(ymm[0], ymm[0], ymm[0])
	VBROADCASTSS(Mem{Base: r[0], Disp: weighTemperature}, temperature)
	VBROADCASTSS(Mem{Base: r[0], Disp: weighPeak}, peak)
	VPBROADCASTQ(Mem{Base: r[0], Disp: weighLeast}, least)
	VPADDQ(ymm[0], least, least)
	if all {
		VPBROADCASTQ(Mem{Base: r[0], Disp: weighLow}, low)
		VPADDQ(ymm[0], low, low)
		VPBROADCASTQ(Mem{Base: r[0], Disp: weighHigh}, high)
		VPADDQ(ymm[0], high, high)
		LEAQ(Mem{Base: r[3], Disp: weightsIn}, reg.R8)
	}
	VPXOR(total, total, total)
	VPXOR(above, above, above)
	MOVL(Mem{Base: r[0], Disp: weighTemperature}, reg.R9L)
	SUBL(U32(math.Float32bits(1)), reg.R9L)
	JMP(LabelRef("test"))
	Label("loop")
	x, n, p, k := ymm[0], ymm[1], ymm[2], ymm[3]
	VMOVUPS(Mem{Base: r[1]}, x)
	TESTQ(reg.R9, reg.R9)
	JEQ(LabelRef("whole"))
	VDIVPS(temperature, x, x)
	Label("whole")
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
	if !all {
		a, b, s := ymm[4], ymm[5], ymm[6]
		VMOVDQU(c.sixteen, k)
		VPSUBD(n, k, n)
		VPSLLQ(Imm(32), p, a)
		VPAND(c.low, n, s)
		VPSRLVQ(s, a, a)
		VPAND(c.high, p, b)
		VPSRLQ(Imm(32), n, s)
		VPSRLVQ(s, b, b)
		for i, w := range []reg.VecPhysical{a, b} {
			VPCMPGTQ(least, w, s)
			VPAND(s, w, w)
			VPADDQ(w, []reg.VecPhysical{total, above}[i], []reg.VecPhysical{total, above}[i])
		}
	} else {
		VPXOR(k, k, k)
		VPSUBD(n, k, n)
		for h := range 2 {
			w, s, t := ymm[4], ymm[5], ymm[6]
			if h == 0 {
				VPMOVZXDQ(xmm[2], w)
				VPMOVZXDQ(xmm[1], s)
			} else {
				VEXTRACTI128(Imm(1), p, xmm[4])
				VEXTRACTI128(Imm(1), n, xmm[5])
				VPMOVZXDQ(xmm[4], w)
				VPMOVZXDQ(xmm[5], s)
			}
			VPSLLQ(Imm(16), w, w)
			VPSRLVQ(s, w, w)
			VMOVDQU(w, Mem{Base: r[3], Disp: 32 * h})
			VPCMPGTQ(least, w, s)
			VPAND(s, w, s)
			VPADDQ(s, total, total)
			VPCMPGTQ(high, w, s)
			VPAND(s, w, t)
			VPADDQ(t, above, above)
			VPCMPGTQ(low, w, t)
			VPANDN(t, s, t)
			VMOVMSKPD(t, []reg.GPPhysical{reg.EAX, reg.EBX}[h])
		}
		SHLL(Imm(4), reg.EBX)
		ORL(reg.EBX, reg.EAX)
		MOVB(reg.AL, Mem{Base: reg.R8})
		ADDQ(Imm(64), r[3])
		INCQ(reg.R8)
	}
	ADDQ(Imm(32), r[1])
	SUBQ(Imm(8), r[2])
	Label("test")
	TESTQ(r[2], r[2])
	JG(LabelRef("loop"))
	if !all {
		VPADDQ(above, total, total)
		sum64(total, xmm[10], xmm[0])
		Store(xmm64(10), ReturnIndex(0))
		done()
		return
	}
	sum64(total, xmm[10], xmm[0])
	sum64(above, xmm[9], xmm[0])
	Store(xmm64(10), ReturnIndex(0))
	Store(xmm64(9), ReturnIndex(1))
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
