// Package vkfaults is for tests: a Vulkan layer between loader and driver that fails calls, so that what happens then is
// seen with the real API. testdata/faults.c is the layer; it is compiled by whoever uses it.
package vkfaults

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/ullm/ullm/internal/vklayer"
)

// Results that calls fail with, as Vulkan numbers them.
const (
	OutOfHostMemory   = -1
	OutOfDeviceMemory = -2
	DeviceLost        = -4
)

// Layer is the layer, compiled.
type Layer struct {
	t       testing.TB
	layer   vklayer.Layer
	control string // the file that it shares with the layer
}

// controlBytes is the size of struct control in faults.c: four words and a name.
const controlBytes = 4*4 + 64

// Build compiles the layer. The test skips where there is no C compiler, or no way to share a file with a layer.
func Build(t testing.TB) *Layer {
	t.Helper()
	l := &Layer{t: t, layer: vklayer.Build(t, "faults", "internal/vkfaults/testdata/faults.c")}
	l.control = filepath.Join(l.layer.Dir, "control")
	l.Fail(0, 0)
	return l
}

// Environment puts the layer between a process's Vulkan loader and driver. The layers that the system has stay in reach.
func (l *Layer) Environment() []string {
	return append(l.layer.Environment(), "ULLM_VKFAULTS="+l.control)
}

// Enter puts the layer into this process until its test ends.
func (l *Layer) Enter(t *testing.T) {
	vklayer.Enter(t, l.Environment()...)
}

// Fail makes the nth call from now on fail with a result; 0: none. DeviceLost counts only calls that hand the queue
// something or wait for it, and all of these fail from then on.
func (l *Layer) Fail(nth int, result int32) {
	l.t.Helper()
	b := binary.NativeEndian.AppendUint32(make([]byte, 4), uint32(nth))
	b = binary.NativeEndian.AppendUint32(b, uint32(result))
	b = append(b, make([]byte, controlBytes-len(b))...)
	// Written over, not anew: the layer of a running process has mapped it.
	f, err := os.OpenFile(l.control, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *Layer) read() []byte {
	l.t.Helper()
	b, err := os.ReadFile(l.control)
	if err != nil || len(b) != controlBytes {
		l.t.Fatalf("%d bytes, %v", len(b), err)
	}
	return b
}

// Calls is how many calls could have failed since Fail.
func (l *Layer) Calls() int { return int(binary.NativeEndian.Uint32(l.read())) }

// Hit is the function that failed first since Fail; "": none did.
func (l *Layer) Hit() string {
	b := l.read()[16:]
	return string(b[:bytes.IndexByte(b, 0)])
}
