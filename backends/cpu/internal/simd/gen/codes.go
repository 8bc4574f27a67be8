package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A codes kernel multiplies panels of 4-, 5- or 6-bit codes (simd.Coding has the layout) with the 8-bit activations of
// the q8 kernels. Codes are never negative, so they are VPDPBUSD's unsigned operand as they lie; what a format subtracts
// from every code comes off through the sums of the activations, which are part of their blocks. Per block of 32 values
// (of 16, where a scale belongs to 16) there is an exact 32-bit sum, one multiplication by the weights' scales and one
// fused multiply-add by the activation's scale; a format's minima take one more with the activation's shift.
type coding struct {
	name  string
	bits  int
	start int  // where a block of activations has what undoes the codes' offset; 0: they have none
	mins  int  // +1: a minimum is added to every value, −1: it is subtracted
	super bool // 256 values share f16 scales of 8-bit scales
	half  bool // a scale belongs to 16 values, and is signed; codes are offset by 32
}

var codings = []coding{
	{name: "Q4_0", bits: 4, start: actStart8},
	{name: "Q4_1", bits: 4, mins: +1},
	{name: "Q5_0", bits: 5, start: actStart16},
	{name: "Q5_1", bits: 5, mins: +1},
	{name: "Q4_K", bits: 4, mins: -1, super: true},
	{name: "Q5_K", bits: 5, mins: -1, super: true},
	{name: "Q6_K", bits: 6, super: true, half: true},
}

// Offsets in a simd.Q8Block.
const (
	actScale    = 32
	actShift    = 36
	actStart128 = 40
	actStart8   = 44
	actStart16  = 48
	actHalf     = 52
)

// magic is 1.5·2²³, where float32 counts in ones.
const magic = 3 << 22

// wBlock is how many bytes 32 values of a panel's codes take.
func (f coding) wBlock() int { return 64 * f.bits }

// sBlock is what a block's scales and minima take: f16, or 8 bits within a super-block.
func (f coding) sBlock() int {
	n := 32
	if f.super {
		n = 16
	}
	if f.mins != 0 || f.half {
		n *= 2
	}
	return n
}

// Within a super-block's scales, the minima, the f16 scale of the scales and that of the minima.
const (
	superMins  = 128
	superScale = 256
	superMin   = 288
)

// record is what a super-block's scales take.
func (f coding) record() int {
	if f.mins != 0 {
		return superMin + 32
	}
	return superScale + 32
}

// scaleBytes is what 32 values' share of the scales takes.
func (f coding) scaleBytes() int {
	if f.super {
		return f.record() / 8
	}
	return f.sBlock()
}

// loop runs body for every block: relative to the advancing panel pointers, s is where its scales are and d where its
// super-block's are.
func (f coding) loop(r tileRegs, s, d reg.GPPhysical, body func()) {
	count := r.spare()[0]
	MOVQ(Mem{Base: r.t, Disp: tileScales}, s)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	if f.super {
		SHRQ(Imm(8), r.k)
	} else {
		SHRQ(Imm(5), r.k)
	}
	JEQ(LabelRef("end"))
	Label("loop")
	step := f.sBlock()
	if f.super {
		if f.mins != 0 {
			step /= 2 // scales of all blocks come before the minima
		}
		MOVQ(s, d)
		MOVQ(U32(8), count)
		Label("block")
	}
	body()
	r.near(f.wBlock())
	r.far(len(r.w) * (f.wBlock() + f.scaleBytes()))
	r.advance(q8X, f.wBlock())
	SUBQ(U32(f.wBlock()-step), s)
	if f.super {
		SUBQ(U32(f.wBlock()), d)
		DECQ(count)
		JNE(LabelRef("block"))
		LEAQ(Mem{Base: d, Disp: f.record()}, s)
	}
	DECQ(r.k)
	JNE(LabelRef("loop"))
	Label("end")
}

// line is where the codes of group g (values 4g to 4g+3 of 16 rows) have their low four bits: in the lower halves of the
// bytes of the first four lines, then in the upper halves.
func (f coding) line(g int) int { return 64 * (g % 4) }

// plane is where group g's upper bits are, and by how much they must be shifted left (right, where negative) to be bits
// 4 and 5.
func (f coding) plane(g int) (disp, left int) {
	if f.bits == 6 {
		return 256 + 64*(g/4), 4 - 2*(g%4)
	}
	return 256, 4 - g
}

func (f coding) upper() uint32 { return 0x10101010 * uint32(1<<(f.bits-4)-1) }

// parts are the runs of groups that have a scale of their own.
func (f coding) parts() int {
	if f.half {
		return 2
	}
	return 1
}

// begin is what a token's sum of a part begins with: magic, and what undoes the codes' offset.
func (f coding) begin(r tileRegs, part, t int, none Mem) Mem {
	switch {
	case f.half:
		return r.token(t, actHalf+4*part)
	case f.start > 0:
		return r.token(t, f.start)
	}
	return none
}

