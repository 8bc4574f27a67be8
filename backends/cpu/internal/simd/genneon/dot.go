package main

// The kernels of 8-bit blocks and of narrower codes multiply with 8-bit activations (simd.Q8Block): an exact 32-bit sum
// per block of 32 values, its product with the weights' scales and one fused multiply-add by the activation's scale.
//
// 16 bytes of a panel are four values of four rows. With the dot product extension one SDOT meets them with four
// activations, which are one lane; without it SMULL, SMULL2, ADDP and SADALP form the same integers: two products of
// bytes are at most 2·128·127 < 2¹⁵.
//
// A sum begins at magic: as bits of a float32 it then is 1.5·2²³ + sum, without a conversion, and a fused multiply-add
// with −1.5·2²³·scale, which is exact, rounds the product like a multiplication of the converted sum.
const (
	magic     = 3 << 22 // 1.5·2²³, where float32 counts in ones
	magicBits = 0x4b400000
)

// Offsets in a simd.Q8Block.
const (
	actBytes    = 64
	actScale    = 32
	actShift    = 36
	actStart128 = 40 // x86 alone needs it
	actStart8   = 44
	actStart16  = 48
	actHalf     = 52
)

const q8Bytes = 512 // of a panel's integers per block

// dots is a kernel of 8-bit sums. With one token or two, a panel's accumulators are registers. With more, the panel is
// computed in two passes of 8 rows, for as many tokens as the sums of 8 rows fit the registers, and C accumulates: what
// unpacking codes and preparing scales costs is then shared by all of them.
type dots struct {
	tile
	sdot  bool
	vecs  int // of 4 rows in a pass
	x     int // first of the registers of activations, one per token
	low   int // masks: of codes' lower four bits
	high  int // and of those above
	a, b  int // weights; then their scales
	start int // magic's bits
	free  []int
}

func (f *file) newDots(sdot bool, tokens int) dots {
	d := dots{tile: tile{file: f, panels: 1, tokens: tokens, inC: tokens > 2}, sdot: sdot, vecs: panelVecs}
	if d.inC {
		d.vecs = panelVecs / 2
	}
	d.x = d.accs() + tokens*d.vecs
	at := d.x + tokens
	d.low, d.high, d.a, d.b, d.start = at, at+1, at+2, at+3, at+4
	for i := at + 5; i < vectorRegs; i++ {
		d.free = append(d.free, i)
	}
	for t := range tokens { // the activations' registers are free when a block's sums are complete
		d.free = append(d.free, d.x+t)
	}
	return d
}

func (d dots) sum(t, v int) int { return d.accs() + t*d.vecs + v }

// fill broadcasts 32 bits.
func (f *file) fill(v int, bits uint32) {
	f.gop("MOVW $0x%08x, R%d", bits, regTemp)
	f.gop("VDUP R%d, V%d.S4", regTemp, v)
}

// activations loads the 16 activations that the groups 4h to 4h+3 meet.
func (d dots) activations(h int) {
	for t := range d.tokens {
		d.ldr('q', d.x+t, regX+t, 16*h)
	}
}

// begin gives the sums of all tokens what they begin with: what stands at an offset of the activations' blocks, or magic.
func (d dots) begin(at int) {
	for t := range d.tokens {
		first := d.start
		if at > 0 {
			first = d.sum(t, 0)
			d.ldr('s', first, regX+t, at)
			d.dup(first, sLane(first, 0))
		}
		for v := range d.vecs {
			if d.sum(t, v) != first {
				d.mov(d.sum(t, v), first)
			}
		}
	}
}

// dot adds the products of w, vector v of the pass, with the activations of lane i to the sums. Without SDOT it uses the
// last three registers.
func (d dots) dot(w, v, i int) {
	for t := range d.tokens {
		if d.sdot {
			d.op("sdot", s4(d.sum(t, v)), b16(w), bLane(d.x+t, i))
			continue
		}
		x, low, high := vectorRegs-3, vectorRegs-2, vectorRegs-1
		d.dup(x, sLane(d.x+t, i))
		d.op("smull", h8(low), b8(w), b8(x))
		d.op("smull2", h8(high), b16(w), b16(x))
		d.op("addp", h8(low), h8(low), h8(high))
		d.op("sadalp", s4(d.sum(t, v)), h8(low))
	}
}

