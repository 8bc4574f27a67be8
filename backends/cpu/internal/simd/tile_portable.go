package simd

import "unsafe"

// The portable tiles: one token and one panel, in plain Go. The conversions around products keep compilers from fusing
// them into the sum, so that every architecture computes the same bits.

func portable() *Kernels {
	one := func(f func(*Tile)) Tiles {
		t := Tiles{Tokens: 1}
		t.Run[1][1] = f
		return t
	}
	k := &Kernels{Level: Portable, F32: one(rowsF32), F16: one(rowsF16), BF16: one(rowsBF16), Pairs: one(pairs), Q8: one(dotQ8)}
	for f := range codings {
		k.Coded[f] = one(f.tile)
	}
	return k
}

func (t *Tile) c() *[PanelRows]float32 {
	c := (*[PanelRows]float32)(t.C)
	if t.Add == 0 {
		*c = [PanelRows]float32{}
	}
	return c
}

func rowsF32(t *Tile) {
	c, x := t.c(), unsafe.Slice((*float32)(t.X), t.K)
	for k, v := range x {
		w := (*[PanelRows]float32)(unsafe.Add(t.W[0], k*t.KStride))
		for j := range c {
			c[j] += float32(w[j] * v)
		}
	}
}

func rowsF16(t *Tile) {
	c, x := t.c(), unsafe.Slice((*float32)(t.X), t.K)
	for k, v := range x {
		w := (*[PanelRows]uint16)(unsafe.Add(t.W[0], k*t.KStride))
		for j := range c {
			c[j] += float32(F16(w[j]) * v)
		}
	}
}

func rowsBF16(t *Tile) {
	c, x := t.c(), unsafe.Slice((*float32)(t.X), t.K)
	for k, v := range x {
		w := (*[PanelRows]uint16)(unsafe.Add(t.W[0], k*t.KStride))
		for j := range c {
			c[j] += float32(BF16(w[j]) * v)
		}
	}
}

func pairs(t *Tile) {
	c, x := t.c(), unsafe.Slice((*float32)(t.X), t.K)
	for k, v := range x {
		w := (*[2 * PanelRows]uint16)(unsafe.Add(t.W[0], k/2*4*PanelRows))
		for j := range c {
			c[j] += float32(BF16(w[2*j+k%2]) * v)
		}
	}
}

func dotQ8(t *Tile) {
	c := t.c()
	blocks := t.K / Q8Values
	x := unsafe.Slice((*Q8Block)(t.X), blocks)
	scales := unsafe.Add(t.W[0], t.Scales)
	for b := range x {
		w := (*[Q8Values * PanelRows]uint8)(unsafe.Add(t.W[0], b*Q8Values*PanelRows))
		s := (*[PanelRows]uint16)(unsafe.Add(scales, b*2*PanelRows))
		for j := range c {
			sum := int32(0)
			for i := range Q8Values {
				sum += int32(int8(w[i/4*64+j*4+i%4]^Q8Flip)) * int32(x[b].Q[i])
			}
			c[j] += float32(float32(float32(sum)*F16(s[j])) * x[b].Scale)
		}
	}
}
