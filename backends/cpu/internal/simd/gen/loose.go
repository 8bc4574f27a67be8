package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Where codes meet more tokens than a few, they are unpacked once for all of them: an unpack kernel makes bytes and f32
// scales of a few blocks of a panel, which stay in the nearest caches, and a loose kernel multiplies these. Sums, scales
// and their order are those of the codes kernels, and so are the bits.
//
// A loose block is 512 bytes of codes, eight groups of 16 rows × 4 values, and then vectors of 16 f32: the scale and
// −1.5·2²³ times it, for each half where each has a scale, and the minimum with the sign with which it is added.

// loose is a kind of loose kernel: what codings have in common once they are unpacked.
type loose struct {
	name  string
	start int // where a block of activations has what undoes the codes' offset; 0: they have none
	mins  bool
	half  bool
}

var looses = []loose{{name: "8", start: actStart8}, {name: "16", start: actStart16}, {name: "Mins", mins: true}, {name: "Half", half: true}}

func (f coding) loose() loose {
	for _, l := range looses {
		if l.start == f.start && l.mins == (f.mins != 0) && l.half == f.half {
			return l
		}
	}
	panic("no loose kernel for " + f.name)
}

func (l loose) parts() int {
	if l.half {
		return 2
	}
	return 1
}

// block is what 32 values of a panel take.
func (l loose) block() int {
	n := q8Block + 128*l.parts()
	if l.mins {
		n += 64
	}
	return n
}

// unpack512 writes loose blocks.
func unpack512(f coding, k codeConsts, sign Mem) {
	TEXT("unpack512"+f.name, NOSPLIT, "func(dst, codes, scales *byte, blocks int)")
	dst, base, s, n, count := reg.RDI, reg.RAX, reg.RSI, reg.RCX, reg.RDX
	Load(Param("dst"), dst)
	Load(Param("codes"), base)
	Load(Param("scales"), s)
	Load(Param("blocks"), n)
	low, high, minus := zmm[31], zmm[30], zmm[29]
	scale, minimum := zmm[28], zmm[27] // of a super-block
	VPBROADCASTD(k.low, low)
	if f.bits > 4 {
		VPBROADCASTD(k.high[f.bits], high)
	}
	VBROADCASTSS(k.minus, minus)
	if f.super {
		SHRQ(Imm(3), n)
	}
	TESTQ(n, n)
	JEQ(LabelRef("end"))
	Label("loop")
	if f.super {
		VCVTPH2PS(Mem{Base: s, Disp: superScale}, scale)
		if f.mins != 0 {
			VCVTPH2PS(Mem{Base: s, Disp: superMin}, minimum)
		}
		MOVQ(U32(8), count)
		Label("block")
	}
	for g := range blockGroups {
		c := zmm[2*g]
		f.code512(base, g, low, high, c, zmm[2*g+1])
		VMOVDQU32(c, Mem{Base: dst, Disp: 64 * g})
	}
	at := q8Block
	put := func(v reg.VecPhysical) {
		VMOVUPS(v, Mem{Base: dst, Disp: at})
		at += 64
	}
	vector := func(disp int, super, v reg.VecPhysical) {
		f.scales(Mem{Base: s, Disp: disp}, v, func() reg.VecPhysical { return super })
	}
	for part := range f.parts() {
		v, c := zmm[16+2*part], zmm[17+2*part]
		vector(16*part, scale, v)
		VMULPS(minus, v, c)
		put(v)
		put(c)
	}
	if f.mins != 0 {
		disp := 32
		if f.super {
			disp = superMins
		}
		vector(disp, minimum, zmm[20])
		if f.mins > 0 { // the activation's shift is negative
			VPXORD_BCST(sign, zmm[20], zmm[20])
		}
		put(zmm[20])
	}
	ADDQ(U32(uint32(at)), dst)
	ADDQ(U32(f.wBlock()), base)
	if !f.super {
		ADDQ(U32(f.sBlock()), s)
	} else {
		step := f.sBlock()
		if f.mins != 0 {
			step /= 2 // scales of all blocks come before the minima
		}
		ADDQ(U32(step), s)
		DECQ(count)
		JNE(LabelRef("block"))
		ADDQ(U32(f.record()-8*step), s)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	Label("end")
	VZEROUPPER()
	RET()
}

// ask prefetches two lines of what comes next in as many of its places in the code as the tile's rate says, evenly.
func (r tileRegs) ask(rate reg.GPPhysical, place int) {
	skip := fmt.Sprintf("place%d", place)
	SUBQ(rate, r.due)
	JGE(LabelRef(skip))
	ADDQ(U32(rateOne), r.due)
	PREFETCHT1(Mem{Base: r.next})
	PREFETCHT1(Mem{Base: r.next, Disp: 64})
	ADDQ(U32(128), r.next)
	Label(skip)
}

// rateOne is the rate of a kernel that asks in all of its places, one for every group of a block.
const rateOne = 1 << 16

// loose512 multiplies loose blocks.
func loose512(l loose, panels, tokens int, start Mem) {
	h := beginHybrid(name("loose512"+l.name, panels, tokens), panels, tokens, 0)
	r, rate := h.r, reg.R12
	MOVQ(Mem{Base: r.t, Disp: tileEvery}, rate)
	XORQ(r.due, r.due)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	SHRQ(Imm(5), r.k)
	JEQ(LabelRef("end"))
	Label("loop")
	h.block(blocks{
		parts: l.parts(),
		start: func(part, t int) Mem {
			switch {
			case l.half:
				return r.token(t, actHalf+4*part)
			case l.start > 0:
				return r.token(t, l.start)
			}
			return start
		},
		code: func(p, g int, w reg.VecPhysical) { VMOVDQU32(Mem{Base: r.w[p], Disp: 64 * g}, w) },
		scales: func(part, p int, w, c reg.VecPhysical) {
			VMOVUPS(Mem{Base: r.w[p], Disp: q8Block + 128*part}, w)
			VMOVUPS(Mem{Base: r.w[p], Disp: q8Block + 128*part + 64}, c)
		},
		minimum: func(p int, w, _ reg.VecPhysical) { VMOVUPS(Mem{Base: r.w[p], Disp: q8Block + 128}, w) },
		mins:    l.mins,
		after:   func(g int) { r.ask(rate, g) },
	})
	r.advance(q8X, l.block())
	DECQ(r.k)
	JNE(LabelRef("loop"))
	Label("end")
	h.end()
}

// loosely writes the unpacking and the loose kernels.
func loosely() {
	k := codeConsts{low: vector8("looseLow", 0x0f0f0f0f), minus: float8("looseMinus", -magic), start: float8("looseStart", magic), high: map[int]Mem{}}
	sign := vector8("looseSign", 1<<31)
	for _, f := range codings {
		if _, have := k.high[f.bits]; !have && f.bits > 4 {
			k.high[f.bits] = vector8(fmt.Sprint("looseUpper", f.bits), f.upper())
		}
		unpack512(f, k, sign)
	}
	for _, l := range looses {
		for _, t := range kinds {
			if t.kind == "loose512"+l.name {
				t.each(func(p, t int) { loose512(l, p, t, k.start) })
			}
		}
	}
}
