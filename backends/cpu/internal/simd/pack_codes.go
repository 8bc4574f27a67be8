package simd

import "encoding/binary"

// PackCodes packs rows of n values as files store them into a panel. A row's codes are first brought into the order of the
// panel's 32-bit words, which then are interleaved as those of other formats are.
func (k *Kernels) PackCodes(f Coding, dst, rows []byte, n int) {
	c := &codeTable[f]
	stride := n / c.values() * c.stored
	count := len(rows) / stride
	if count < PanelRows {
		clear(dst)
	}
	size, record := f.CodeBytes(), c.record()
	each := size / PanelRows // bytes of a row's 32 codes
	scales := dst[n/Q8Values*size:]
	const most = superValues / Q8Values * 4 * 6
	var words [PanelRows * most]byte
	for at := 0; at < n; at += superValues {
		blocks, first := min(superValues, n-at)/Q8Values, at/c.values()
		for j := range count {
			row, to, scales := rows[j*stride+first*c.stored:(j+1)*stride], words[j*most:], scales[first*record:]
			if !c.super {
				c.rowBlocks(to, row, scales, blocks, j)
				continue
			}
			switch f {
			case Q4_K:
				wordsQ4K(to, row)
			case Q5_K:
				wordsQ5K(to, row)
			case Q6_K:
				wordsQ6K(to, row)
			}
			c.putScales(scales, row, j)
		}
		k.pack32(dst[at/Q8Values*size:], words[:], count, blocks*each/4, most)
	}
}

// rowBlocks takes blocks of 32 values of row j apart: an f16 scale, perhaps an f16 minimum, perhaps fifth bits, and nibbles,
// whose order is the panel's already.
func (c *code) rowBlocks(to, row, scales []byte, blocks, j int) {
	record, each := c.record(), 4*c.bits
	for b := range blocks {
		block, to, scales := row[b*c.stored:][:c.stored], to[b*each:][:each], scales[b*record+2*j:]
		binary.LittleEndian.PutUint16(scales, binary.LittleEndian.Uint16(block))
		if block = block[2:]; c.mins != 0 {
			binary.LittleEndian.PutUint16(scales[2*PanelRows:], binary.LittleEndian.Uint16(block))
			block = block[2:]
		}
		if c.bits == 5 {
			binary.LittleEndian.PutUint32(to[16:], fifthWord(binary.LittleEndian.Uint32(block)))
			block = block[4:]
		}
		binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(block))
		binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(block[8:]))
	}
}

// putScales writes the scales of row j's super-block to their places in a panel's record.
func (c *code) putScales(to, block []byte, j int) {
	if c.mins == 0 {
		binary.LittleEndian.PutUint16(to[recordScale+2*j:], binary.LittleEndian.Uint16(block[208:]))
		putColumn(to[j:], binary.LittleEndian.Uint64(block[192:]))
		putColumn(to[8*PanelRows+j:], binary.LittleEndian.Uint64(block[200:]))
		return
	}
	binary.LittleEndian.PutUint16(to[recordScale+2*j:], binary.LittleEndian.Uint16(block))
	binary.LittleEndian.PutUint16(to[recordMin+2*j:], binary.LittleEndian.Uint16(block[2:]))
	// Eight scales and as many minima of 6 bits: the upper bits of the last four lie above the first four's.
	a, b, d := binary.LittleEndian.Uint32(block[4:]), binary.LittleEndian.Uint32(block[8:]), binary.LittleEndian.Uint32(block[12:])
	putColumn(to[j:], uint64(a&0x3f3f3f3f)|uint64(d&0x0f0f0f0f|a>>2&0x30303030)<<32)
	putColumn(to[recordMins+j:], uint64(b&0x3f3f3f3f)|uint64(d>>4&0x0f0f0f0f|b>>2&0x30303030)<<32)
}

// putColumn writes eight bytes, PanelRows apart.
func putColumn(to []byte, v uint64) {
	_ = to[7*PanelRows]
	for i := range 8 {
		to[i*PanelRows] = byte(v >> (8 * i))
	}
}

