//go:build !linux && !windows

package cpu

import "github.com/ullm/ullm/tensor"

func advise([]byte, tensor.Use) {}

// systemMemory is the machine's memory in bytes, all and free; zeros where it cannot be told.
func systemMemory() (all, free int64) { return 0, 0 }
