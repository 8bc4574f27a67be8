package main

// A codes kernel multiplies panels of 4-, 5- or 6-bit codes (simd.Coding has the layout). Codes are never negative; what
// a format subtracts from every code comes off through what the sums begin with, which is part of the activations'
// blocks. A format's minima take one more multiply-add with the activation's shift.
type coding struct {
	name   string
	bits   int
	offset int  // where a block of activations has what undoes the codes' offset; 0: they have none
	mins   int  // +1: a minimum is added to every value, −1: it is subtracted
	super  bool // 256 values share f16 scales of 8-bit scales
	half   bool // a scale belongs to 16 values, and is signed
}

var codings = []coding{
	{name: "Q4_0", bits: 4, offset: actStart8},
	{name: "Q4_1", bits: 4, mins: +1},
	{name: "Q5_0", bits: 5, offset: actStart16},
	{name: "Q5_1", bits: 5, mins: +1},
	{name: "Q4_K", bits: 4, mins: -1, super: true},
	{name: "Q5_K", bits: 5, mins: -1, super: true},
	{name: "Q6_K", bits: 6, offset: actHalf, super: true, half: true},
}

// Within a super-block's scales: the minima, the f16 scale of the scales and that of the minima.
const (
	superMins  = superBlocks * panelRows
	superScale = 2 * superMins
	superMin   = superScale + 2*panelRows
)

// wBytes is what 32 values of a panel's codes take.
func (c coding) wBytes() int { return 4 * panelRows * c.bits }

// sStep is how far apart the scales of two blocks lie, of a super-block's within it.
func (c coding) sStep() int {
	switch {
	case c.half:
		return 2 * panelRows
	case c.super:
		return panelRows
	case c.mins != 0:
		return 4 * panelRows
	}
	return 2 * panelRows
}

// record is what a super-block's scales take.
func (c coding) record() int {
	if c.mins != 0 {
		return superMin + 2*panelRows
	}
	return superScale + 2*panelRows
}

// codes is a kernel being written.
type codes struct {
	dots
	coding
}

func (f *file) codes(c coding, sdot bool, tokens int) {
	k := codes{f.newDots(sdot, tokens), c}
	f.kernel(dotKind(c.name, sdot), k.tile, func() {
		f.fill(k.start, magicBits)
		f.bytes(k.low, 0x0f)
		if c.bits > 4 {
			f.bytes(k.high, 16*uint32(1<<(c.bits-4)-1))
		}
		k.scales()
		if c.super {
			f.gop("LSR $8, R%d, R%d", regK, regK)
		} else {
			f.gop("LSR $5, R%d, R%d", regK, regK)
		}
		f.gop("CBZ R%d, end", regK)
		f.label("loop")
		if c.super {
			f.gop("MOVD R%d, R%d", regScales, regSuper)
			f.gop("MOVD $%d, R%d", superBlocks, regCount)
			f.label("block")
		}
		k.passes(k.pass)
		k.advance(c.wBytes())
		f.gop("ADD $%d, R%d, R%d", c.sStep(), regScales, regScales)
		if c.super {
			f.gop("SUBS $1, R%d, R%d", regCount, regCount)
			f.gop("BNE block")
			f.gop("ADD $%d, R%d, R%d", c.record(), regSuper, regScales)
		}
		f.gop("SUBS $1, R%d, R%d", regK, regK)
		f.gop("BNE loop")
	})
}

// pass computes a block for the rows from vector first on: groups 0 to 3 of 4 values, whose low bits are in the lower
// halves of four lines, then groups 4 to 7 in the upper ones.
func (k codes) pass(first int) {
	for upper := range 2 {
		if k.half {
			k.begin(k.offset + 4*upper)
		} else if upper == 0 {
			k.begin(k.offset)
		}
		k.activations(upper)
		for g := range 4 {
			for v := range k.vecs {
				k.code(4*upper+g, first+v)
				k.dot(k.a, v, g)
			}
		}
		if upper == 0 && !k.half {
			continue
		}
		at := 0
		if k.half {
			at = panelRows * upper
		}
		for v := 0; v < k.vecs; v += 2 {
			h, free := (first+v)/2, k.free
			m, add := [2]int{}, ""
			if k.mins != 0 {
				m, free = [2]int{free[0], free[1]}, free[2:]
				if add = "fmla"; k.mins > 0 {
					add = "fmls"
					k.rowScales(m, 2*panelRows, 0, h, free)
				} else {
					k.rowScales(m, superMins, superMin, h, free)
				}
			}
			k.rowScales([2]int{k.a, k.b}, at, superScale, h, free)
			k.scaled(h, v/2, m, add, free)
		}
	}
}

// code brings the codes of group g and vector v of the panel into register a.
func (k codes) code(g, v int) {
	at := 64*(g%4) + 16*v
	if k.bits == 4 {
		k.ldr('q', k.a, regW, at)
		if g < 4 {
			k.op("and", b16(k.a), b16(k.a), b16(k.low))
		} else {
			k.shift("ushr", b16(k.a), b16(k.a), 4)
		}
		return
	}
	// The upper bits come to bits 4 and 5 first; what is below them gives way to the lower bits.
	plane, left := 256, 4-g
	if k.bits == 6 {
		plane, left = 256+64*(g/4), 4-2*(g%4)
	}
	k.ldr('q', k.a, regW, plane+16*v)
	k.ldr('q', k.b, regW, at)
	switch {
	case left > 0:
		k.shift("shl", b16(k.a), b16(k.a), left)
	case left < 0:
		k.shift("ushr", b16(k.a), b16(k.a), -left)
	}
	if -left < 8-k.bits { // else the shift left nothing above
		k.op("and", b16(k.a), b16(k.a), b16(k.high))
	}
	if g < 4 {
		k.op("bit", b16(k.a), b16(k.b), b16(k.low))
	} else {
		k.shift("sri", b16(k.a), b16(k.b), 4)
	}
}

// rowScales loads the scales (or minima) of 8 rows, eights h, into two registers, from at behind the block's; 8-bit ones
// are multiplied by the f16 at super behind the super-block's.
func (k codes) rowScales(to [2]int, at, super, h int, free []int) {
	a, b := to[0], to[1]
	if !k.super {
		k.ldr('q', b, regScales, at+16*h)
		k.op("fcvtl", s4(a), h4(b))
		k.op("fcvtl2", s4(b), h8(b))
		return
	}
	widen, convert := "ushll", "ucvtf"
	if k.half {
		widen, convert = "sshll", "scvtf"
	}
	c, d := free[0], free[1]
	k.ldr('d', b, regScales, at+8*h)
	k.floats(widen, convert, a, b)
	k.ldr('q', c, regSuper, super+16*h)
	k.op("fcvtl", s4(d), h4(c))
	k.op("fcvtl2", s4(c), h8(c))
	k.op("fmul", s4(a), s4(a), s4(d))
	k.op("fmul", s4(b), s4(b), s4(c))
}
