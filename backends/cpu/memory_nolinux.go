//go:build !linux && !windows

package cpu

func adviseHuge([]byte) {}

func adviseSmall([]byte) {}

// systemMemory is the machine's memory in bytes, all and free; zeros where it cannot be told.
func systemMemory() (all, free int64) { return 0, 0 }
