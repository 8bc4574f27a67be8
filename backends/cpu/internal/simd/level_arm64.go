//go:build !noasm

package simd

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// Levels lists what this machine runs, lowest first. Every arm64 processor that Go runs on has NEON.
func Levels() []Level {
	ls := []Level{Portable, NEON}
	if hasDot() {
		ls = append(ls, NEONDot)
	}
	return ls
}

// hasDot tells whether the processor has SDOT. Package cpuid knows that on Linux and macOS but not on Windows, x/sys/cpu
// on all three; macOS 11 does not say, but every Mac with an Apple processor has it.
func hasDot() bool { return cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" }

// Best is the level to use on this machine.
func Best() Level {
	ls := Levels()
	return ls[len(ls)-1]
}

func newKernels(l Level) *Kernels {
	if l == Portable {
		return portable()
	}
	k := &Kernels{Level: l, F32: neonRowsF32Tiles, F16: neonRowsF16Tiles, BF16: neonRowsBF16Tiles, Pairs: neonPairsTiles,
		Q8: neonQ8Tiles, Coded: neonCodesTiles}
	if l == NEONDot {
		k.Q8, k.Coded = neonDotQ8Tiles, neonDotCodesTiles
	}
	return k
}
