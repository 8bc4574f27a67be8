package cpu

import "golang.org/x/sys/unix"

// adviseHuge asks for large pages, which spare address translations when weights are streamed. A refusal does not matter.
func adviseHuge(b []byte) {
	if len(b) >= 4<<20 {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}

// adviseSmall asks for pages of the usual size, for memory that is first written while serving: a large page is cleared
// at its first touch, and the KV caches of all layers come to their next one in the same step.
func adviseSmall(b []byte) {
	if len(b) > 0 {
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
	}
}

// systemMemory is the machine's memory in bytes, all and free; zeros where it cannot be told.
func systemMemory() (all, free int64) {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0, 0
	}
	unit := int64(i.Unit)
	return int64(i.Totalram) * unit, (int64(i.Freeram) + int64(i.Bufferram)) * unit
}
