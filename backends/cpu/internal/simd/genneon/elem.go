package main

import "math"

// The elementwise kernels take eight values at a time, in two registers. Their lengths are multiples of 8 unless said
// otherwise; package simd pads what is not.

// exponential is what exp needs: the registers of its constants.
type exponential struct {
	*file
	lo, hi, log2e, ln2a, ln2b, one, bias int
	poly                                 []int
}

// expConstants are Cody and Waite's reduction by ln 2 in two parts, then the polynomial of degree 6 that Cephes uses for
// float32.
var expConstants = []float32{-87.3, 89, math.Log2E, 0.693359375, -2.12194440e-4, 1, 0,
	1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

func (f *file) expTable() {
	var bits []uint32
	for _, c := range expConstants {
		bits = append(bits, math.Float32bits(c))
	}
	bits[6] = 127 // the exponent's bias
	f.constants("neonExp", bits...)
}

// exponential loads the constants into the registers from v on.
func (f *file) exponential(v int) exponential {
	f.gop("MOVD $neonExp<>(SB), R%d", regTemp)
	for i := range expConstants {
		f.ldr('q', v+i, regTemp, 16*i)
	}
	e := exponential{f, v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, nil}
	for i := 7; i < len(expConstants); i++ {
		e.poly = append(e.poly, v+i)
	}
	return e
}

// exp replaces x by e^x, using four more registers. Below -87.3 the result is +0; a NaN stays one.
func (e exponential) exp(x, n, r, p, under int) {
	e.op("fcmgt", s4(under), s4(e.lo), s4(x))
	e.op("fmax", s4(r), s4(x), s4(e.lo))
	e.op("fmin", s4(r), s4(r), s4(e.hi))
	e.op("fmul", s4(n), s4(r), s4(e.log2e))
	e.op("frintn", s4(n), s4(n))
	e.op("fmls", s4(r), s4(n), s4(e.ln2a))
	e.op("fmls", s4(r), s4(n), s4(e.ln2b))
	e.op("fcvtns", s4(n), s4(n))
	from, to := e.poly[0], p
	for i, c := range e.poly[1:] {
		to = []int{p, x}[i%2]
		e.mov(to, c)
		e.op("fmla", s4(to), s4(from), s4(r))
		from = to
	}
	// The last of five went to p; x is free: e^r = 1 + (r + r²·p).
	e.op("fmul", s4(x), s4(r), s4(r))
	e.op("fmla", s4(r), s4(x), s4(to))
	e.op("fadd", s4(p), s4(r), s4(e.one))
	e.shift("sshr", s4(r), s4(n), 1) // 2ⁿ in two factors: 2¹²⁸ is no float32
	e.op("sub", s4(n), s4(n), s4(r))
	for _, f := range []int{n, r} {
		e.op("add", s4(f), s4(f), s4(e.bias))
		e.shift("shl", s4(f), s4(f), 23)
		e.op("fmul", s4(p), s4(p), s4(f))
	}
	e.op("bic", b16(x), b16(p), b16(under))
}

// each8 loops over general register n values, eight at a time; body moves the pointers.
func (f *file) each8(n int, body func()) {
	f.gop("CBZ R%d, end", n)
	f.label("loop")
	body()
	f.gop("SUBS $8, R%d, R%d", n, n)
	f.gop("BNE loop")
	f.label("end")
}

// two loads eight values at a pointer, which moves on if it should.
func (f *file) two(v, w, x int) {
	f.next('q', v, x)
	f.next('q', w, x)
}

func (f *file) putTwo(v, w, x int) {
	f.put('q', v, x)
	f.put('q', w, x)
}

// sum adds the eight lanes of v and w into the lowest of v, always in the same order.
func (f *file) sum(v, w int) {
	f.op("fadd", s4(v), s4(v), s4(w))
	f.swap(w, v)
	f.op("fadd", s4(v), s4(v), s4(w))
	f.faddp(v, v)
}

func (f *file) float(v int) {
	f.gop("FMOVS F%d, ret+%d(FP)", v, f.result)
	f.gop("RET")
}

// both writes an instruction for two registers: the second operands are those of the first plus one.
func (f *file) both(op string, d, n, m int) {
	for i := range 2 {
		f.op(op, s4(d+i), s4(n+i), s4(m+i))
	}
}

// by multiplies two registers by the lowest lane of another.
func (f *file) by(d, n, lane int) {
	for i := range 2 {
		f.op("fmul", s4(d+i), s4(n+i), sLane(lane, 0))
	}
}

func (f *file) elementwise() {
	f.expTable()

	f.begin("addSumSquares", "writes a+b to dst and returns the sum of its squares.", "dst *float32, a *float32, b *float32, n int", "float32")
	f.zero(0)
	f.zero(1)
	f.each8(3, func() {
		f.two(2, 3, 1)
		f.two(4, 5, 2)
		f.both("fadd", 2, 2, 4)
		f.putTwo(2, 3, 0)
		f.both("fmla", 0, 2, 2)
	})
	f.sum(0, 1)
	f.float(0)

	f.begin("sumSquares", "returns the sum of the squares of a.", "a *float32, n int", "float32")
	f.zero(0)
	f.zero(1)
	f.each8(1, func() {
		f.two(2, 3, 0)
		f.both("fmla", 0, 2, 2)
	})
	f.sum(0, 1)
	f.float(0)

	f.begin("scaleMul", "writes (x·s)·w.", "dst *float32, x *float32, w *float32, s float32, n int", "")
	f.each8(3, func() {
		f.two(2, 3, 1)
		f.two(4, 5, 2)
		f.by(2, 2, 0)
		f.both("fmul", 2, 2, 4)
		f.putTwo(2, 3, 0)
	})
	f.gop("RET")

	f.begin("rotate", "turns each pair (x1, x2) by the angle whose cosine and sine are given.", "x1 *float32, x2 *float32, cos *float32, sin *float32, n int", "")
	f.each8(4, func() {
		f.ldp(0, 1, 0, 0)
		f.ldp(2, 3, 1, 0)
		f.two(4, 5, 2)
		f.two(6, 7, 3)
		f.both("fmul", 16, 0, 4)
		f.both("fmls", 16, 2, 6) // x1·cos − x2·sin
		f.both("fmul", 18, 2, 4)
		f.both("fmla", 18, 0, 6) // x2·cos + x1·sin
		f.putTwo(16, 17, 0)
		f.putTwo(18, 19, 1)
	})
	f.gop("RET")

	f.begin("siluMul", "writes gate / (1 + e^−gate) · up.", "dst *float32, gate *float32, up *float32, n int", "")
	e := f.exponential(16)
	f.each8(3, func() {
		f.two(0, 1, 1)
		f.two(2, 3, 2)
		for i := range 2 {
			f.op("fneg", s4(4+i), s4(i))
			e.exp(4+i, 6+i, 8+i, 10+i, 12+i)
			f.op("fadd", s4(4+i), s4(4+i), s4(e.one))
		}
		f.both("fdiv", 0, 0, 4)
		f.both("fmul", 0, 0, 2)
		f.putTwo(0, 1, 0)
	})
	f.gop("RET")

	f.begin("maxOf", "returns the largest of n ≥ 8 values.", "x *float32, n int", "float32")
	f.ldp(0, 1, 0, 0)
	f.each8(1, func() {
		f.two(2, 3, 0)
		f.both("fmax", 0, 0, 2)
	})
	f.op("fmax", s4(0), s4(0), s4(1))
	f.across("fmaxv", 0, 0)
	f.float(0)

	f.begin("expSum", "replaces x by e^(x−m) and returns the sum: value i is added in lane i mod 8.", "x *float32, n int, m float32", "float32")
	f.dup(14, sLane(0, 0))
	f.zero(0)
	f.zero(1)
	e = f.exponential(16)
	f.each8(1, func() {
		f.ldp(4, 5, 0, 0)
		for i := range 2 {
			f.op("fsub", s4(4+i), s4(4+i), s4(14))
			e.exp(4+i, 6+i, 8+i, 10+i, 12+i)
		}
		f.both("fadd", 0, 0, 4)
		f.putTwo(4, 5, 0)
	})
	f.sum(0, 1)
	f.float(0)

	f.begin("scaleAdd", "writes dst·a + src·b.", "dst *float32, src *float32, a float32, b float32, n int", "")
	f.each8(2, func() {
		f.ldp(2, 3, 0, 0)
		f.two(4, 5, 1)
		f.by(4, 4, 1)
		for i := range 2 {
			f.op("fmla", s4(4+i), s4(2+i), sLane(0, 0))
		}
		f.putTwo(4, 5, 0)
	})
	f.gop("RET")

	f.begin("scale", "writes src·s.", "dst *float32, src *float32, s float32, n int", "")
	f.each8(2, func() {
		f.two(2, 3, 1)
		f.by(2, 2, 0)
		f.putTwo(2, 3, 0)
	})
	f.gop("RET")

	f.conversions()
	f.transpose()
	f.quantize()
	f.search()

	f.begin("pause", "tells the processor n times that its thread is waiting in a loop: YIELD does nothing on most cores, ISB takes about what x86's PAUSE takes.", "n int", "")
	f.label("loop")
	f.gop("ISB $15")
	f.gop("SUBS $1, R0, R0")
	f.gop("BGT loop")
	f.gop("RET")
}

func (f *file) search() {
	f.begin("nextAbove", "returns the first i ≥ from, from a multiple of 8, whose x exceeds limit or is a NaN, in groups of 8: the group's start; n if none.", "x *float32, from int, n int, limit float32", "int")
	f.dup(4, sLane(0, 0))
	f.gop("ADD R1<<2, R0, R0")
	f.gop("B test")
	f.label("loop")
	f.two(0, 1, 0)
	for i := range 2 {
		f.op("fcmge", s4(i), s4(4), s4(i))
	}
	f.op("and", b16(0), b16(0), b16(1))
	f.across("uminv", 0, 0)
	f.gop("FMOVS F0, R3")
	f.gop("CBZW R3, end")
	f.gop("ADD $8, R1, R1")
	f.label("test")
	f.gop("CMP R2, R1")
	f.gop("BLT loop")
	f.label("end")
	f.gop("MOVD R1, ret+%d(FP)", f.result)
	f.gop("RET")
}