const lowNibbles = 0x0f0f0f0f0f0f0f0f

// fifthWord turns bit 4·g+k of the fifth bits into bit 8·k+g: each step exchanges two bits of the bits' indices.
func fifthWord(v uint32) uint32 {
	v = deltaSwap(v, 14, 0x0000cccc)
	v = deltaSwap(v, 7, 0x00aa00aa)
	v = deltaSwap(v, 2, 0x0c0c0c0c)
	return deltaSwap(v, 1, 0x22222222)
}

// deltaSwap exchanges the bits of mask with those that lie by shift above them.
func deltaSwap(v uint32, shift int, mask uint32) uint32 {
	t := (v>>(shift&31) ^ v) & mask
	return v ^ t ^ t<<(shift&31)
}

// splitNibbles makes the nibble words of two blocks, one in the lower halves of 32 bytes and one in the upper halves.
func splitNibbles(low, high, q []byte) {
	_, _, _ = low[15], high[15], q[31]
	for i := 0; i < 16; i += 8 {
		a, b := binary.LittleEndian.Uint64(q[i:]), binary.LittleEndian.Uint64(q[16+i:])
		binary.LittleEndian.PutUint64(low[i:], a&lowNibbles|b&lowNibbles<<4)
		binary.LittleEndian.PutUint64(high[i:], a>>4&lowNibbles|b&^lowNibbles)
	}
}

func wordsQ4K(dst, block []byte) {
	for i := range 4 {
		splitNibbles(dst[32*i:], dst[32*i+16:], block[16+32*i:])
	}
}

// wordsQ5K transposes the fifth bits: bit s of byte 4·g+k belongs to block s, where it is bit g of byte k.
func wordsQ5K(dst, block []byte) {
	for i := range 4 {
		splitNibbles(dst[40*i:], dst[40*i+20:], block[48+32*i:])
	}
	var w [8]uint32
	for g := range w {
		w[g] = binary.LittleEndian.Uint32(block[16+4*g:])
	}
	for g := range 4 {
		exchange(&w[g], &w[g+4], 4, 0x0f0f0f0f)
	}
	for _, g := range [...]int{0, 1, 4, 5} {
		exchange(&w[g], &w[g+2], 2, 0x33333333)
	}
	for g := 0; g < len(w); g += 2 {
		exchange(&w[g], &w[g+1], 1, 0x55555555)
	}
	for s, v := range w {
		binary.LittleEndian.PutUint32(dst[20*s+16:], v)
	}
}

// exchange swaps the bits of b that mask names with those that lie by shift above them in a.
func exchange[T uint32 | uint64](a, b *T, shift int, mask T) {
	t := (*a>>shift ^ *b) & mask
	*b ^= t
	*a ^= t << shift
}

// wordsQ6K transposes the upper bits: bits 2·s and 2·s+1 of byte 16·half+4·g+k of 32 belong to block s of four, where they
// are bits 2·g and 2·g+1 of byte k of that half's word.
func wordsQ6K(dst, block []byte) {
	for h := range 2 {
		to, low, high := dst[96*h:], block[64*h:], block[128+32*h:]
		splitNibbles(to, to[48:], low)
		splitNibbles(to[24:], to[72:], low[32:])
		var w [4]uint64
		for g := range w {
			w[g] = uint64(binary.LittleEndian.Uint32(high[4*g:])) | uint64(binary.LittleEndian.Uint32(high[16+4*g:]))<<32
		}
		const pairs = 0x3333333333333333
		exchange(&w[0], &w[2], 4, lowNibbles)
		exchange(&w[1], &w[3], 4, lowNibbles)
		exchange(&w[0], &w[1], 2, pairs)
		exchange(&w[2], &w[3], 2, pairs)
		for s, v := range w {
			binary.LittleEndian.PutUint64(to[24*s+16:], v)
		}
	}
}