// code512 brings group g's codes into c.
func (f coding) code512(base reg.GPPhysical, g int, low, high, c, t reg.VecPhysical) {
	m := Mem{Base: base, Disp: f.line(g)}
	if g < 4 {
		VPANDD(m, low, c)
	} else {
		VPSRLW(Imm(4), m, c)
		VPANDD(low, c, c)
	}
	if f.bits == 4 {
		return
	}
	disp, left := f.plane(g)
	m = Mem{Base: base, Disp: disp}
	switch {
	case left > 0:
		VPSLLW(Imm(uint64(left)), m, t)
	case left < 0:
		VPSRLW(Imm(uint64(-left)), m, t)
	default:
		VMOVDQU32(m, t)
	}
	VPTERNLOGD(U8(0xf8), high, t, c) // c | t&high
}

// scales loads a vector of scales as f32: f16 ones, or 8-bit ones, each multiplied by its f16 scale, which super loads.
func (f coding) scales(m Mem, v reg.VecPhysical, super func() reg.VecPhysical) {
	switch {
	case !f.super:
		VCVTPH2PS(m, v)
		return
	case f.half:
		VPMOVSXBD(m, v)
	default:
		VPMOVZXBD(m, v)
	}
	VCVTDQ2PS(v, v)
	VMULPS(super(), v, v)
}

func codesVNNI(f coding, panels, tokens int, k codeConsts) {
	if tokens >= hybridTokens {
		codesHybrid(f, panels, tokens, k)
		return
	}
	tile512(name("codes512"+f.name, panels, tokens), panels, tokens, func(r tileRegs, acc func(p, t int) reg.VecPhysical) {
		s, d := reg.R11, reg.R12
		sum := zmm[panels*tokens:][:tokens]
		c, upper, low, high := zmm[31], zmm[30], zmm[29], zmm[28]
		scale := upper // which is free behind a part's codes
		VPBROADCASTD(k.low, low)
		if f.bits > 4 {
			VPBROADCASTD(k.high[f.bits], high)
		}
		f.loop(r, s, d, func() {
			for p, base := range r.w {
				scales := func(disp, super int) {
					f.scales(Mem{Base: base, Index: s, Scale: 1, Disp: disp}, scale, func() reg.VecPhysical {
						VCVTPH2PS(Mem{Base: base, Index: d, Scale: 1, Disp: super}, c)
						return c
					})
				}
				for part := range f.parts() {
					for t := range tokens {
						VPBROADCASTD(f.begin(r, part, t, k.start), sum[t])
					}
					groups := 8 / f.parts()
					for g := part * groups; g < (part+1)*groups; g++ {
						f.code512(base, g, low, high, c, upper)
						for t := range tokens {
							VPDPBUSD_BCST(r.token(t, 4*g), c, sum[t])
						}
					}
					scales(16*part, superScale)
					VMULPS_BCST(k.minus, scale, c)
					for t := range tokens {
						VFMADD213PS(c, scale, sum[t])
						VFMADD231PS_BCST(r.token(t, actScale), sum[t], acc(p, t))
					}
				}
				switch {
				case f.mins > 0:
					scales(32, 0)
					for t := range tokens {
						VFNMADD231PS_BCST(r.token(t, actShift), scale, acc(p, t))
					}
				case f.mins < 0:
					scales(superMins, superMin)
					for t := range tokens {
						VFMADD231PS_BCST(r.token(t, actShift), scale, acc(p, t))
					}
				}
			}
		})
	})
}

// codesHybrid is the same for so many tokens that codes are better unpacked for two panels at a time.
func codesHybrid(f coding, panels, tokens int, k codeConsts) {
	constants := 1
	if f.bits > 4 {
		constants = 3
	}
	h := beginHybrid(name("codes512"+f.name, panels, tokens), panels, tokens, constants)
	s, d := reg.R11, reg.R12
	low := h.free[0]
	var high, upper reg.VecPhysical
	VPBROADCASTD(k.low, low)
	if f.bits > 4 {
		high, upper = h.free[1], h.free[2]
		VPBROADCASTD(k.high[f.bits], high)
	}
	scales := func(p, disp, super int, v, spare reg.VecPhysical) {
		f.scales(Mem{Base: h.r.w[p], Index: s, Scale: 1, Disp: disp}, v, func() reg.VecPhysical {
			VCVTPH2PS(Mem{Base: h.r.w[p], Index: d, Scale: 1, Disp: super}, spare)
			return spare
		})
	}
	f.loop(h.r, s, d, func() {
		h.block(blocks{
			parts: f.parts(),
			start: func(part, t int) Mem { return f.begin(h.r, part, t, k.start) },
			code:  func(p, g int, w reg.VecPhysical) { f.code512(h.r.w[p], g, low, high, w, upper) },
			scales: func(part, p int, w, c reg.VecPhysical) {
				scales(p, 16*part, superScale, w, c)
				VMULPS_BCST(k.minus, w, c)
			},
			minimum: func(p int, w, spare reg.VecPhysical) {
				if f.mins > 0 {
					scales(p, 32, 0, w, spare)
				} else {
					scales(p, superMins, superMin, w, spare)
				}
			},
			mins:  f.mins != 0,
			minus: f.mins > 0,
		})
	})
	h.end()
}

