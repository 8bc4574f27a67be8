//go:build !noasm

package simd

import "github.com/klauspost/cpuid/v2"

// Levels lists what this machine runs, lowest first.
func Levels() []Level {
	ls := []Level{Portable}
	if !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		return ls
	}
	ls = append(ls, AVX2)
	if !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512VNNI) {
		return ls
	}
	ls = append(ls, AVX512)
	if cpuid.CPU.Supports(cpuid.AVX512BF16) {
		ls = append(ls, AVX512BF16)
	}
	return ls
}

// Best is the level to use on this machine. On Intel's cores VDPBF16PS has half the rate of the fused multiply-adds that
// it would replace, so the better rounding of AVX512 comes for nothing; on AMD's it has twice their rate.
func Best() Level {
	ls := Levels()
	best := ls[len(ls)-1]
	if best == AVX512BF16 && cpuid.CPU.VendorID == cpuid.Intel {
		best = AVX512
	}
	return best
}

func newKernels(l Level) *Kernels {
	switch l {
	case AVX2:
		return &Kernels{l, rows256F32Tiles, rows256F16Tiles, rows256BF16Tiles, pairs256Tiles, Tiles{}, dotQ8AVX2Tiles, codes256Tiles}
	case AVX512:
		return &Kernels{l, rows512F32Tiles, rows512F16Tiles, rows512BF16Tiles, pairs512Tiles, Tiles{}, dotQ8VNNITiles, codes512Tiles}
	case AVX512BF16:
		return &Kernels{l, rows512F32Tiles, rows512F16Tiles, rows512BF16Tiles, pairs512Tiles, dotBF16Tiles, dotQ8VNNITiles, codes512Tiles}
	}
	return portable()
}
