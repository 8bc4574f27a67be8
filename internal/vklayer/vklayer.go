// Package vklayer is for tests: it builds Vulkan layers, which stand between loader and driver, so that what a driver does is
// watched or bent while the program above is the one that users have. layer.h is what their C sources share.
package vklayer

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ullm/ullm/internal/e2e"
)

// Layer is a layer, compiled.
type Layer struct {
	Dir  string // of the library and its manifest; files that test and layer share may lie there
	name string
}

// Build compiles a layer from a C source, whose path is relative to the repository. The test skips where there is no C
// compiler, or no way to share a file with a layer.
func Build(t testing.TB, name, source string) Layer {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("layers between Vulkan's loader and driver are for Linux")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler (Debian: gcc)")
	}
	l := Layer{Dir: t.TempDir(), name: "VK_LAYER_ULLM_" + name}
	root := e2e.Root(t)
	library := filepath.Join(l.Dir, "lib"+name+".so")
	out, err := exec.Command(cc, "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Werror", "-fvisibility=hidden", "-shared", "-fPIC",
		"-I", filepath.Join(root, "backends/vulkan"), "-I", filepath.Join(root, "internal/vklayer"), "-o", library, filepath.Join(root, source)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	manifest, err := json.Marshal(map[string]any{"file_format_version": "1.1.2", "layer": map[string]any{"name": l.name, "type": "GLOBAL",
		"library_path": library, "api_version": "1.3.0", "implementation_version": "1", "description": "for tests"}})
	if err == nil {
		err = os.WriteFile(filepath.Join(l.Dir, name+".json"), manifest, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Environment puts the layer between a process's Vulkan loader and driver. The layers that are there stay in reach.
func (l Layer) Environment() []string {
	return []string{"VK_INSTANCE_LAYERS=" + l.name, "VK_ADD_LAYER_PATH=" + l.Dir}
}

// Enter sets variables of this process, NAME=VALUE, until a test ends.
func Enter(t *testing.T, environment ...string) {
	for _, v := range environment {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}
