package simd

import (
	"encoding/binary"
	"unsafe"
)

// The packers write one panel from up to 16 stored rows, which lie one after the other; missing rows are zeros. dst must be
// the panel's size and may be dirty.

// PackRows packs rows of n values of size bytes each (2 or 4): dst[n][16].
func (k *Kernels) PackRows(dst, rows []byte, n, size int) {
	count := len(rows) / (n * size)
	if count < PanelRows {
		clear(dst)
	}
	if size == 4 {
		k.pack32(dst, rows, count, n, 4*n)
		return
	}
	d := unsafe.Slice((*uint16)(unsafe.Pointer(&dst[0])), n*PanelRows)
	for i := range n {
		for j := range count {
			d[i*PanelRows+j] = binary.LittleEndian.Uint16(rows[2*(j*n+i):])
		}
	}
}

// PackPairs packs bf16 rows of n values so that n advances in pairs: dst[⌈n/2⌉][16][2].
func (k *Kernels) PackPairs(dst, rows []byte, n int) {
	count := len(rows) / (2 * n)
	if count < PanelRows || n%2 != 0 {
		clear(dst)
	}
	k.pack32(dst, rows, count, n/2, 2*n)
	if n%2 != 0 {
		for j := range count {
			copy(dst[(n/2*PanelRows+j)*4:], rows[2*(j*n+n-1):2*(j+1)*n])
		}
	}
}

// pack32 interleaves the first n 32-bit words of count rows, which are stride bytes apart.
func (k *Kernels) pack32(dst, rows []byte, count, n, stride int) {
	i := 0
	if k.Level != Portable && count == PanelRows {
		if i = n &^ (lanes - 1); i > 0 {
			_, _ = dst[4*PanelRows*i-1], rows[(PanelRows-1)*stride+4*i-1]
			transpose16((*float32)(unsafe.Pointer(&dst[0])), (*float32)(unsafe.Pointer(&rows[0])), stride, i)
		}
	}
	for ; i < n; i++ {
		for j := range count {
			copy(dst[4*(i*PanelRows+j):][:4], rows[j*stride+4*i:])
		}
	}
}

// Q8Values is the number of values that share a scale in 8-bit blocks.
const Q8Values = 32

// Q8Block is a block of 8-bit activations, as the Q8 and Coded kernels read it.
type Q8Block struct {
	Q     [Q8Values]int8
	Scale float32
	Shift float32 // −Scale·ΣQ: what a minimum subtracted from every weight is multiplied by

	// What a kernel's sum begins with: the bits of 1.5·2²³, where float32 counts in ones, less ΣQ times the offset of the
	// weights. The sum's bits are then 1.5·2²³ + Σ(weight − offset)·Q as a float32.
	Start128, Start8, Start16 int32
	Half                      [2]int32 // with an offset of 32, of the first and the second 16

	_ int32
}

// magic is the bits of 1.5·2²³.
const magic = 0x4b400000

// Q8BlockBytes is the size of a Q8Block.
const Q8BlockBytes = int(unsafe.Sizeof(Q8Block{}))

// Q8PanelBytes is the size of a panel of k values in 8-bit blocks.
func Q8PanelBytes(k int) int { return k*PanelRows + k/Q8Values*Q8ScaleBytes }

// Q8ScaleBytes is what the scales of 32 values of such a panel take.
const Q8ScaleBytes = 2 * PanelRows

// PackQ8 packs Q8_0 rows of k values: for each block eight groups of 16 rows × 4 integers, XORed with Q8Flip; then
// for each block the 16 rows' f16 scales.
func (k *Kernels) PackQ8(dst, rows []byte, n int) {
	const block = 2 + Q8Values
	stride := n / Q8Values * block
	count := len(rows) / stride
	if count < PanelRows {
		clear(dst)
	}
	scales := dst[n*PanelRows:]
	for b := range n / Q8Values {
		panel := dst[b*Q8Values*PanelRows:][:Q8Values*PanelRows]
		k.pack32(panel, rows[b*block+2:], count, Q8Values/4, stride)
		for i := 0; i < len(panel); i += 8 {
			word := panel[i : i+8]
			binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)^Q8Flip*0x0101010101010101)
		}
		for j := range count {
			copy(scales[(b*PanelRows+j)*2:][:2], rows[j*stride+b*block:])
		}
	}
}
