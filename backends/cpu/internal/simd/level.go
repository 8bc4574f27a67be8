package simd

import (
	"fmt"
	"strings"
)

// Level is a numeric class of the processor: which instructions the kernels use, and so how they round.
type Level uint8

// The levels; of an architecture's, each includes the ones before it.
const (
	Portable   Level = iota // plain Go
	AVX2                    // AVX2, FMA, F16C
	AVX512                  // AVX-512 F, BW, DQ, VL and VNNI
	AVX512BF16              // and VDPBF16PS: bf16 weights meet bf16 activations
	NEON                    // arm64's vectors
	NEONDot                 // and SDOT: the same bits as NEON, sooner
)

var levelNames = []string{"portable", "avx2", "avx512", "avx512bf16", "neon", "neondot"}

// String is the level's lower-case name.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ParseLevel finds a level by its name.
func ParseLevel(name string) (Level, error) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("simd: unknown level %q; use one of %s", name, strings.Join(levelNames, ", "))
}

// For returns the kernels of a level; it fails where the machine lacks the instructions.
func For(l Level) (*Kernels, error) {
	for _, have := range Levels() {
		if have == l {
			return newKernels(l), nil
		}
	}
	return nil, fmt.Errorf("simd: this processor does not run level %s; use one of %v", l, Levels())
}
