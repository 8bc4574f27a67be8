//go:build !linux

package hub

import (
	"errors"
	"runtime"
	"syscall"
)

// ERROR_DISK_FULL on Windows.
var diskFullError = map[bool]error{true: syscall.Errno(112), false: syscall.ENOSPC}[runtime.GOOS == "windows"]

func mountSmall(string, int) error { return errors.ErrUnsupported }
func growMount(string, int) error  { return errors.ErrUnsupported }
func unmount(string) error         { return nil }
