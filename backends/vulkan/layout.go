package vulkan

import (
	"encoding/binary"

	"github.com/ullm/ullm/tensor"
)

// A weight lies in memory as shaders/glsl/weight.glsl says: values in chunks of 32, and up to four planes. In a weight that
// Linear reads, the invocations of a cluster take neighbouring chunks, and each several rows: chunks stand in groups, a
// group's parts of 32 bytes chunk by chunk, and what belongs to a chunk stands together for the rows of a panel. Every
// format takes as many bytes as in files, except that rows are filled up to whole groups, their number to whole panels, and
// scales of K-quants to whole bytes (under 3 %).
const (
	chunkValues = 32
	groupChunks = 8 // of a cluster; also the chunks of a K-quant's block
	panelRows   = 8
	alignment   = 256 // of planes, and of everything else in device memory
)

// up is the next multiple of alignment.
func up(n int64) int64 { return (n + alignment - 1) / alignment * alignment }

// The planes of a weight.
const (
	planeValues = iota
	planeHigh
	planeScale
	planeSuper
	numPlanes
)

// planeBytes says how many bytes each plane has for a chunk of a row; super for a block of it.
var planeBytes = map[tensor.Format][numPlanes]int{
	tensor.F32:  {128},
	tensor.F16:  {64},
	tensor.BF16: {64},
	tensor.Q8_0: {32, 0, 2},
	tensor.Q4_0: {16, 0, 2},
	tensor.Q4_1: {16, 0, 4},
	tensor.Q5_0: {16, 4, 2},
	tensor.Q5_1: {16, 4, 4},
	tensor.Q4_K: {16, 0, 2, 4},
	tensor.Q5_K: {16, 4, 2, 4},
	tensor.Q6_K: {16, 8, 2, 2},
}

// layout is where a weight's planes lie.
type layout struct {
	format tensor.Format
	per    [numPlanes]int
	chunks int  // that hold a row's values
	padded int  // that a row has
	wide   bool // groups and panels; else rows one after the other
	panel  int  // rows in a panel
	panels int
	at     [numPlanes]int64 // offsets of the planes
	bytes  int64
}

// layoutOf fixes a weight's layout from its format, its shape and who reads it. What is only gathered, and single rows,
// such as norms and biases, stand row by row.
func layoutOf(w tensor.WeightSpec) layout {
	l := layout{format: w.Format, per: planeBytes[w.Format], chunks: (w.Cols + chunkValues - 1) / chunkValues, panel: 1}
	l.padded = l.chunks
	if (w.Rows() > 1 || w.Format != tensor.F32) && (w.ReadBy(tensor.OpLinear) || w.ReadBy(tensor.OpLinearSwiGLU)) {
		l.wide, l.panel = true, panelRows
		l.padded = (l.chunks + groupChunks - 1) / groupChunks * groupChunks
	}
	l.panels = (w.Rows() + l.panel - 1) / l.panel
	at := int64(0)
	for i, n := range l.planes(l.panels) {
		l.at[i] = at
		at += up(n)
	}
	l.bytes = at
	return l
}

// planes are the sizes of the planes for some panels.
func (l layout) planes(panels int) (n [numPlanes]int64) {
	for i, per := range l.per {
		n[i] = int64(panels*l.panel*l.padded) * int64(per)
	}
	n[planeSuper] /= groupChunks
	return n
}

// image is a piece of a weight of whole panels, as it will lie in memory: a part of each plane.
type image [numPlanes][]byte

// unit is the 16 bytes of values number u of chunk c of a row.
func (l layout) unit(m image, row, c, u int) []byte {
	units := l.per[planeValues] / 16
	at := (row*l.padded+c)*units + u
	if l.wide && units > 1 {
		group, lane := c/groupChunks*groupChunks, c%groupChunks
		at = (row*l.padded+group)*units + (u/2*groupChunks+lane)*2 + u%2
	}
	return m[planeValues][16*at:][:16]
}

// beside is what a plane beside the values has for element c, a chunk or a block, of a row with n of them.
func (l layout) beside(m image, plane, row, c, n int) []byte {
	per := l.per[plane]
	return m[plane][per*((row/l.panel*n+c)*l.panel+row%l.panel):][:per]
}

