package main

import (
	"fmt"

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
	tileAdd     = 80
)

// tileRegs are the general-purpose registers of a tile kernel.
type tileRegs struct {
	t     reg.GPPhysical
	w     []reg.GPPhysical // panel pointers
	x     []reg.GPPhysical // one per token
	i, k  reg.GPPhysical
	spare []reg.GPPhysical // C pointer and stride, before and after the loop: i and k
}

// begin opens the function and loads the panel and activation pointers.
func begin(name string, panels, tokens int) tileRegs {
	TEXT(name, NOSPLIT, "func(t *byte)")
	free := []reg.GPPhysical{reg.RBX, reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15, reg.RAX}
	r := tileRegs{t: reg.RDI, i: reg.RCX, k: reg.RDX}
	Load(Param("t"), r.t)
	for p := range panels {
		g := free[len(free)-1-p]
		r.w = append(r.w, g)
		MOVQ(Mem{Base: r.t, Disp: tileW + 8*p}, g)
	}
	MOVQ(Mem{Base: r.t, Disp: tileXStride}, r.i)
	for t := range tokens {
		g := free[t]
		r.x = append(r.x, g)
		if t == 0 {
			MOVQ(Mem{Base: r.t, Disp: tileX}, g)
		} else {
			LEAQ(Mem{Base: r.x[t-1], Index: r.i, Scale: 1}, g)
		}
	}
	return r
}

// eachC walks the C tile with i as the pointer and k as the stride and calls f with the address of each token's row.
func (r tileRegs) eachC(tokens int, f func(t int, row Mem)) {
	MOVQ(Mem{Base: r.t, Disp: tileC}, r.i)
	MOVQ(Mem{Base: r.t, Disp: tileCStride}, r.k)
	for t := range tokens {
		f(t, Mem{Base: r.i})
		if t < tokens-1 {
			ADDQ(r.k, r.i)
		}
	}
}

// initC zeroes the accumulators, or loads them from C where the tile adds to it.
func (r tileRegs) initC(name string, tokens int, zero func(t int), load func(t int, row Mem)) {
	for t := range tokens {
		zero(t)
	}
	CMPQ(Mem{Base: r.t, Disp: tileAdd}, Imm(0))
	JEQ(LabelRef("begin"))
	r.eachC(tokens, load)
	Label("begin")
}

func at(m Mem, disp int) Mem {
	m.Disp += disp
	return m
}

func name(kind string, panels, tokens int) string {
	return fmt.Sprintf("%sP%dT%d", kind, panels, tokens)
}
