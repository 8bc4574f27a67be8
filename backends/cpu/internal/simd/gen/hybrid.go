package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockGroups is how many groups of 4 values a block has.
const blockGroups = 8

// hybridTokens is from how many tokens on kernels of bytes are hybrid.
const hybridTokens = 5

// A hybrid kernel multiplies blocks of bytes with 8-bit activations and has a sum for every panel and token at once, since
// it takes ten of them to hide a dot product's latency. That leaves no room for all results of the widest tiles: the last
// ones lie in memory beside the tile meanwhile and cost a load and a store for every block, which is nothing for up to
// eight of them, and much for more.
type hybrid struct {
	r              tileRegs
	panels, tokens int
	kept           int // results in registers
	results        reg.GPPhysical
	w, c           []reg.VecPhysical
	x              reg.VecPhysical
	free           []reg.VecPhysical // as many as were asked for
}

// blocks is where a hybrid kernel's weights come from.
type blocks struct {
	parts   int                                     // runs of groups that have a scale of their own
	start   func(part, t int) Mem                   // what a token's sum begins with
	code    func(p, g int, w reg.VecPhysical)       // brings group g of panel p as unsigned bytes
	scales  func(part, p int, w, c reg.VecPhysical) // brings the scales, and −magic times them
	minimum func(p int, w, spare reg.VecPhysical)   // brings the minima, if mins
	mins    bool                                    // minima times the activation's shift are added or,
	minus   bool                                    // if minus, subtracted
	after   func(g int)                             // what is done beside group g's products, if anything
}

func beginHybrid(name string, panels, tokens, free int) hybrid {
	h := hybrid{r: begin(name, panels, tokens), panels: panels, tokens: tokens, results: reg.R9}
	top := len(zmm)
	take := func(n int) []reg.VecPhysical {
		top -= n
		return zmm[top : top+n]
	}
	h.x, h.w, h.c, h.free = take(1)[0], take(panels), take(panels), take(free)
	h.kept = min(panels*tokens, top-panels*tokens)
	MOVQ(Mem{Base: h.r.t, Disp: tileResults}, h.results)
	VPXORD(h.x, h.x, h.x)
	h.each(nil, func(p, t int) {
		if v, m := h.result(p, t); v == nil {
			VMOVUPS(h.x, m)
		} else {
			VPXORD(v, v, v)
		}
	})
	CMPQ(Mem{Base: h.r.t, Disp: tileAdd}, Imm(0))
	JEQ(LabelRef("begin"))
	h.r.eachC(tokens, func(t int, row Mem) {
		for p := range panels {
			if v, m := h.result(p, t); v == nil {
				VMOVUPS(at(row, 64*p), h.x)
				VMOVUPS(h.x, m)
			} else {
				VMOVUPS(at(row, 64*p), v)
			}
		}
	})
	Label("begin")
	h.r.loadX()
	return h
}

func (h hybrid) sum(p, t int) reg.VecPhysical { return zmm[t*h.panels+p] }

// result is the register or, where that is nil, the memory in which a result is summed.
func (h hybrid) result(p, t int) (reg.Register, Mem) {
	i := t*h.panels + p
	if i < h.kept {
		return zmm[h.panels*h.tokens+i], Mem{}
	}
	return nil, Mem{Base: h.results, Disp: 64 * (i - h.kept)}
}

// each calls use for all panels of a token, behind load, before it goes to the next.
func (h hybrid) each(load func(t int), use func(p, t int)) {
	for t := range h.tokens {
		if load != nil {
			load(t)
		}
		for p := range h.panels {
			use(p, t)
		}
	}
}

// block multiplies one block of all panels.
func (h hybrid) block(b blocks) {
	for part := range b.parts {
		h.each(nil, func(p, t int) { VPBROADCASTD(b.start(part, t), h.sum(p, t)) })
		groups := blockGroups / b.parts
		for g := part * groups; g < (part+1)*groups; g++ {
			for p := range h.panels {
				b.code(p, g, h.w[p])
			}
			h.each(func(t int) { VPBROADCASTD(h.r.token(t, 4*g), h.x) }, func(p, t int) { VPDPBUSD(h.x, h.w[p], h.sum(p, t)) })
			if b.after != nil {
				b.after(g)
			}
		}
		for p := range h.panels {
			b.scales(part, p, h.w[p], h.c[p])
		}
		h.each(func(t int) { VBROADCASTSS(h.r.token(t, actScale), h.x) }, func(p, t int) {
			VFMADD213PS(h.c[p], h.w[p], h.sum(p, t))
			if v, m := h.result(p, t); v != nil {
				VFMADD231PS(h.x, h.sum(p, t), v)
			} else if VFMADD213PS(m, h.x, h.sum(p, t)); !b.mins {
				VMOVUPS(h.sum(p, t), m)
			}
		})
	}
	if !b.mins {
		return
	}
	for p := range h.panels {
		b.minimum(p, h.w[p], h.c[p])
	}
	h.each(func(t int) { VBROADCASTSS(h.r.token(t, actShift), h.x) }, func(p, t int) {
		v, m := h.result(p, t)
		inMemory := v == nil
		if inMemory {
			v = h.sum(p, t)
		}
		if b.minus {
			VFNMADD231PS(h.x, h.w[p], v)
		} else {
			VFMADD231PS(h.x, h.w[p], v)
		}
		if inMemory {
			VMOVUPS(v, m)
		}
	})
}

// end writes the results and returns.
func (h hybrid) end() {
	h.r.eachC(h.tokens, func(t int, row Mem) {
		for p := range h.panels {
			v, m := h.result(p, t)
			if v == nil {
				v = h.x
				VMOVUPS(m, v)
			}
			VMOVUPS(v, at(row, 64*p))
		}
	})
	VZEROUPPER()
	RET()
}
