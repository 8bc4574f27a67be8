//go:build !linux

package cpu

import "runtime"

// yield lets other goroutines have the processor.
func yield() { runtime.Gosched() }