// scaled adds to the accumulators the sums times the 8 rows' scales, which are in a and b, times the activations' scales;
// and, where add is not empty, the minima m times the activations' shifts. h counts eights of rows from the panel's
// first, at from the pass's.
func (d dots) scaled(h, at int, m [2]int, add string, free []int) {
	c := [2]int{free[0], free[1]} // −magic·scale
	free = free[2:]
	y, p, acc := free[0], free[1], [2]int{free[2], free[3]}
	d.op("fneg", s4(p), s4(d.start))
	for v, s := range []int{d.a, d.b} {
		d.op("fmul", s4(c[v]), s4(p), s4(s))
	}
	each := func(t int) {
		d.ldr('d', y, regX+t, actScale) // and the shift
		if d.inC {
			d.ldp(acc[0], acc[1], regC, 32*h)
		} else {
			acc = [2]int{d.acc(0, t, 2*h), d.acc(0, t, 2*h+1)}
		}
		for v, s := range []int{d.a, d.b} {
			d.mov(p, c[v])
			d.op("fmla", s4(p), s4(d.sum(t, 2*at+v)), s4(s))
			d.op("fmla", s4(acc[v]), s4(p), sLane(y, 0))
			if add != "" {
				d.op(add, s4(acc[v]), s4(m[v]), sLane(y, 1))
			}
		}
		if d.inC {
			d.stp(acc[0], acc[1], regC, 32*h)
		}
	}
	if d.inC {
		d.eachC(each)
		return
	}
	for t := range d.tokens {
		each(t)
	}
}

// passes runs body for each pass over the rows of a block.
func (d dots) passes(body func(first int)) {
	for first := 0; first < panelVecs; first += d.vecs {
		body(first)
	}
}

func (d dots) advance(w int) {
	for t := range d.tokens {
		d.gop("ADD $%d, R%d, R%d", actBytes, regX+t, regX+t)
	}
	d.gop("ADD $%d, R%d, R%d", w, regW, regW)
}

// scales points regScales at the panel's scales.
func (d dots) scales() {
	d.gop("MOVD %d(R0), R%d", tileScales, regScales)
	d.gop("ADD R%d, R%d, R%d", regW, regScales, regScales)
}

func dotKind(kind string, sdot bool) string {
	if sdot {
		return "neonDot" + kind
	}
	return "neon" + kind
}

// q8 multiplies panels of 8-bit blocks (simd.PackQ8 has the layout; its integers are signed on arm64).
func (f *file) q8(sdot bool, tokens int) {
	d := f.newDots(sdot, tokens)
	f.kernel(dotKind("Q8", sdot), d.tile, func() {
		f.fill(d.start, magicBits)
		d.scales()
		f.gop("LSR $5, R%d, R%d", regK, regK)
		f.gop("CBZ R%d, end", regK)
		f.label("loop")
		d.passes(func(first int) {
			d.begin(0)
			for g := range 8 {
				if g%4 == 0 {
					d.activations(g / 4)
				}
				for v := 0; v < d.vecs; v += 2 {
					f.ldp(d.a, d.b, regW, 64*g+16*(first+v))
					d.dot(d.a, v, g%4)
					d.dot(d.b, v+1, g%4)
				}
			}
			for v := 0; v < d.vecs; v += 2 {
				f.ldr('q', d.b, regScales, 8*(first+v))
				f.op("fcvtl", s4(d.a), h4(d.b))
				f.op("fcvtl2", s4(d.b), h8(d.b))
				d.scaled((first+v)/2, v/2, [2]int{}, "", d.free)
			}
		})
		d.advance(q8Bytes)
		f.gop("ADD $%d, R%d, R%d", 2*panelRows, regScales, regScales)
		f.gop("SUBS $1, R%d, R%d", regK, regK)
		f.gop("BNE loop")
	})
}
