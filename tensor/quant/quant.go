// Package quant is the reference encoding and decoding of every weight format: what the bytes of a stored row mean, in
// plain Go. Backends test their kernels against it, and decode through it where they have no kernel of their own.
//
// The byte layouts are those of GGUF files (ggml-common.h of llama.cpp). Encode rounds as ggml's reference quantisers
// (quantize_row_*_ref in ggml-quants.c) do, so that a file made here equals one made by llama-quantize.
//
// Go may fuse x*y + z into one rounding where the target has such an instruction; float32(x*y) + z forbids that.
// Every product that is then summed is converted so: the same row has the same bits on every machine.
package quant

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// Decode writes the values stored in src to dst. len(dst) is a number of values and a multiple of f.Block(), and src
// holds exactly f.RowBytes(len(dst)) bytes; Decode panics otherwise, because both lengths come from the caller's own
// shapes and not from a file. Any bytes decode: infinite and NaN scales give infinite and NaN values.
func Decode(f tensor.Format, dst []float32, src []byte) {
	checkLengths(f, len(dst), len(src))
	switch f {
	case tensor.F32:
		decodeF32(dst, src)
	case tensor.F16:
		decodeF16(dst, src)
	case tensor.BF16:
		decodeBF16(dst, src)
	case tensor.Q8_0:
		decodeQ8_0(dst, src)
	case tensor.Q4_0:
		decodeQ4_0(dst, src)
	case tensor.Q4_1:
		decodeQ4_1(dst, src)
	case tensor.Q5_0:
		decodeQ5_0(dst, src)
	case tensor.Q5_1:
		decodeQ5_1(dst, src)
	case tensor.Q4_K:
		decodeQ4_K(dst, src)
	case tensor.Q5_K:
		decodeQ5_K(dst, src)
	case tensor.Q6_K:
		decodeQ6_K(dst, src)
	default:
		panic(fmt.Sprintf("quant: no decoding of %v", f))
	}
}

// Encode writes the values of src to dst in the format f. len(src) is a multiple of f.Block() and dst has exactly
// f.RowBytes(len(src)) bytes; Encode panics otherwise. Blocks are independent of each other. Values that are not finite
// never panic; in a block format they spoil their whole block, so check for them before if they may occur.
func Encode(f tensor.Format, dst []byte, src []float32) {
	checkLengths(f, len(src), len(dst))
	switch f {
	case tensor.F32:
		encodeF32(dst, src)
	case tensor.F16:
		encodeF16(dst, src)
	case tensor.BF16:
		encodeBF16(dst, src)
	case tensor.Q8_0:
		encodeQ8_0(dst, src)
	case tensor.Q4_0:
		encodeQ4_0(dst, src)
	case tensor.Q4_1:
		encodeQ4_1(dst, src)
	case tensor.Q5_0:
		encodeQ5_0(dst, src)
	case tensor.Q5_1:
		encodeQ5_1(dst, src)
	case tensor.Q4_K:
		encodeQ4_K(dst, src)
	case tensor.Q5_K:
		encodeQ5_K(dst, src)
	case tensor.Q6_K:
		encodeQ6_K(dst, src)
	default:
		panic(fmt.Sprintf("quant: no encoding to %v", f))
	}
}

func checkLengths(f tensor.Format, values, bytes int) {
	if values%f.Block() != 0 || bytes != f.RowBytes(values) {
		panic(fmt.Sprintf("quant: %d values of %v in %d bytes; %d values are %d bytes", values, f, bytes, f.Block(), f.BlockBytes()))
	}
}
