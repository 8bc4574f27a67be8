package vulkan

import (
	"encoding/binary"

	"github.com/ullm/ullm/tensor"
)

// A weight lies in memory as shaders/glsl/weight.glsl says: rows in panels, values in chunks of 32, and up to four planes,
// each [panel][chunk][…][row in panel]. Every format takes as many bytes as in files, except that rows are filled up to
// whole panels, values to whole chunks, and scales of K-quants to whole bytes (under 3 %).
const (
	chunkValues = 32
	superChunks = 8   // chunks of a K-quant's block
	panelShift  = 5   // 32 rows: a workgroup's lanes
	alignment   = 256 // of planes, and of everything else in device memory
)

// bytesPer says how many bytes each plane has for a chunk of a row; super for a block of it.
type bytesPer struct{ values, high, scale, super int }

var planeBytes = map[tensor.Format]bytesPer{
	tensor.F32:  {values: 128},
	tensor.F16:  {values: 64},
	tensor.BF16: {values: 64},
	tensor.Q8_0: {values: 32, scale: 2},
	tensor.Q4_0: {values: 16, scale: 2},
	tensor.Q4_1: {values: 16, scale: 4},
	tensor.Q5_0: {values: 16, high: 4, scale: 2},
	tensor.Q5_1: {values: 16, high: 4, scale: 4},
	tensor.Q4_K: {values: 16, scale: 2, super: 4},
	tensor.Q5_K: {values: 16, high: 4, scale: 2, super: 4},
	tensor.Q6_K: {values: 16, high: 8, scale: 2, super: 2},
}

// layout is where a weight's planes lie.
type layout struct {
	format tensor.Format
	per    bytesPer
	cols   int
	chunks int
	shift  uint
	panels int
	// Offsets of the planes, and the size of all.
	values, high, scale, super, bytes int64
}

// layoutOf fixes a weight's layout from its format, its shape and who reads it. What is only gathered, and single rows,
// such as norms and biases, stand in panels of one row.
func layoutOf(w tensor.WeightSpec) layout {
	l := layout{format: w.Format, per: planeBytes[w.Format], cols: w.Cols, chunks: (w.Cols + chunkValues - 1) / chunkValues}
	if w.Rows() > 1 && (w.ReadBy(tensor.OpLinear) || w.ReadBy(tensor.OpLinearSwiGLU)) {
		l.shift = panelShift
	}
	l.panels = (w.Rows() + 1<<l.shift - 1) >> l.shift
	p := l.planes(l.panels)
	at := int64(0)
	for i, o := range []*int64{&l.values, &l.high, &l.scale, &l.super} {
		*o = at
		at += (p[i] + alignment - 1) / alignment * alignment
	}
	l.bytes = at
	return l
}

// planes are the sizes of the planes for some panels.
func (l layout) planes(panels int) [4]int64 {
	n := int64(panels*l.chunks) << l.shift
	return [4]int64{n * int64(l.per.values), n * int64(l.per.high), n * int64(l.per.scale), n / superChunks * int64(l.per.super)}
}

// image is a piece of a weight of whole panels, as it will lie in memory: a part of each plane.
type image struct{ values, high, scale, super []byte }

// pack writes one row, as files store it, to row of an image, which was zero before.
func (l layout) pack(m image, row int, src []byte) {
	lanes := 1 << l.shift
	panel, lane := row>>l.shift, row&(lanes-1)
	for c := range l.chunks {
		i := (panel*l.chunks+c)<<l.shift + lane
		unit := func(u int) []byte {
			units := l.per.values / 16
			return m.values[16*(((panel*l.chunks+c)*units+u)<<l.shift+lane):][:16]
		}
		switch l.format {
		case tensor.F32, tensor.F16, tensor.BF16:
			n := min(l.per.values, len(src)-c*l.per.values)
			for u, at := 0, src[c*l.per.values:][:n]; len(at) > 0; u++ {
				at = at[copy(unit(u), at):]
			}
		case tensor.Q8_0:
			b := src[c*34:][:34]
			copy(m.scale[2*i:][:2], b)
			copy(unit(0), b[2:])
			copy(unit(1), b[18:])
		case tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1:
			b := src[c*l.format.BlockBytes():][:l.format.BlockBytes()]
			copy(m.scale[l.per.scale*i:][:l.per.scale], b)
			if b = b[l.per.scale:]; l.per.high > 0 {
				copy(m.high[4*i:][:4], b)
				b = b[4:]
			}
			var q [chunkValues]byte
			for j, v := range b {
				q[j], q[j+16] = v&15, v>>4
			}
			packNibbles(unit(0), &q)
		default:
			l.packK(m, unit(0), src[c/superChunks*l.format.BlockBytes():], i, c%superChunks)
			if c%superChunks == 0 {
				n, at := l.per.super, (panel*l.chunks/superChunks+c/superChunks)<<l.shift+lane
				b := src[c/superChunks*l.format.BlockBytes():][:l.format.BlockBytes()]
				if l.format == tensor.Q6_K {
					b = b[208:]
				}
				copy(m.super[n*at:][:n], b)
			}
		}
	}
}

// packNibbles writes the low four bits of 32 values: of each eight in a word, byte j has value j low and value 4+j high.
func packNibbles(dst []byte, q *[chunkValues]byte) {
	for w := range 4 {
		for j := range 4 {
			dst[4*w+j] = q[8*w+j]&15 | q[8*w+4+j]<<4
		}
	}
}

// packK writes chunk j of a K-quant's block b, number i in its planes.
func (l layout) packK(m image, unit, b []byte, i, j int) {
	var q [chunkValues]byte
	if l.format == tensor.Q6_K {
		h, part := j/4, j%4 // halves of 128 values, quarters of 32
		low, high, scales := b[64*h+32*(part%2):], b[128+32*h:], b[192+8*h+2*part:]
		var two uint64
		for k := range q {
			q[k] = low[k] >> (4 * (part / 2)) & 15
			two |= uint64(high[k]>>(2*part)&3) << (2 * k)
		}
		packNibbles(unit, &q)
		binary.LittleEndian.PutUint64(m.high[8*i:], two)
		copy(m.scale[2*i:][:2], scales)
		return
	}
	packed, values := b[4:16], b[16:]
	if l.format == tensor.Q5_K {
		var fifth uint32
		for k := range q {
			fifth |= uint32(values[k]>>j&1) << k
		}
		binary.LittleEndian.PutUint32(m.high[4*i:], fifth)
		values = values[32:]
	}
	for k := range q {
		q[k] = values[j/2*32+k] >> (4 * (j % 2)) & 15
	}
	packNibbles(unit, &q)
	// Six bits each of scale and minimum; those of chunks 4 to 7 are split.
	if j < 4 {
		m.scale[2*i], m.scale[2*i+1] = packed[j]&63, packed[4+j]&63
	} else {
		m.scale[2*i], m.scale[2*i+1] = packed[4+j]&15|packed[j-4]>>6<<4, packed[4+j]>>4|packed[j]>>6<<4
	}
}

// rowsOf cuts rows [first, first+n) of all parts into runs that lie in one part.
func rowsOf(parts []tensor.Part, first, n int, use func(part, first, n int) error) error {
	at := 0
	for i, p := range parts {
		from, to := max(first, at), min(first+n, at+p.Rows)
		if from < to {
			if err := use(i, from-at, to-from); err != nil {
				return err
			}
		}
		at += p.Rows
	}
	return nil
}
