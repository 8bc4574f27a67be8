//go:build !linux && !darwin && !windows

package hub

import (
	"errors"
	"syscall"
)

func freeSpace(string) (bytes uint64, ok bool) { return 0, false }

func isDiskFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