// pack writes one row, as files store it, to row of an image, which was zero before.
func (l layout) pack(m image, row int, src []byte) {
	size := l.format.BlockBytes()
	for c := range l.chunks {
		switch l.format {
		case tensor.F32, tensor.F16, tensor.BF16:
			n := min(l.per[planeValues], len(src)-c*l.per[planeValues])
			for u, at := 0, src[c*l.per[planeValues]:][:n]; len(at) > 0; u++ {
				at = at[copy(l.unit(m, row, c, u), at):]
			}
		case tensor.Q8_0:
			b := src[c*size:][:size]
			copy(l.beside(m, planeScale, row, c, l.padded), b)
			copy(l.unit(m, row, c, 0), b[2:])
			copy(l.unit(m, row, c, 1), b[18:])
		case tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1:
			b := src[c*size:][:size]
			b = b[copy(l.beside(m, planeScale, row, c, l.padded), b):]
			if l.per[planeHigh] > 0 {
				var high uint32
				for k := range chunkValues {
					high |= uint32(b[k/8]>>(k%8)&1) << fifthBit(k)
				}
				binary.LittleEndian.PutUint32(l.beside(m, planeHigh, row, c, l.padded), high)
				b = b[4:]
			}
			var q [chunkValues]byte
			for j, v := range b {
				q[j], q[j+16] = v&15, v>>4
			}
			packNibbles(l.unit(m, row, c, 0), &q)
		default:
			b := src[c/groupChunks*size:][:size]
			l.packK(m, row, c, b)
			if c%groupChunks == 0 {
				if l.format == tensor.Q6_K {
					b = b[208:]
				}
				copy(l.beside(m, planeSuper, row, c/groupChunks, l.padded/groupChunks), b)
			}
		}
	}
}

// fifthBit is where the word of a chunk's fifth bits has that of value k: in the byte that the value has in its word of nibbles,
// so that a shift and a mask take those of four values. The bits of Q6_K lie the same way, two by two.
func fifthBit(k int) int { return k%4*8 + k/4 }

// packNibbles writes the low four bits of 32 values: of each eight in a word, byte j has value j low and value 4+j high.
func packNibbles(dst []byte, q *[chunkValues]byte) {
	for w := range 4 {
		for j := range 4 {
			dst[4*w+j] = q[8*w+j]&15 | q[8*w+4+j]<<4
		}
	}
}

// packK writes chunk c of a row in a K-quant, which is in block b.
func (l layout) packK(m image, row, c int, b []byte) {
	var q [chunkValues]byte
	j := c % groupChunks
	unit, scale := l.unit(m, row, c, 0), l.beside(m, planeScale, row, c, l.padded)
	if l.format == tensor.Q6_K {
		h, part := j/4, j%4 // halves of 128 values, quarters of 32
		low, high, scales := b[64*h+32*(part%2):], b[128+32*h:], b[192+8*h+2*part:]
		var two uint64
		for k := range q {
			q[k] = low[k] >> (4 * (part / 2)) & 15
			two |= uint64(high[k]>>(2*part)&3) << (k/16*32 + k%4*8 + k/4%4*2)
		}
		packNibbles(unit, &q)
		binary.LittleEndian.PutUint64(l.beside(m, planeHigh, row, c, l.padded), two)
		copy(scale, scales)
		return
	}
	packed, values := b[4:16], b[16:]
	if l.format == tensor.Q5_K {
		var fifth uint32
		for k := range q {
			fifth |= uint32(values[k]>>j&1) << fifthBit(k)
		}
		binary.LittleEndian.PutUint32(l.beside(m, planeHigh, row, c, l.padded), fifth)
		values = values[32:]
	}
	for k := range q {
		q[k] = values[j/2*32+k] >> (4 * (j % 2)) & 15
	}
	packNibbles(unit, &q)
	// Six bits each of scale and minimum; those of chunks 4 to 7 are split.
	if j < 4 {
		scale[0], scale[1] = packed[j]&63, packed[4+j]&63
	} else {
		scale[0], scale[1] = packed[4+j]&15|packed[j-4]>>6<<4, packed[4+j]>>4|packed[j]>>6<<4
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
