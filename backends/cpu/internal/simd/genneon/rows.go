package main

// A rows kernel multiplies panels whose k-th row of 16 values lies KStride bytes after the one before, in f32, f16 or
// bf16, with f32 activations: one fused multiply-add per value, in the order of k. Four activations of a token are one
// load, and each a lane of it.

var elements = []string{"F32", "F16", "BF16"}

func (f *file) rows(e string, panels, tokens int) {
	k := tile{file: f, panels: panels, tokens: tokens}
	f.kernel("neonRows"+e, k, func() {
		x := k.accs()
		a, b := x+tokens, x+tokens+1
		f.gop("MOVD %d(R0), R%d", tileKStride, regStride)
		k.loop(4, 1, func(n int) {
			for t := range tokens {
				f.next(map[int]byte{4: 'q', 1: 's'}[n], x+t, regX+t)
			}
			for i := range n {
				for p := range panels {
					add := func(v, w int) {
						for t := range tokens {
							f.op("fmla", s4(k.acc(p, t, v)), s4(w), sLane(x+t, i))
						}
					}
					for h := range 2 {
						switch e {
						case "F32":
							f.ldp(a, b, regW+p, 32*h)
							add(2*h, a)
							add(2*h+1, b)
						case "F16":
							f.ldr('q', a, regW+p, 16*h)
							f.op("fcvtl", s4(b), h4(a))
							add(2*h, b)
							f.op("fcvtl2", s4(a), h8(a))
							add(2*h+1, a)
						case "BF16":
							f.ldr('q', a, regW+p, 16*h)
							f.shll(b, a, false)
							add(2*h, b)
							f.shll(a, a, true)
							add(2*h+1, a)
						}
					}
					f.gop("ADD R%d, R%d, R%d", regStride, regW+p, regW+p)
				}
			}
		})
	})
}

// A pairs kernel multiplies bf16 panels whose k advances in pairs with f32 activations: the lower half of each 32-bit
// word, shifted up, is the even value, and the upper half, the lower cleared, the odd one. K counts values and is even.
func (f *file) pairs(panels, tokens int) {
	k := tile{file: f, panels: panels, tokens: tokens}
	f.kernel("neonPairs", k, func() {
		x := k.accs()
		mask, even, odd := x+tokens, x+tokens+1, []int{x + tokens + 2, x + tokens + 3}
		f.bytes(mask, 0xff)
		f.shift("shl", s4(mask), s4(mask), 16)
		k.loop(4, 2, func(n int) {
			for t := range tokens {
				f.next(map[int]byte{4: 'q', 2: 'd'}[n], x+t, regX+t)
			}
			for p := range panels {
				for u := range n / 2 {
					for v := range panelVecs {
						if v%2 == 0 {
							f.ldp(odd[0], odd[1], regW+p, 64*u+16*v)
						}
						w := odd[v%2]
						f.shift("shl", s4(even), s4(w), 16)
						f.op("and", b16(w), b16(w), b16(mask))
						for half, w := range []int{even, w} {
							for t := range tokens {
								f.op("fmla", s4(k.acc(p, t, v)), s4(w), sLane(x+t, 2*u+half))
							}
						}
					}
				}
				f.gop("ADD $%d, R%d, R%d", 64*n/2, regW+p, regW+p)
			}
		})
	})
}
