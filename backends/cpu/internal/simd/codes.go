package simd

import (
	"encoding/binary"
	"unsafe"
)

// Coding is a format whose values are small codes times scales, which Coded kernels multiply without decoding it.
//
// A panel has first the codes of each 32 values: four lines of 64 bytes with the low four bits, [16 rows][4 values] as a
// dot product of bytes wants them, groups 0 to 3 of 4 values in the lower halves and 4 to 7 in the upper; then what is
// left of wider codes: one line with bit 4 of group g at bit g, or two with bits 4 and 5 of group g at bits 2·(g mod 4).
//
// Then come the scales, of all 16 rows together. For each 32 values: f16 scales, then f16 minima if the format has
// them. Or for each super-block of 256: 8-bit scales [8 or 16 sub-blocks][16], 8-bit minima [8][16], then the rows' f16
// scales of the scales and of the minima. So a weight takes what it takes in a file, a little more for unpacked 6-bit
// scales, and no scale is rounded.
type Coding uint8

// The codings, named for their formats.
const (
	Q4_0 Coding = iota
	Q4_1
	Q5_0
	Q5_1
	Q4_K
	Q5_K
	Q6_K
	codings
)

// code is what distinguishes a coding.
type code struct {
	bits   int
	zero   int // subtracted from every code
	stored int // bytes of a block in a file
	mins   float32
	super  bool
	scales int // that 32 values have
}

const superValues = 256

var codeTable = [codings]code{
	Q4_0: {bits: 4, zero: 8, stored: 18, scales: 1},
	Q4_1: {bits: 4, mins: +1, stored: 20, scales: 1},
	Q5_0: {bits: 5, zero: 16, stored: 22, scales: 1},
	Q5_1: {bits: 5, mins: +1, stored: 24, scales: 1},
	Q4_K: {bits: 4, mins: -1, super: true, stored: 144, scales: 1},
	Q5_K: {bits: 5, mins: -1, super: true, stored: 176, scales: 1},
	Q6_K: {bits: 6, zero: 32, super: true, stored: 210, scales: 2},
}

// values is how many values a block has.
func (c *code) values() int {
	if c.super {
		return superValues
	}
	return Q8Values
}

// record is what a block's scales take in a panel.
func (c *code) record() int {
	n := 2 * PanelRows
	if c.mins != 0 {
		n *= 2
	}
	if c.super {
		n += superValues / Q8Values * c.scales * PanelRows
		if c.mins != 0 {
			n += superValues / Q8Values * PanelRows
		}
	}
	return n
}

// Where things are in a super-block's record.
const (
	recordMins  = superValues / Q8Values * PanelRows
	recordScale = 2 * recordMins
	recordMin   = recordScale + 2*PanelRows
)

// CodeBytes is what 32 values of a panel take, without scales.
func (f Coding) CodeBytes() int { return 4 * PanelRows * codeTable[f].bits }

// ScaleBytes is what the scales of 32 values of a panel take, on average.
func (f Coding) ScaleBytes() int {
	c := &codeTable[f]
	return c.record() * Q8Values / c.values()
}

// PanelBytes is the size of a panel of n values.
func (f Coding) PanelBytes(n int) int { return n / Q8Values * (f.CodeBytes() + f.ScaleBytes()) }

// gather reads row j's 32 codes of a panel's block.
func (c *code) gather(q []uint8, src []byte, j int) {
	src = src[4*j:]
	for g := range 8 {
		v := binary.LittleEndian.Uint32(src[64*(g%4):]) >> (4 * (g / 4)) & 0x0f0f0f0f
		switch c.bits {
		case 5:
			v |= binary.LittleEndian.Uint32(src[256:]) >> g & 0x01010101 << 4
		case 6:
			v |= binary.LittleEndian.Uint32(src[256+64*(g/4):]) >> (2 * (g % 4)) & 0x03030303 << 4
		}
		binary.LittleEndian.PutUint32(q[4*g:], v)
	}
}

// scale reads scale i and the minimum of values [32·b, 32·b+32) of row j.
func (c *code) scale(scales []byte, b, i, j int) (scale, minimum float32) {
	f16 := func(at int) float32 { return F16(binary.LittleEndian.Uint16(scales[at+2*j:])) }
	if !c.super {
		scales = scales[b*c.record():]
		if scale = f16(0); c.mins != 0 {
			minimum = f16(2 * PanelRows)
		}
		return scale, minimum
	}
	const blocks = superValues / Q8Values
	scales, b = scales[b/blocks*c.record():], b%blocks
	if c.scales == 2 {
		return f16(recordScale) * float32(int8(scales[(2*b+i)*PanelRows+j])), 0
	}
	scale = f16(recordScale) * float32(scales[b*PanelRows+j])
	if c.mins != 0 {
		minimum = f16(recordMin) * float32(scales[recordMins+b*PanelRows+j])
	}
	return scale, minimum
}

// Row decodes row j of a panel of len(dst) values, to the bits that the format defines.
func (f Coding) Row(dst []float32, panel []byte, j int) {
	c := &codeTable[f]
	scales := panel[len(dst)/Q8Values*f.CodeBytes():]
	var q [Q8Values]uint8
	for b := range len(dst) / Q8Values {
		c.gather(q[:], panel[b*f.CodeBytes():], j)
		for i, v := range q {
			scale, minimum := c.scale(scales, b, i*c.scales/Q8Values, j)
			p := scale * float32(int(v)-c.zero)
			if c.mins != 0 {
				p = float32(p) + c.mins*minimum
			}
			dst[b*Q8Values+i] = p
		}
	}
}

// tile is the portable kernel.
func (f Coding) tile(t *Tile) {
	out, c := t.c(), &codeTable[f]
	blocks := t.K / Q8Values
	x := unsafe.Slice((*Q8Block)(t.X), blocks)
	scales := unsafe.Slice((*byte)(unsafe.Add(t.W[0], t.Scales)), blocks*f.ScaleBytes())
	var q [Q8Values]uint8
	for b := range x {
		for j := range out {
			c.gather(q[:], unsafe.Slice((*byte)(unsafe.Add(t.W[0], b*f.CodeBytes())), f.CodeBytes()), j)
			n := Q8Values / c.scales
			minimum := float32(0)
			for part := range c.scales {
				sum, scale := int32(0), float32(0)
				for i := part * n; i < (part+1)*n; i++ {
					sum += int32(int(q[i])-c.zero) * int32(x[b].Q[i])
				}
				scale, minimum = c.scale(scales, b, part, j)
				out[j] += float32(float32(float32(sum)*scale) * x[b].Scale)
			}
			if c.mins != 0 {
				out[j] -= float32(c.mins * float32(minimum*x[b].Shift))
			}
		}
	}
}
