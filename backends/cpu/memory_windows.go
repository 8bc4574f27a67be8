package cpu

import (
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/ullm/ullm/tensor"
)

// allocate commits n zeroed bytes.
func allocate(n int) ([]byte, error) {
	p, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil, err
	}
	// The address is not the Go heap's, so the collector never moves or frees it. The detour tells vet that.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&p)), n), nil
}

func release(b []byte) error {
	return windows.VirtualFree(uintptr(unsafe.Pointer(&b[0])), 0, windows.MEM_RELEASE)
}

var globalMemoryStatusEx = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// systemMemory is the machine's memory in bytes, all and free; zeros where it cannot be told.
func systemMemory() (all, free int64) {
	m := struct {
		length, load                                             uint32
		all, free, pageAll, pageFree, virtualAll, virtualFree, _ uint64
	}{length: 64}
	if ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&m))); ok == 0 {
		return 0, 0
	}
	return int64(m.all), int64(m.free)
}

// advise does nothing: pages are small, and large ones need a privilege.
func advise([]byte, tensor.Use) {}
