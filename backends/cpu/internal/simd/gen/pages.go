package main

import (
	"fmt"
	"go/format"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A pages kernel multiplies a few rows with pages of a KV cache where they lie (simd.pageCall has the layout), and asks
// for as much of the pages that come next while it goes. A keys kernel takes a few pages, a panel each, with the products
// summed over the dimension. A values kernel takes a few panels of the dimension, summed over the tokens of all pages. Each
// output is summed in one lane, in order, by one fused multiply-add for each value: as on panels widened to f32.

// Offsets of the fields of simd.pageCall; where simd.Tile has the same, they are its.
const (
	pageNext    = 8
	pageS       = 16
	pageSStride = 24
	pageAt      = 88
)

var pageElements = append(elements[:len(elements):len(elements)], element{"Q8", 1})

// pageKind is a kind of pages kernel: how many pages or panels it takes at once for each number of rows.
type pageKind struct {
	name   string
	bits   int
	values bool
	panels map[int][]int
}

var pageKinds = []pageKind{
	{"keys512", 512, false, map[int][]int{1: {4, 1}, 2: {4, 1}, 4: {4, 1}, 8: {2, 1}}},
	{"values512", 512, true, map[int][]int{1: {8, 4, 1}, 2: {8, 4, 1}, 4: {4, 1}, 8: {2, 1}}},
	{"keys256", 256, false, map[int][]int{1: {4, 1}, 2: {2, 1}, 4: {1}}},
	{"values256", 256, true, map[int][]int{1: {4, 1}, 2: {2, 1}, 4: {1}}},
}

// of lists the kernels of a kind for an element: its panels for each number of rows.
func (k pageKind) of(e element, rows int) []int {
	if k.name == "keys256" && e.name == "Q8" && rows == 1 {
		return []int{2, 1} // scales take registers too
	}
	return k.panels[rows]
}

var pageRows = []int{1, 2, 4, 8}

func pageName(k pageKind, e element, panels, rows int) string {
	return fmt.Sprintf("%s%sP%dR%d", k.name, e.name, panels, rows)
}

func pages() {
	for _, k := range pageKinds {
		for _, e := range pageElements {
			for _, rows := range pageRows {
				for _, panels := range k.of(e, rows) {
					if k.values {
						valuesKernel(k, e, panels, rows)
					} else {
						keysKernel(k, e, panels, rows)
					}
				}
			}
		}
	}
}

// pageRegs are the registers of a pages kernel.
type pageRegs struct {
	tileRegs
	e              element
	panels, rows   int
	halves         int // vectors of a panel
	vec            []reg.VecPhysical
	xs, tmp, scale int // first vector register of each
}

func (k pageKind) begin(e element, panels, rows int, w []reg.GPPhysical) *pageRegs {
	TEXT(pageName(k, e, panels, rows), NOSPLIT, "func(t *byte)")
	r := &pageRegs{tileRegs: tileRegs{t: reg.RDI, stride: reg.RCX, k: reg.RDX, w: w}, e: e, panels: panels, rows: rows, halves: 1, vec: zmm}
	if k.bits == 256 {
		r.halves, r.vec = 2, ymm
	}
	r.x = []reg.GPPhysical{reg.RBX, reg.RSI, reg.R8}[:(rows+2)/3]
	r.xs = panels * rows * r.halves
	r.tmp = r.xs + rows
	r.scale = r.tmp + r.halves
	Load(Param("t"), r.t)
	for i := range panels * rows * r.halves {
		if k.bits == 512 {
			VPXORD(r.vec[i], r.vec[i], r.vec[i])
		} else {
			VXORPS(r.vec[i], r.vec[i], r.vec[i])
		}
	}
	MOVQ(Mem{Base: r.t, Disp: tileXStride}, r.stride)
	MOVQ(Mem{Base: r.t, Disp: tileX}, r.x[0])
	for i := 1; i < len(r.x); i++ {
		LEAQ(Mem{Base: r.x[i-1], Index: r.stride, Scale: 1}, r.x[i])
		LEAQ(Mem{Base: r.x[i], Index: r.stride, Scale: 2}, r.x[i])
	}
	return r
}

func (r *pageRegs) acc(p, h, row int) reg.VecPhysical { return r.vec[(p*r.rows+row)*r.halves+h] }

// bytes is what 16 values take.
func (r *pageRegs) bytes() int { return 16 * r.e.size }

// load widens half h of the 16 values at m.
func (r *pageRegs) load(m Mem, h int) reg.VecPhysical {
	v := r.vec[r.tmp+h]
	m = at(m, r.bytes()/2*h)
	if r.e.name == "Q8" {
		VPMOVSXBD(m, v)
		VCVTDQ2PS(v, v)
	} else {
		r.e.widen(m, v)
	}
	return v
}

// broadcast loads the rows' values at a displacement.
func (r *pageRegs) broadcast(disp int) {
	for row := range r.rows {
		VBROADCASTSS(r.token(row, disp), r.vec[r.xs+row])
	}
}

func (r *pageRegs) multiply(p, h int, v reg.VecPhysical) {
	for row := range r.rows {
		VFMADD231PS(r.vec[r.xs+row], v, r.acc(p, h, row))
	}
}

// store writes the accumulators.
func (r *pageRegs) store() {
	r.eachC(r.rows, func(row int, m Mem) {
		for p := range r.panels {
			for h := range r.halves {
				VMOVUPS(r.acc(p, h, row), at(m, 64*p+32*h))
			}
		}
	})
	VZEROUPPER()
	RET()
}

func keysKernel(k pageKind, e element, panels, rows int) {
	r := k.begin(e, panels, rows, []reg.GPPhysical{reg.RAX, reg.R15, reg.R14, reg.R13}[:panels])
	ahead := []reg.GPPhysical{reg.R12, reg.R11, reg.R10, reg.R9}[:panels]
	MOVQ(Mem{Base: r.t, Disp: tileW}, r.k)
	for p, w := range r.w {
		MOVQ(Mem{Base: r.k, Disp: 8 * p}, w)
	}
	MOVQ(Mem{Base: r.t, Disp: pageNext}, r.k)
	for p, a := range ahead {
		MOVQ(Mem{Base: r.k, Disp: 8 * p}, a)
		SUBQ(r.w[p], a)
	}
	step := func(u int) {
		r.broadcast(4 * u)
		for p, w := range r.w {
			for h := range r.halves {
				v := r.load(Mem{Base: w, Disp: r.bytes() * u}, h)
				if e.name == "Q8" {
					VMULPS(r.vec[r.scale+p*r.halves+h], v, v)
				}
				r.multiply(p, h, v)
			}
		}
	}
	round := func(unroll int) {
		for u := range unroll {
			step(u)
		}
		for p, w := range r.w {
			for line := 0; line < unroll*r.bytes(); line += 64 {
				PREFETCHT1(Mem{Base: w, Index: ahead[p], Scale: 1, Disp: line})
			}
		}
		r.advance(4*unroll, r.bytes()*unroll)
	}
	const unroll = 4
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	if e.name == "Q8" {
		keysQ8(r, ahead, unroll, round)
	} else {
		SUBQ(Imm(unroll), r.k)
		JLT(LabelRef("tail"))
		Label("loop")
		round(unroll)
		SUBQ(Imm(unroll), r.k)
		JGE(LabelRef("loop"))
		Label("tail")
		ADDQ(Imm(unroll), r.k)
		JEQ(LabelRef("end"))
		Label("one")
		round(1)
		DECQ(r.k)
		JNE(LabelRef("one"))
	}
	Label("end")
	r.store()
}

// keysQ8 runs through blocks of 32 dimensions, whose scales lie behind all integers of the page: relative to the page's
// pointer, which advances by 512 bytes, they come nearer by 480 a block.
func keysQ8(r *pageRegs, ahead []reg.GPPhysical, unroll int, round func(int)) {
	s := reg.R8 // no pointer to activations where there are four pages
	if r.panels < 4 {
		s = reg.R10
	}
	MOVQ(Mem{Base: r.t, Disp: tileScales}, s)
	SHRQ(Imm(2), r.k) // rounds; eight are a block
	Label("block")
	for p, w := range r.w {
		m := Mem{Base: w, Index: s, Scale: 1}
		for h := range r.halves {
			VCVTPH2PS(at(m, 16*h), r.vec[r.scale+p*r.halves+h])
		}
		ADDQ(ahead[p], w)
		PREFETCHT1(m)
		SUBQ(ahead[p], w)
	}
	Label("loop")
	round(unroll)
	DECQ(r.k)
	JEQ(LabelRef("end"))
	TESTQ(U32(7), r.k)
	JNE(LabelRef("loop"))
	SUBQ(U32(480), s)
	JMP(LabelRef("block"))
}

func valuesKernel(k pageKind, e element, panels, rows int) {
	w, ahead, kStride, inRow, left, list, next, scales := reg.RAX, reg.R15, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14
	r := k.begin(e, panels, rows, []reg.GPPhysical{w})
	MOVQ(Mem{Base: r.t, Disp: tileW}, list)
	MOVQ(Mem{Base: r.t, Disp: pageNext}, next)
	MOVQ(Mem{Base: r.t, Disp: tileKStride}, kStride)
	MOVQ(Mem{Base: r.t, Disp: pageAt}, inRow)
	MOVQ(Mem{Base: r.t, Disp: pageS}, scales)
	MOVQ(Mem{Base: r.t, Disp: tileK}, r.k)
	Label("page")
	MOVQ(Mem{Base: list}, w)
	MOVQ(Mem{Base: next}, ahead)
	SUBQ(w, ahead)
	if e.name == "Q8" {
		MOVQ(Mem{Base: r.t, Disp: tileScales}, left)
		ADDQ(ahead, left)
		PREFETCHT1(Mem{Base: w, Index: left, Scale: 1})
		PREFETCHT1(Mem{Base: w, Index: left, Scale: 1, Disp: 64})
	}
	ADDQ(inRow, w)
	ADDQ(Imm(8), list)
	ADDQ(Imm(8), next)
	MOVQ(I32(16), left)
	CMPQ(r.k, left)
	CMOVQLT(r.k, left)
	SUBQ(left, r.k)
	Label("token")
	r.broadcast(0)
	for p := range panels {
		for h := range r.halves {
			v := r.load(Mem{Base: w, Disp: r.bytes() * p}, h)
			if e.name == "Q8" {
				scale := Mem{Base: scales, Disp: p / 2 * 4}
				if k.bits == 512 {
					VMULPS_BCST(scale, v, v)
				} else {
					VBROADCASTSS(scale, r.vec[r.scale])
					VMULPS(r.vec[r.scale], v, v)
				}
			}
			r.multiply(p, h, v)
		}
	}
	for line := 0; line < panels*r.bytes(); line += 64 {
		PREFETCHT1(Mem{Base: w, Index: ahead, Scale: 1, Disp: line})
	}
	ADDQ(kStride, w)
	r.advance(4, 0)
	if e.name == "Q8" {
		ADDQ(Mem{Base: r.t, Disp: pageSStride}, scales)
	}
	DECQ(left)
	JNE(LabelRef("token"))
	TESTQ(r.k, r.k)
	JNE(LabelRef("page"))
	r.store()
}

// pageTables is the Go file that declares the pages kernels and lists them.
func pageTables() []byte {
	var b strings.Builder
	b.WriteString("// Code generated by gen. DO NOT EDIT.\n\n//go:build !noasm\n\npackage simd\n\n")
	each := func(k pageKind, f func(e element, rows int)) {
		for _, e := range pageElements {
			for _, rows := range pageRows {
				f(e, rows)
			}
		}
	}
	for _, k := range pageKinds {
		each(k, func(e element, rows int) {
			for _, p := range k.of(e, rows) {
				fmt.Fprintf(&b, "//go:noescape\nfunc %s(t *pageCall)\n\n", pageName(k, e, p, rows))
			}
		})
	}
	for _, k := range pageKinds {
		fmt.Fprintf(&b, "var %sPages = pageKernels{\n", k.name)
		each(k, func(e element, rows int) {
			if rows == 1 {
				fmt.Fprintf(&b, "Cache%s: {\n", e.name)
			}
			if panels := k.of(e, rows); len(panels) > 0 {
				fmt.Fprintf(&b, "%d: {", rows)
				for i := len(panels) - 1; i >= 0; i-- {
					fmt.Fprintf(&b, "%d: %s, ", panels[i], pageName(k, e, panels[i], rows))
				}
				b.WriteString("},\n")
			}
			if rows == pageRows[len(pageRows)-1] {
				b.WriteString("},\n")
			}
		})
		b.WriteString("}\n\n")
	}
	for _, e := range elements[1:] {
		fmt.Fprintf(&b, "//go:noescape\nfunc widen512%s(dst *float32, src, next *uint16, n int)\n\n", e.name)
	}
	b.WriteString("//go:noescape\nfunc softmax512(x *float32, n, padded int) (peak, total float32)\n\n")
	b.WriteString("//go:noescape\nfunc storeColumn(dst, src *uint16, n int)\n\n//go:noescape\nfunc prefetch(at *byte, n int)\n")
	text, err := format.Source([]byte(b.String()))
	if err != nil {
		panic(err)
	}
	return text
}
