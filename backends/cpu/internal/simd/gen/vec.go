package main

import (
	"fmt"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Every kernel names its registers itself: tiles are laid out by hand, and the raw encodings need the numbers.
var (
	zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10,
		reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22,
		reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	ymm = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10,
		reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}
	xmm = []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7, reg.X8, reg.X9, reg.X10,
		reg.X11, reg.X12, reg.X13, reg.X14, reg.X15}
)

// Offsets of the fields of simd.Tile.
const (
	tileW       = 0
	tileX       = 32
	tileXStride = 40
	tileC       = 48
	tileCStride = 56
	tileK       = 64
	tileKStride = 72
	tileScales  = 80
	tileAdd     = 88
	tileNext    = 96
	tileEvery   = 104
	tileResults = 112
)

// tileRegs are the general-purpose registers of a tile kernel.
type tileRegs struct {
	t      reg.GPPhysical
	w      []reg.GPPhysical // panel pointers
	x      []reg.GPPhysical // pointers to every third token's activations
	stride reg.GPPhysical   // between tokens; C's pointer before and after the loop
	k      reg.GPPhysical   // counts down; C's stride before and after the loop
	next   reg.GPPhysical   // what is prefetched
	due    reg.GPPhysical   // rounds until it is
}

// begin opens the function and loads the panel pointers.
func begin(name string, panels, tokens int) tileRegs {
	TEXT(name, NOSPLIT, "func(t *byte)")
	r := tileRegs{t: reg.RDI, stride: reg.RCX, k: reg.RDX}
	Load(Param("t"), r.t)
	for p, g := range []reg.GPPhysical{reg.RAX, reg.R15, reg.R14, reg.R13}[:panels] {
		r.w = append(r.w, g)
		MOVQ(Mem{Base: r.t, Disp: tileW + 8*p}, g)
	}
	r.x = []reg.GPPhysical{reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10}[:(tokens+2)/3]
	free := r.spare()
	r.next, r.due = free[0], free[1]
	return r
}

// spare lists the registers that neither panels nor activations take, but R11 and R12.
func (r tileRegs) spare() []reg.GPPhysical {
	all := []reg.GPPhysical{reg.R15, reg.R14, reg.R13, reg.R10, reg.R9, reg.R8, reg.RSI}
	return slices.DeleteFunc(all, func(g reg.GPPhysical) bool {
		return g == r.next || g == r.due || slices.Contains(r.w, g) || slices.Contains(r.x, g)
	})
}

// nearBytes is how far ahead of their use all panels' weights together are brought from a core's second cache to its first.
const nearBytes = 4096

// near asks for the n bytes of each panel's weights that lie ahead by its share of nearBytes.
func (r tileRegs) near(n int) {
	for _, w := range r.w {
		for at := 0; at < n; at += 64 {
			PREFETCHT0(Mem{Base: w, Disp: at + nearBytes/len(r.w)})
		}
	}
}

// far asks, in the rounds that are due, for n bytes of what comes next in memory, for the second cache: that many tiles
// of tokens share the work out, since memory serves it evenly at best. Four panels at once are four streams, which is
// enough for the few tokens that they serve.
func (r tileRegs) far(n int) {
	if len(r.w) == 4 {
		return
	}
	DECQ(r.due)
	JNE(LabelRef("round"))
	MOVQ(Mem{Base: r.t, Disp: tileEvery}, r.due)
	for at := 0; at < n; at += 64 {
		PREFETCHT1(Mem{Base: r.next, Disp: at})
	}
	ADDQ(U32(n), r.next)
	Label("round")
}

// loadX loads the activation pointers, after C was read.
func (r tileRegs) loadX() {
	if len(r.w) < 4 {
		MOVQ(Mem{Base: r.t, Disp: tileNext}, r.next)
		MOVQ(U32(1), r.due)
		CMPQ(Mem{Base: r.t, Disp: tileEvery}, Imm(0))
		CMOVQEQ(r.next, r.due) // an address: never
	}
	MOVQ(Mem{Base: r.t, Disp: tileXStride}, r.stride)
	MOVQ(Mem{Base: r.t, Disp: tileX}, r.x[0])
	for i := 1; i < len(r.x); i++ {
		LEAQ(Mem{Base: r.x[i-1], Index: r.stride, Scale: 1}, r.x[i])
		LEAQ(Mem{Base: r.x[i], Index: r.stride, Scale: 2}, r.x[i])
	}
}

// token is the address of token t's activation at a displacement.
func (r tileRegs) token(t, disp int) Mem {
	m := Mem{Base: r.x[t/3], Disp: disp}
	if s := t % 3; s > 0 {
		m.Index, m.Scale = r.stride, uint8(s)
	}
	return m
}

