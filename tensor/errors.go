package tensor

import "errors"

// The errors that callers act on; every other error of a backend is a fault to report. They arrive wrapped, with the
// backend's name, what was asked for and what to do.
var (
	// ErrUnsupported: the device cannot run an operation in a format. The message names both.
	ErrUnsupported = errors.New("not supported by this device")
	// ErrOutOfMemory: an allocation failed. The message says how much was asked for and what was free.
	ErrOutOfMemory = errors.New("out of device memory")
	// ErrDeviceLost: the device stopped answering. Nothing on it can be used any more; only Close is left to call.
	ErrDeviceLost = errors.New("device lost")
	// ErrClosed: the device, or what was made on it, is closed already.
	ErrClosed = errors.New("closed")
)
