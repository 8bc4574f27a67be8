package main

import "math"

func (f *file) conversions() {
	f.begin("toBF16", "rounds to nearest, ties to even; a NaN becomes 0x7fc0.", "dst *uint16, src *float32, n int", "")
	half, one, nan := 16, 17, 18
	f.fill(half, 0x7fff)
	f.fill(one, 1)
	f.fill(nan, 0x7fc00000)
	f.each8(2, func() {
		f.two(0, 1, 1)
		for i := range 2 {
			f.shift("ushr", s4(2+i), s4(i), 16)
			f.op("and", b16(2+i), b16(2+i), b16(one))
			f.op("add", s4(2+i), s4(2+i), s4(half))
			f.op("add", s4(2+i), s4(2+i), s4(i))
			f.op("fcmeq", s4(i), s4(i), s4(i))
			f.op("bsl", b16(i), b16(2+i), b16(nan))
		}
		f.shift("shrn", h4(0), s4(0), 16)
		f.shift("shrn2", h8(0), s4(1), 16)
		f.put('q', 0, 0)
	})
	f.gop("RET")

	f.begin("toF16", "rounds to nearest, ties to even.", "dst *uint16, src *float32, n int", "")
	f.each8(2, func() {
		f.two(0, 1, 1)
		f.op("fcvtn", h4(0), s4(0))
		f.op("fcvtn2", h8(0), s4(1))
		f.put('q', 0, 0)
	})
	f.gop("RET")

	f.begin("fromBF16", "widens src.", "dst *float32, src *uint16, n int", "")
	f.each8(2, func() {
		f.next('q', 1, 1)
		f.shll(0, 1, false)
		f.shll(1, 1, true)
		f.putTwo(0, 1, 0)
	})
	f.gop("RET")

	f.begin("fromF16", "widens src.", "dst *float32, src *uint16, n int", "")
	f.each8(2, func() {
		f.next('q', 1, 1)
		f.op("fcvtl", s4(0), h4(1))
		f.op("fcvtl2", s4(1), h8(1))
		f.putTwo(0, 1, 0)
	})
	f.gop("RET")

	f.begin("fromI8", "writes src·s.", "dst *float32, src *int8, s float32, n int", "")
	f.each8(2, func() {
		f.next('d', 3, 1)
		f.floats("sshll", "scvtf", 2, 3)
		f.by(2, 2, 0)
		f.putTwo(2, 3, 0)
	})
	f.gop("RET")

	f.begin("fromI8Columns", "writes src·s for n rows of 16 columns, each column with its own scale.", "dst *float32, src *int8, s *float32, n int", "")
	f.ldp(16, 17, 2, 0)
	f.ldp(18, 19, 2, 32)
	f.gop("LSL $1, R3, R3") // counts eights
	f.gop("CBZ R3, end")
	f.label("loop")
	for h := range 2 {
		f.next('d', 1, 1)
		f.floats("sshll", "scvtf", 0, 1)
		f.both("fmul", 0, 0, 16+2*h)
		f.putTwo(0, 1, 0)
	}
	f.gop("SUBS $2, R3, R3")
	f.gop("BNE loop")
	f.label("end")
	f.gop("RET")
}

// floats converts eight bytes in the lower half of b to floats in a and b.
func (f *file) floats(widen, convert string, a, b int) {
	f.shift(widen, h8(b), b8(b), 0)
	f.shift(widen, s4(a), h4(b), 0)
	f.shift(widen+"2", s4(b), h8(b), 0)
	f.op(convert, s4(a), s4(a))
	f.op(convert, s4(b), s4(b))
}

