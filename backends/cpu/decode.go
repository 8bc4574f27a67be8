package cpu

import (
	"encoding/binary"
	"math"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// decode is quant.Decode, to the same bits, with the arithmetic in vectors: the integers of a block are unpacked eight at
// a time into bytes, and a kernel turns them into values.
func decode(k *simd.Kernels, f tensor.Format, dst []float32, src []byte) {
	unpack := unpackers[f]
	if unpack == nil || k.Level == simd.Portable {
		quant.Decode(f, dst, src)
		return
	}
	values, bytes := f.Block(), f.BlockBytes()
	for at := 0; at < len(dst); at += values {
		unpack(k, dst[at:at+values], src[:bytes])
		src = src[bytes:]
	}
}

// unpackers decode one block.
var unpackers = [...]func(k *simd.Kernels, dst []float32, b []byte){
	tensor.Q4_0: func(k *simd.Kernels, dst []float32, b []byte) {
		var q [32]uint8
		nibbles(q[:16], q[16:], b[2:])
		k.Affine(dst, q[:], 8, half(b), noShift)
	},
	tensor.Q4_1: func(k *simd.Kernels, dst []float32, b []byte) {
		var q [32]uint8
		nibbles(q[:16], q[16:], b[4:])
		k.Affine(dst, q[:], 0, half(b), half(b[2:]))
	},
	tensor.Q5_0: func(k *simd.Kernels, dst []float32, b []byte) {
		var q [32]uint8
		nibbles(q[:16], q[16:], b[6:])
		fifthBits(&q, binary.LittleEndian.Uint32(b[2:]))
		k.Affine(dst, q[:], 16, half(b), noShift)
	},
	tensor.Q5_1: func(k *simd.Kernels, dst []float32, b []byte) {
		var q [32]uint8
		nibbles(q[:16], q[16:], b[8:])
		fifthBits(&q, binary.LittleEndian.Uint32(b[4:]))
		k.Affine(dst, q[:], 0, half(b), half(b[2:]))
	},
	tensor.Q4_K: func(k *simd.Kernels, dst []float32, b []byte) { unpackK(k, dst, b, nil, b[16:]) },
	tensor.Q5_K: func(k *simd.Kernels, dst []float32, b []byte) { unpackK(k, dst, b, b[16:48], b[48:]) },
	tensor.Q6_K: unpackQ6K,
}

// noShift is -0: what it is added to keeps its sign, a zero's too.
var noShift = float32(math.Copysign(0, -1))

func half(b []byte) float32 { return simd.F16(binary.LittleEndian.Uint16(b)) }

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
func fifthBits(q *[32]uint8, bits uint32) {
	for i := 0; i < len(q); i += 8 {
		v := uint64(bits>>i&0xff) * 0x0101010101010101 & 0x8040201008040201 // bit j alone, in byte j
		v = (v + 0x7f7f7f7f7f7f7f7f) >> 3 & 0x1010101010101010              // a byte's top bit says whether there was one
		binary.LittleEndian.PutUint64(q[i:], binary.LittleEndian.Uint64(q[i:])|v)
	}
}

// unpackK decodes Q4_K, or Q5_K with its fifth bits.
func unpackK(k *simd.Kernels, dst []float32, b, fifth, qs []byte) {
	d, dmin := half(b), half(b[2:])
	packed := b[4:16]
	var q [64]uint8
	for j := 0; j < 8; j += 2 {
		nibbles(q[:32], q[32:], qs[16*j:])
		for i := 0; i < len(fifth); i += 8 {
			v := binary.LittleEndian.Uint64(fifth[i:]) >> j
			low, high := q[i:], q[32+i:]
			binary.LittleEndian.PutUint64(low, binary.LittleEndian.Uint64(low)|v<<4&0x1010101010101010)
			binary.LittleEndian.PutUint64(high, binary.LittleEndian.Uint64(high)|v<<3&0x1010101010101010)
		}
		for h := range 2 {
			scale, minimum := packedScale(packed, j+h)
			k.Affine(dst[32*(j+h):][:32], q[32*h:][:32], 0, d*scale, -(dmin * minimum))
		}
	}
}

// packedScale is scale and minimum j of the 12 bytes in which Q4_K and Q5_K pack eight of each, 6 bits wide.
func packedScale(b []byte, j int) (scale, minimum float32) {
	if j < 4 {
		return float32(b[j] & 63), float32(b[j+4] & 63)
	}
	return float32(b[j+4]&15 | b[j-4]>>6<<4), float32(b[j+4]>>4 | b[j]>>6<<4)
}

func unpackQ6K(k *simd.Kernels, dst []float32, b []byte) {
	d := half(b[208:])
	var q [128]uint8
	for h := range 2 {
		low, high, scales := b[64*h:][:64], b[128+32*h:][:32], b[192+8*h:][:8]
		nibbles(q[:64], q[64:], low)
		for i := 0; i < 32; i += 8 {
			bits := binary.LittleEndian.Uint64(high[i:])
			for part := range 4 {
				to := q[32*part+i:]
				binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(to)|bits>>(2*part)<<4&0x3030303030303030)
			}
		}
		for s, scale := range scales {
			k.Affine(dst[128*h+16*s:][:16], q[16*s:][:16], 32, d*float32(int8(scale)), noShift)
		}
	}
}
