//go:build !windows

package hub

import "os"

func rename(from, to string) error { return os.Rename(from, to) }