// advance moves the activation pointers and, where it does not do so by itself, the panel pointers.
func (r tileRegs) advance(x, w int) {
	for _, g := range r.x {
		ADDQ(U32(x), g)
	}
	if w > 0 {
		for _, g := range r.w {
			ADDQ(U32(w), g)
		}
	}
}

// loop runs body for every step, unrolled; a step takes xBytes of an activation row and wBytes of a panel, which the body
// moves itself where own is set.
func (r tileRegs) loop(steps func(), unroll, xBytes, wBytes int, own bool, body func(u int)) {
	move := wBytes
	if own {
		move = 0
	}
	steps()
	SUBQ(Imm(uint64(unroll)), r.k)
	JLT(LabelRef("tail"))
	Label("loop")
	for u := range unroll {
		body(u)
	}
	if !own {
		r.near(unroll * wBytes)
	}
	r.far(len(r.w) * unroll * wBytes)
	r.advance(unroll*xBytes, unroll*move)
	SUBQ(Imm(uint64(unroll)), r.k)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(unroll)), r.k)
	JEQ(LabelRef("end"))
	Label("one")
	body(0)
	r.advance(xBytes, move)
	DECQ(r.k)
	JNE(LabelRef("one"))
	Label("end")
}

// eachC walks the C tile and calls f with the address of each token's row.
func (r tileRegs) eachC(tokens int, f func(t int, row Mem)) {
	MOVQ(Mem{Base: r.t, Disp: tileC}, r.stride)
	MOVQ(Mem{Base: r.t, Disp: tileCStride}, r.k)
	for t := range tokens {
		f(t, Mem{Base: r.stride})
		if t < tokens-1 {
			ADDQ(r.k, r.stride)
		}
	}
}

// initC zeroes the accumulators, or loads them from C where the tile adds to it.
func (r tileRegs) initC(tokens int, zero func(t int), load func(t int, row Mem)) {
	for t := range tokens {
		zero(t)
	}
	CMPQ(Mem{Base: r.t, Disp: tileAdd}, Imm(0))
	JEQ(LabelRef("begin"))
	r.eachC(tokens, load)
	Label("begin")
	r.loadX()
}

// tile512 opens an AVX-512 kernel whose accumulators are the first panels · tokens registers, runs body, and stores them.
func tile512(name string, panels, tokens int, body func(r tileRegs, acc func(p, t int) reg.VecPhysical)) {
	r := begin(name, panels, tokens)
	acc := func(p, t int) reg.VecPhysical { return zmm[p*tokens+t] }
	r.initC(tokens, func(t int) {
		for p := range panels {
			VPXORD(acc(p, t), acc(p, t), acc(p, t))
		}
	}, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(at(row, 64*p), acc(p, t))
		}
	})
	body(r, acc)
	r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			VMOVUPS(acc(p, t), at(row, 64*p))
		}
	})
	VZEROUPPER()
	RET()
}

// tile256 is the same for AVX2, with two accumulators h for the halves of a panel.
func tile256(name string, panels, tokens int, body func(r tileRegs, acc func(p, h, t int) reg.VecPhysical)) {
	r := begin(name, panels, tokens)
	acc := func(p, h, t int) reg.VecPhysical { return ymm[(p*tokens+t)*2+h] }
	each := func(f func(p, h int)) {
		for p := range panels {
			for h := range 2 {
				f(p, h)
			}
		}
	}
	r.initC(tokens, func(t int) {
		each(func(p, h int) { VXORPS(acc(p, h, t), acc(p, h, t), acc(p, h, t)) })
	}, func(t int, row Mem) {
		each(func(p, h int) { VMOVUPS(at(row, 64*p+32*h), acc(p, h, t)) })
	})
	body(r, acc)
	r.eachC(tokens, func(t int, row Mem) {
		each(func(p, h int) { VMOVUPS(acc(p, h, t), at(row, 64*p+32*h)) })
	})
	VZEROUPPER()
	RET()
}

// fma512 adds w[p] · x to the accumulators of every panel and token. Two and more panels share a broadcast activation,
// which halves the loads; one panel takes it from memory.
func (r tileRegs) fma512(panels, tokens, disp int, w func(p int) reg.VecPhysical, x reg.VecPhysical, acc func(p, t int) reg.VecPhysical) {
	for t := range tokens {
		if panels == 1 {
			VFMADD231PS_BCST(r.token(t, disp), w(0), acc(0, t))
			continue
		}
		VBROADCASTSS(r.token(t, disp), x)
		for p := range panels {
			VFMADD231PS(x, w(p), acc(p, t))
		}
	}
}

func at(m Mem, disp int) Mem {
	m.Disp += disp
	return m
}

func name(kind string, panels, tokens int) string {
	return fmt.Sprintf("%sP%dT%d", kind, panels, tokens)
}
