package main

// A codes kernel multiplies panels of 4-, 5- or 6-bit codes (simd.Coding has the layout). Codes are never negative; what
// a format subtracts from every code comes off through the sums of the activations, which are part of their blocks. A
// format's minima take one more multiply-add with the activation's shift.
type coding struct {
	name  string
	bits  int
	zero  int  // −128·Σ of the activations shifted right by this undoes the codes' offset; 0: they have none
	mins  int  // +1: a minimum is added to every value, −1: it is subtracted
	super bool // 256 values share f16 scales of 8-bit scales
	half  bool // a scale belongs to 16 values, and is signed; codes are offset by 32
}

var codings = []coding{
	{name: "Q4_0", bits: 4, zero: 4},
	{name: "Q4_1", bits: 4, mins: +1},
	{name: "Q5_0", bits: 5, zero: 3},
	{name: "Q5_1", bits: 5, mins: +1},
	{name: "Q4_K", bits: 4, mins: -1, super: true},
	{name: "Q5_K", bits: 5, mins: -1, super: true},
	{name: "Q6_K", bits: 6, super: true, half: true},
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
	low, high int // masks of the lower four bits and of those above
	a, b      int
}

func (f *file) codes(c coding, sdot bool, tokens int) {
	f.kernel(dotKind(c.name, sdot), 1, tokens, func(t tile) {
		k := codes{dots: newDots(t, sdot), coding: c}
		k.low, k.high, k.a, k.b = k.free, k.free+1, k.free+2, k.free+3
		f.bytes(k.low, 0x0f)
		f.bytes(k.high, 16*uint32(1<<(c.bits-4)-1))
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
		if upper == 0 || k.half {
			k.start(upper)
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
		for v := 0; v < k.vecs; v += 2 {
			h := (first + v) / 2
			a, b := k.weightScales(panelRows*upper*boolInt(k.half), superScale, h)
			k.scale(h, v/2, a, b)
			if k.mins != 0 {
				k.minima(h)
			}
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// start gives the sums what undoes the codes' offset.
func (k codes) start(part int) {
	for t := range k.tokens {
		s := k.sum(t, 0)
		switch {
		case k.half:
			k.ldr('s', s, regX+t, actHalf+4*part)
			k.dup(s, sLane(s, 0))
		case k.zero > 0:
			k.ldr('s', s, regX+t, actSum)
			k.dup(s, sLane(s, 0))
			k.shift("sshr", s4(s), s4(s), k.zero)
		default:
			k.file.zero(s)
		}
		for v := 1; v < k.vecs; v++ {
			if k.half || k.zero > 0 {
				k.mov(k.sum(t, v), s)
			} else {
				k.file.zero(k.sum(t, v))
			}
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

// weightScales loads the scales (or minima) of 8 rows, eights h, from at behind the block's; 8-bit ones are multiplied by
// the f16 at super behind the super-block's. Registers of activations serve where no others are left.
func (k codes) weightScales(at, super, h int) (a, b int) {
	a, b = k.a, k.b
	if !k.super {
		k.ldr('q', b, regScales, at+16*h)
		k.op("fcvtl", s4(a), h4(b))
		k.op("fcvtl2", s4(b), h8(b))
		return a, b
	}
	widen, convert := "ushll", "ucvtf"
	if k.half {
		widen, convert = "sshll", "scvtf"
	}
	k.ldr('d', b, regScales, at+8*h)
	k.shift(widen, h8(b), b8(b), 0)
	k.shift(widen, s4(a), h4(b), 0)
	k.shift(widen+"2", s4(b), h8(b), 0)
	c, d := k.b+1, k.b+2
	if k.tokens > 2 {
		c, d = k.x, k.x+1
	}
	k.ldr('q', c, regSuper, super+16*h)
	k.op("fcvtl", s4(d), h4(c))
	k.op("fcvtl2", s4(c), h8(c))
	for _, s := range [][2]int{{a, d}, {b, c}} {
		k.op(convert, s4(s[0]), s4(s[0]))
		k.op("fmul", s4(s[0]), s4(s[0]), s4(s[1]))
	}
	return a, b
}

// minima adds what the minima of 8 rows give.
func (k codes) minima(h int) {
	at, add := 2*panelRows, "fmls"
	if k.mins < 0 {
		at, add = superMins, "fmla"
	}
	a, b := k.weightScales(at, superMin, h)
	for t := range k.tokens {
		k.ldr('s', k.x+t, regX+t, actShift)
		for v, s := range []int{a, b} {
			k.op(add, s4(k.acc(0, t, 2*h+v)), s4(s), sLane(k.x+t, 0))
		}
	}
}
