package simd

import (
	"encoding/binary"
	"unsafe"
)

// The packers write one panel from up to 16 rows of stored weights; missing rows are zeros. dst must be the panel's
// size and may be dirty.

// PackRows packs rows of k values of size bytes each (2 or 4): dst[k][16].
func PackRows(dst []byte, rows [][]byte, k, size int) {
	if len(rows) < PanelRows {
		clear(dst)
	}
	switch size {
	case 2:
		d := unsafe.Slice((*uint16)(unsafe.Pointer(&dst[0])), k*PanelRows)
		for j, r := range rows {
			for i := range k {
				d[i*PanelRows+j] = binary.LittleEndian.Uint16(r[2*i:])
			}
		}
	case 4:
		pack32(dst, rows, k)
	}
}

// PackPairs packs bf16 rows of k values so that k advances in pairs: dst[⌈k/2⌉][16][2].
func PackPairs(dst []byte, rows [][]byte, k int) {
	if len(rows) < PanelRows || k%2 != 0 {
		clear(dst)
	}
	pack32(dst, rows, k/2)
	if k%2 != 0 {
		for j, r := range rows {
			copy(dst[(k/2*PanelRows+j)*4:], r[2*(k-1):2*k])
		}
	}
}

// pack32 interleaves n 32-bit words of each row.
func pack32(dst []byte, rows [][]byte, n int) {
	if n == 0 {
		return
	}
	d := unsafe.Slice((*uint32)(unsafe.Pointer(&dst[0])), n*PanelRows)
	if len(rows) < PanelRows {
		for j, r := range rows {
			for i := range n {
				d[i*PanelRows+j] = binary.LittleEndian.Uint32(r[4*i:])
			}
		}
		return
	}
	// Four rows at a time: one pass keeps few enough streams open, and writes quarter lines.
	for j := 0; j < PanelRows; j += 4 {
		r0, r1, r2, r3 := rows[j][:4*n], rows[j+1][:4*n], rows[j+2][:4*n], rows[j+3][:4*n]
		for i := range n {
			q := d[i*PanelRows+j : i*PanelRows+j+4 : i*PanelRows+j+4]
			q[0] = binary.LittleEndian.Uint32(r0[4*i:])
			q[1] = binary.LittleEndian.Uint32(r1[4*i:])
			q[2] = binary.LittleEndian.Uint32(r2[4*i:])
			q[3] = binary.LittleEndian.Uint32(r3[4*i:])
		}
	}
}

// Q8Values is the number of values that share a scale in 8-bit blocks.
const Q8Values = 32

// Q8Block is a block of 8-bit activations, as the Q8 kernels read it.
type Q8Block struct {
	Q     [Q8Values]int8
	Scale float32
	Sum   int32 // −128·ΣQ: undoes the offset of the weights
}

// Q8BlockBytes is the size of a Q8Block.
const Q8BlockBytes = int(unsafe.Sizeof(Q8Block{}))

// Q8PanelBytes is the size of a panel of k values in 8-bit blocks.
func Q8PanelBytes(k int) int { return k*PanelRows + k/Q8Values*2*PanelRows }

// PackQ8 packs Q8_0 rows of k values: for each block eight groups of 16 rows × 4 integers, stored as unsigned with an
// offset of 128; then for each block the 16 rows' f16 scales.
func PackQ8(dst []byte, rows [][]byte, k int) {
	if len(rows) < PanelRows {
		clear(dst)
	}
	const block = 2 + Q8Values
	scales := dst[k*PanelRows:]
	for j, r := range rows {
		for b := range k / Q8Values {
			src := r[b*block : (b+1)*block]
			copy(scales[(b*PanelRows+j)*2:], src[:2])
			to := dst[b*Q8Values*PanelRows+4*j:]
			for g := range Q8Values / 4 {
				binary.LittleEndian.PutUint32(to[g*64:], binary.LittleEndian.Uint32(src[2+4*g:])^0x80808080)
			}
		}
	}
}
