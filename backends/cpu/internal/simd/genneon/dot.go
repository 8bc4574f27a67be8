package main

// The kernels of 8-bit blocks and of narrower codes multiply with 8-bit activations (simd.Q8Block): an exact 32-bit sum
// per block of 32 values, one multiplication by the weights' scales and one fused multiply-add by the activation's scale.
// 16 bytes of a panel are four values of four rows. With the dot product extension one SDOT meets them with four
// activations, which are one lane; without it SMULL, SMULL2, ADDP and SADALP form the same integers: two products of
// bytes are at most 2·128·127 < 2¹⁵.

// Offsets in a simd.Q8Block.
const (
	actBytes = 52
	actScale = 32
	actSum   = 36
	actShift = 40
	actHalf  = 44
)

const q8Bytes = 512 // of a panel's integers per block

// dots is a kernel of 8-bit sums. So that accumulators, sums and activations fit the registers, tiles of many tokens take
// a panel's block in two passes of 8 rows.
type dots struct {
	tile
	sdot bool
	vecs int // of 4 rows in a pass
	x    int // first of the registers of activations, one per token
	free int // first register behind them
}

func newDots(k tile, sdot bool) dots {
	d := dots{tile: k, sdot: sdot, vecs: panelVecs}
	if k.tokens > 2 {
		d.vecs = panelVecs / 2
	}
	d.x = k.accs() + k.tokens*d.vecs
	d.free = d.x + k.tokens
	return d
}

func (d dots) sum(t, v int) int { return d.accs() + t*d.vecs + v }

// activations loads the 16 activations that the groups 4h to 4h+3 meet.
func (d dots) activations(h int) {
	for t := range d.tokens {
		d.ldr('q', d.x+t, regX+t, 16*h)
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

// scale adds the sums, times the 8 rows' scales in a and b, times the activations' scales; h counts eights of rows from
// the panel's first, at from the pass's. The activations' registers are free by now.
func (d dots) scale(h, at, a, b int) {
	for t := range d.tokens {
		d.ldr('s', d.x+t, regX+t, actScale)
	}
	for v, s := range []int{a, b} {
		for t := range d.tokens {
			sum := d.sum(t, 2*at+v)
			d.op("scvtf", s4(sum), s4(sum))
			d.op("fmul", s4(sum), s4(sum), s4(s))
			d.op("fmla", s4(d.acc(0, t, 2*h+v)), s4(sum), sLane(d.x+t, 0))
		}
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

// q8 multiplies panels of 8-bit blocks (simd.PackQ8 has the layout; its integers are offset by 128).
func (f *file) q8(sdot bool, tokens int) {
	f.kernel(dotKind("Q8", sdot), 1, tokens, func(k tile) {
		d := newDots(k, sdot)
		a, b, flip := d.free, d.free+1, d.free+2
		f.bytes(flip, 0x80)
		d.scales()
		f.gop("LSR $5, R%d, R%d", regK, regK)
		f.gop("CBZ R%d, end", regK)
		f.label("loop")
		d.passes(func(first int) {
			for i := range tokens * d.vecs {
				f.zero(d.sum(0, i))
			}
			for g := range 8 {
				if g%4 == 0 {
					d.activations(g / 4)
				}
				for v := 0; v < d.vecs; v += 2 {
					f.ldp(a, b, regW, 64*g+16*(first+v))
					for i, w := range []int{a, b} {
						f.op("eor", b16(w), b16(w), b16(flip))
						d.dot(w, v+i, g%4)
					}
				}
			}
			for v := 0; v < d.vecs; v += 2 {
				f.ldr('q', b, regScales, 8*(first+v))
				f.op("fcvtl", s4(a), h4(b))
				f.op("fcvtl2", s4(b), h8(b))
				d.scale((first+v)/2, v/2, a, b)
			}
		})
		d.advance(q8Bytes)
		f.gop("ADD $%d, R%d, R%d", 2*panelRows, regScales, regScales)
		f.gop("SUBS $1, R%d, R%d", regK, regK)
		f.gop("BNE loop")
	})
}
