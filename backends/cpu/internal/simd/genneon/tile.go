package main

import "fmt"

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
)

// The general registers of a tile kernel; R18 and R27 up belong to the system and to Go.
const (
	regTile   = 0
	regW      = 1 // to 4: panels
	regX      = 5 // to 12: tokens
	regC      = 13
	regStride = 14 // of C; of panels' k where C is not walked meanwhile
	regK      = 15
	regTemp   = 16
	regCount  = 17
	regScales = 19
	regSuper  = 20
)

const (
	panelVecs   = 4 // registers of 4 values that the 16 rows of a panel fill
	panelRows   = 16
	vectorRegs  = 32
	superBlocks = 8 // blocks of 32 values of a super-block
)

// tile is a kernel being written. Its first panels · tokens · 4 vector registers are the accumulators, or none are, and C
// itself accumulates.
type tile struct {
	*file
	panels, tokens int
	inC            bool
}

func name(kind string, panels, tokens int) string {
	return fmt.Sprintf("%sP%dT%d", kind, panels, tokens)
}

func (k tile) acc(p, t, v int) int { return (p*k.tokens+t)*panelVecs + v }

// accs is how many accumulators there are, and so the first free register.
func (k tile) accs() int {
	if k.inC {
		return 0
	}
	return k.panels * k.tokens * panelVecs
}

// kernel writes a whole kernel: accumulators are zero, or C where the tile adds to it; body runs; they go to C.
func (f *file) kernel(kind string, k tile, body func()) {
	f.begin(name(kind, k.panels, k.tokens), "", "t *Tile", "")
	for p := range k.panels {
		f.gop("MOVD %d(R0), R%d", tileW+8*p, regW+p)
	}
	f.gop("MOVD %d(R0), R%d", tileAdd, regTemp)
	if k.inC {
		f.gop("CBNZ R%d, begin", regTemp)
		f.zero(0)
		k.eachC(func(_ int) { f.clear(0) })
	} else {
		for i := range k.accs() {
			f.zero(i)
		}
		f.gop("CBZ R%d, begin", regTemp)
		k.eachC(func(t int) { k.row(t, f.ldp) })
	}
	f.label("begin")
	f.gop("MOVD %d(R0), R%d", tileXStride, regTemp)
	f.gop("MOVD %d(R0), R%d", tileX, regX)
	for t := 1; t < k.tokens; t++ {
		f.gop("ADD R%d, R%d, R%d", regTemp, regX+t-1, regX+t)
	}
	f.gop("MOVD %d(R0), R%d", tileK, regK)
	body()
	f.label("end")
	if !k.inC {
		k.eachC(func(t int) { k.row(t, f.stp) })
	}
	f.gop("RET")
}

// row moves a token's accumulators from or to C.
func (k tile) row(t int, move func(v, w, x, at int)) {
	for p := range k.panels {
		for v := 0; v < panelVecs; v += 2 {
			move(k.acc(p, t, v), k.acc(p, t, v+1), regC, 64*p+16*v)
		}
	}
}

// clear fills a row of C with register v.
func (f *file) clear(v int) {
	f.stp(v, v, regC, 0)
	f.stp(v, v, regC, 32)
}

// eachC walks the rows of C.
func (k tile) eachC(do func(t int)) {
	k.gop("MOVD %d(R0), R%d", tileC, regC)
	if k.tokens > 1 {
		k.gop("MOVD %d(R0), R%d", tileCStride, regStride)
	}
	for t := range k.tokens {
		do(t)
		if t+1 < k.tokens {
			k.gop("ADD R%d, R%d, R%d", regStride, regC, regC)
		}
	}
}

// loop runs body for many values of k at a time and then, for the rest, for few.
func (k tile) loop(many, few int, body func(n int)) {
	k.gop("SUBS $%d, R%d, R%d", many, regK, regK)
	k.gop("BLT tail")
	k.label("loop")
	body(many)
	k.gop("SUBS $%d, R%d, R%d", many, regK, regK)
	k.gop("BGE loop")
	k.label("tail")
	k.gop("ADDS $%d, R%d, R%d", many, regK, regK)
	k.gop("BEQ end")
	k.label("one")
	body(few)
	k.gop("SUBS $%d, R%d, R%d", few, regK, regK)
	k.gop("BNE one")
}
