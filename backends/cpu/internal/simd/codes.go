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
	unpack func(u *unpacked, block []byte)
}

// unpacked is a block of a row: 32 values, or 256 where blocks are super.
type unpacked struct {
	codes        [superValues]uint8
	scale, min   uint16 // f16
	scales, mins [16]uint8
}

const superValues = 256

var codeTable = [codings]code{
	Q4_0: {bits: 4, zero: 8, stored: 18, scales: 1, unpack: func(u *unpacked, b []byte) {
		u.scale = binary.LittleEndian.Uint16(b)
		nibbles(u.codes[:16], u.codes[16:], b[2:])
	}},
	Q4_1: {bits: 4, mins: +1, stored: 20, scales: 1, unpack: func(u *unpacked, b []byte) {
		u.scale, u.min = binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		nibbles(u.codes[:16], u.codes[16:], b[4:])
	}},
	Q5_0: {bits: 5, zero: 16, stored: 22, scales: 1, unpack: func(u *unpacked, b []byte) {
		u.scale = binary.LittleEndian.Uint16(b)
		nibbles(u.codes[:16], u.codes[16:], b[6:])
		fifthBits(u.codes[:32], binary.LittleEndian.Uint32(b[2:]))
	}},
	Q5_1: {bits: 5, mins: +1, stored: 24, scales: 1, unpack: func(u *unpacked, b []byte) {
		u.scale, u.min = binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		nibbles(u.codes[:16], u.codes[16:], b[8:])
		fifthBits(u.codes[:32], binary.LittleEndian.Uint32(b[4:]))
	}},
	Q4_K: {bits: 4, mins: -1, super: true, stored: 144, scales: 1, unpack: func(u *unpacked, b []byte) { unpackK(u, b, nil, b[16:]) }},
	Q5_K: {bits: 5, mins: -1, super: true, stored: 176, scales: 1, unpack: func(u *unpacked, b []byte) { unpackK(u, b, b[16:48], b[48:]) }},
	Q6_K: {bits: 6, zero: 32, super: true, stored: 210, scales: 2, unpack: unpackQ6K},
}

const lowNibbles = 0x0f0f0f0f0f0f0f0f

// nibbles splits len(low) bytes of src into their halves; lengths are multiples of 8.
func nibbles(low, high, src []byte) {
	for i := 0; i < len(low); i += 8 {
		v := binary.LittleEndian.Uint64(src[i:])
		binary.LittleEndian.PutUint64(low[i:], v&lowNibbles)
		binary.LittleEndian.PutUint64(high[i:], v>>4&lowNibbles)
	}
}

// fifthBits adds 16 to every code whose bit is set.
func fifthBits(q []uint8, bits uint32) {
	for i := 0; i < len(q); i += 8 {
		v := uint64(bits>>i&0xff) * 0x0101010101010101 & 0x8040201008040201 // bit j alone, in byte j
		v = (v + 0x7f7f7f7f7f7f7f7f) >> 3 & 0x1010101010101010              // a byte's top bit says whether there was one
		binary.LittleEndian.PutUint64(q[i:], binary.LittleEndian.Uint64(q[i:])|v)
	}
}

// unpackK unpacks Q4_K, or Q5_K with its fifth bits.
func unpackK(u *unpacked, b, fifth, qs []byte) {
	u.scale, u.min = binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	packed := b[4:16]
	for j := range 4 {
		u.scales[j], u.mins[j] = packed[j]&63, packed[j+4]&63
		u.scales[j+4], u.mins[j+4] = packed[j+8]&15|packed[j]>>6<<4, packed[j+8]>>4|packed[j+4]>>6<<4
	}
	for j := 0; j < 8; j += 2 {
		q := u.codes[32*j:][:64]
		nibbles(q[:32], q[32:], qs[16*j:])
		for i := 0; i < len(fifth); i += 8 {
			v := binary.LittleEndian.Uint64(fifth[i:]) >> j
			low, high := q[i:], q[32+i:]
			binary.LittleEndian.PutUint64(low, binary.LittleEndian.Uint64(low)|v<<4&0x1010101010101010)
			binary.LittleEndian.PutUint64(high, binary.LittleEndian.Uint64(high)|v<<3&0x1010101010101010)
		}
	}
}

func unpackQ6K(u *unpacked, b []byte) {
	u.scale = binary.LittleEndian.Uint16(b[208:])
	copy(u.scales[:], b[192:])
	for h := range 2 {
		q, low, high := u.codes[128*h:][:128], b[64*h:][:64], b[128+32*h:][:32]
		nibbles(q[:64], q[64:], low)
		for i := 0; i < 32; i += 8 {
			bits := binary.LittleEndian.Uint64(high[i:])
			for part := range 4 {
				to := q[32*part+i:]
				binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(to)|bits>>(2*part)<<4&0x3030303030303030)
			}
		}
	}
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

// Pack packs rows of n values as files store them into a panel.
func (f Coding) Pack(dst, rows []byte, n int) {
	c := &codeTable[f]
	blocks := n / c.values()
	count := len(rows) / (blocks * c.stored)
	if count < PanelRows {
		clear(dst)
	}
	size, record, scales := f.CodeBytes(), c.record(), dst[n/Q8Values*f.CodeBytes():]
	var u unpacked
	for j := range count {
		for b := range blocks {
			c.unpack(&u, rows[(j*blocks+b)*c.stored:][:c.stored])
			for i := 0; i < c.values(); i += Q8Values {
				c.spread(dst[(b*c.values()+i)/Q8Values*size:][:size], u.codes[i:], j)
			}
			to := scales[b*record:][:record]
			at := 0
			if c.super {
				for i := range superValues / Q8Values * c.scales {
					to[i*PanelRows+j] = u.scales[i]
				}
				if c.mins != 0 {
					for i := range superValues / Q8Values {
						to[recordMins+i*PanelRows+j] = u.mins[i]
					}
				}
				at = recordScale
			}
			binary.LittleEndian.PutUint16(to[at+2*j:], u.scale)
			if c.mins != 0 {
				binary.LittleEndian.PutUint16(to[at+2*PanelRows+2*j:], u.min)
			}
		}
	}
}

// spread writes row j's 32 codes to their places in a panel's block, gather reads them.
func (c *code) spread(dst []byte, q []uint8, j int) {
	var w [8]uint32
	for g := range w {
		w[g] = binary.LittleEndian.Uint32(q[4*g:])
	}
	dst = dst[4*j:]
	for g := range 4 {
		binary.LittleEndian.PutUint32(dst[64*g:], w[g]&0x0f0f0f0f|w[g+4]<<4&0xf0f0f0f0)
	}
	switch c.bits {
	case 5:
		v := uint32(0)
		for g := range w {
			v |= w[g] >> 4 & 0x01010101 << g
		}
		binary.LittleEndian.PutUint32(dst[256:], v)
	case 6:
		for half := range 2 {
			v := uint32(0)
			for g := range 4 {
				v |= w[4*half+g] >> 4 & 0x03030303 << (2 * g)
			}
			binary.LittleEndian.PutUint32(dst[256+64*half:], v)
		}
	}
}

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
