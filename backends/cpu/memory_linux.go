package cpu

import (
	"golang.org/x/sys/unix"

	"github.com/ullm/ullm/tensor"
)

// advise asks for large pages, which spare address translations when weights are streamed, but for KV caches for pages of
// the usual size: they are first written while serving, a large page is cleared at its first touch, and the caches of all
// layers come to their next one in the same step. A refusal does not matter.
func advise(b []byte, use tensor.Use) {
	switch {
	case use == tensor.UseKV:
		_ = unix.Madvise(b, unix.MADV_NOHUGEPAGE)
	case len(b) >= 4<<20:
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
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