// transpose writes 16 columns from 16 rows, 4 × 4 values at a time.
func (f *file) transpose() {
	f.begin("transpose16", "writes dst[i][j] = src[j][i] for j < 16, i < n, n a multiple of 8; row j begins j·stride bytes behind row 0.", "dst *float32, src *float32, stride int, n int", "")
	f.gop("CBZ R3, end")
	f.label("loop")
	f.gop("MOVD R1, R%d", regTemp)
	for g := range 4 {
		for i := range 4 {
			f.ldr('q', i, regTemp, 0)
			f.gop("ADD R2, R%d, R%d", regTemp, regTemp)
		}
		for i := range 2 { // pairs of rows
			f.op("trn1", s4(4+2*i), s4(2*i), s4(2*i+1))
			f.op("trn2", s4(5+2*i), s4(2*i), s4(2*i+1))
		}
		for i := range 2 { // fours
			f.op("trn1", d2(i), d2(4+i), d2(6+i))
			f.op("trn2", d2(2+i), d2(4+i), d2(6+i))
		}
		for i := range 4 {
			f.str('q', i, 0, 64*i+16*g)
		}
	}
	f.gop("ADD $16, R1, R1")
	f.gop("ADD $256, R0, R0")
	f.gop("SUBS $4, R3, R3")
	f.gop("BNE loop")
	f.label("end")
	f.gop("RET")
}

// quantize writes the activation blocks that the kernels of 8-bit sums read.
func (f *file) quantize() {
	f.begin("quantizeQ8", "writes blocks of 32 values as 32 int8, the f32 scale max|x|/127, and what Q8Block derives from their sums.", "dst *byte, src *float32, blocks int", "")
	top, tiny := 16, 17
	f.fill(top, math.Float32bits(127))
	f.fill(tiny, math.Float32bits(1e-30))
	f.gop("MOVW $0x%x, R6", magicBits)
	// start stores magic + r·2^shift.
	start := func(shift, r, at int) {
		f.gop("ADDW R%d<<%d, R6, R%d", r, shift, regTemp)
		f.gop("MOVW R%d, %d(R0)", regTemp, at)
	}
	f.gop("CBZ R2, end")
	f.label("loop")
	for i := range 8 {
		f.next('q', i, 1)
		f.op("fabs", s4(20+i), s4(i))
	}
	for n := 4; n > 0; n /= 2 {
		for i := range n {
			f.op("fmax", s4(20+i), s4(20+i), s4(20+i+n))
		}
	}
	f.across("fmaxv", 20, 20)
	f.dup(20, sLane(20, 0))
	f.op("fdiv", s4(21), s4(20), s4(top)) // scale
	f.str('s', 21, 0, actScale)
	f.op("fdiv", s4(22), s4(top), s4(20))
	f.op("fcmge", s4(23), s4(20), s4(tiny))
	f.op("and", b16(22), b16(22), b16(23))
	for i := range 8 {
		f.op("fmul", s4(i), s4(i), s4(22))
		f.op("fcvtns", s4(i), s4(i))
	}
	for half := range 2 {
		a, s := 4*half, 24+half
		f.op("add", s4(s), s4(a), s4(a+1))
		f.op("add", s4(26), s4(a+2), s4(a+3))
		f.op("add", s4(s), s4(s), s4(26))
		f.across("addv", s, s)
		f.op("xtn", h4(a), s4(a))
		f.op("xtn2", h8(a), s4(a+1))
		f.op("xtn", h4(a+1), s4(a+2))
		f.op("xtn2", h8(a+1), s4(a+3))
		f.op("xtn", b8(a), h8(a))
		f.op("xtn2", b16(a), h8(a+1))
		f.str('q', a, 0, 16*half)
		// The negative sum goes to R4 and R5.
		f.gop("FMOVS F%d, R%d", s, 4+half)
		f.gop("NEGW R%d, R%d", 4+half, 4+half)
		start(5, 4+half, actHalf+4*half)
	}
	f.gop("ADDW R4, R5, R5")
	start(7, 5, actStart128)
	start(3, 5, actStart8)
	start(4, 5, actStart16)
	f.gop("MOVW ZR, %d(R0)", actBytes-4)
	f.gop("SCVTFWS R5, F24")
	f.gop("FMULS F21, F24, F24")
	f.gop("FMOVS F24, %d(R0)", actShift)
	f.gop("ADD $%d, R0, R0", actBytes)
	f.gop("SUBS $1, R2, R2")
	f.gop("BNE loop")
	f.label("end")
	f.gop("RET")
}
