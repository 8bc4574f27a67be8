//go:build (!amd64 && !arm64) || noasm

package simd

// Levels lists what this machine runs, lowest first.
func Levels() []Level { return []Level{Portable} }

// Best is the level to use on this machine.
func Best() Level { return Portable }

func newKernels(Level) *Kernels { return portable() }
