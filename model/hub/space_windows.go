package hub

import (
	"errors"

	"golang.org/x/sys/windows"
)

// freeSpace returns the bytes that this user may still write below dir.
func freeSpace(dir string) (bytes uint64, ok bool) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	if windows.GetDiskFreeSpaceEx(path, &bytes, nil, nil) != nil {
		return 0, false
	}
	return bytes, true
}

func isDiskFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}