// codesAVX2 forms the same integers with VPMADDUBSW, whose pairs stay below 2·63·127 < 2¹⁵; of 4-bit codes a whole
// block's sum does: 8·2·15·127.
func codesAVX2(f coding, tokens int, k codeConsts) {
	tile256(name("codes256"+f.name, 1, tokens), 1, tokens, func(r tileRegs, acc func(p, h, t int) reg.VecPhysical) {
		s, d := reg.R11, reg.R12
		sum := ymm[2*tokens:][:tokens]
		c, upper, x, scale := ymm[15], ymm[14], ymm[13], ymm[12]
		base := r.w[0]
		f.loop(r, s, d, func() {
			for h := range 2 {
				scales := func(disp, super int, v reg.VecPhysical) {
					m := Mem{Base: base, Index: s, Scale: 1, Disp: disp + 8*h}
					if !f.super {
						m.Disp += 8 * h
					}
					f.scales(m, v, func() reg.VecPhysical {
						VCVTPH2PS(Mem{Base: base, Index: d, Scale: 1, Disp: super + 16*h}, c)
						return c
					})
				}
				for part := range f.parts() {
					for t := range tokens {
						if f.bits == 4 { // 16 bits at first
							VPXOR(sum[t], sum[t], sum[t])
						} else {
							VPBROADCASTD(f.begin(r, part, t, k.start), sum[t])
						}
					}
					groups := 8 / f.parts()
					for g := part * groups; g < (part+1)*groups; g++ {
						f.code256(base, g, h, k.low, k.high[f.bits], c, upper)
						for t := range tokens {
							VPBROADCASTD(r.token(t, 4*g), x)
							VPMADDUBSW(x, c, x)
							if f.bits == 4 {
								VPADDW(x, sum[t], sum[t])
								continue
							}
							VPMADDWD(k.ones, x, x)
							VPADDD(x, sum[t], sum[t])
						}
					}
					scales(16*part, superScale, scale)
					VMULPS(k.minus, scale, c)
					for t := range tokens {
						if f.bits == 4 {
							VPMADDWD(k.ones, sum[t], sum[t])
							VPBROADCASTD(f.begin(r, part, t, k.start), x)
							VPADDD(x, sum[t], sum[t])
						}
						VFMADD213PS(c, scale, sum[t])
						VBROADCASTSS(r.token(t, actScale), x)
						VFMADD231PS(x, sum[t], acc(0, h, t))
					}
				}
				switch {
				case f.mins > 0:
					scales(32, 0, scale)
				case f.mins < 0:
					scales(superMins, superMin, scale)
				default:
					continue
				}
				for t := range tokens {
					VBROADCASTSS(r.token(t, actShift), x)
					if f.mins > 0 {
						VFNMADD231PS(x, scale, acc(0, h, t))
					} else {
						VFMADD231PS(x, scale, acc(0, h, t))
					}
				}
			}
		})
	})
}

// code256 is code512 for one half of the rows.
func (f coding) code256(base reg.GPPhysical, g, h int, low, high Mem, c, t reg.VecPhysical) {
	VMOVDQU(Mem{Base: base, Disp: f.line(g) + 32*h}, c)
	if g >= 4 {
		VPSRLW(Imm(4), c, c)
	}
	VPAND(low, c, c)
	if f.bits == 4 {
		return
	}
	disp, left := f.plane(g)
	VMOVDQU(Mem{Base: base, Disp: disp + 32*h}, t)
	switch {
	case left > 0:
		VPSLLW(Imm(uint64(left)), t, t)
	case left < 0:
		VPSRLW(Imm(uint64(-left)), t, t)
	}
	VPAND(high, t, t)
	VPOR(t, c, c)
}

// codeConsts are the constants of a level's kernels.
type codeConsts struct {
	low, ones, minus, start Mem
	high                    map[int]Mem // by bits
}

// codes writes the kernels of one level.
func codes(what string) {
	c := codeConsts{low: vector8(what+"Low", 0x0f0f0f0f), minus: float8(what+"Minus", -magic), start: float8(what+"Start", magic), high: map[int]Mem{}}
	if what == "codes256" {
		c.ones = vector8(what+"Ones", 0x00010001)
	}
	for _, f := range codings {
		if _, have := c.high[f.bits]; !have && f.bits > 4 {
			c.high[f.bits] = vector8(fmt.Sprint(what, "Upper", f.bits), f.upper())
		}
		for _, k := range kinds {
			if k.kind == what+f.name {
				k.each(func(p, t int) {
					if what == "codes512" {
						codesVNNI(f, p, t, c)
					} else {
						codesAVX2(f, t, c)
					}
				})
			}
		}
	}
}
