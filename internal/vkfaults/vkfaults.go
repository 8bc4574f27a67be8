// Package vkfaults is for tests: a Vulkan layer between loader and driver that fails calls, so that what happens then is
// seen with the real API. testdata/faults.c is the layer; it is compiled by whoever uses it.
package vkfaults

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ullm/ullm/internal/e2e"
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
	dir     string
	control string // the file that it shares with the layer
}

const name = "VK_LAYER_ULLM_faults"

// controlBytes is the size of struct control in faults.c: four words and a name.
const controlBytes = 4*4 + 64

// Build compiles the layer. The test skips where there is no C compiler, or no way to share a file with a layer.
func Build(t testing.TB) *Layer {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the layer that fails Vulkan's calls is for Linux")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler (Debian: gcc)")
	}
	l := &Layer{t: t, dir: t.TempDir()}
	l.control = filepath.Join(l.dir, "control")
	root := e2e.Root(t)
	library := filepath.Join(l.dir, "libfaults.so")
	out, err := exec.Command(cc, "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC",
		"-I", filepath.Join(root, "backends/vulkan"), "-o", library, filepath.Join(root, "internal/vkfaults/testdata/faults.c")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifest, err := json.Marshal(map[string]any{"file_format_version": "1.1.2", "layer": map[string]any{"name": name, "type": "GLOBAL",
		"library_path": library, "api_version": "1.3.0", "implementation_version": "1", "description": "fails calls, for tests"}})
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, "faults.json"), manifest, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.Fail(0, 0)
	return l
}

// Environment puts the layer between a process's Vulkan loader and driver. The layers that the system has stay in reach.
func (l *Layer) Environment() []string {
	return []string{
		"VK_INSTANCE_LAYERS=" + name,
		"VK_LAYER_PATH=" + l.dir + ":/usr/share/vulkan/explicit_layer.d:/usr/local/share/vulkan/explicit_layer.d",
		"ULLM_VKFAULTS=" + l.control,
	}
}

// Enter puts the layer into this process until its test ends.
func (l *Layer) Enter(t *testing.T) {
	for _, v := range l.Environment() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
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
