package shaders

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSums fails when a source was changed without its binary, or a binary by hand.
func TestSums(t *testing.T) {
	want, err := os.ReadFile("glsl.sum")
	if err != nil {
		t.Fatal(err)
	}
	have, err := Sums(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("sources and binaries do not match glsl.sum: run make generate\nhave\n%swant\n%s", have, want)
	}
}

// TestManifest checks that the list names every source and every binary, and that binaries are SPIR-V.
func TestManifest(t *testing.T) {
	for pattern, suffix := range map[string]string{"glsl/*.comp": ".comp", "spv/*.spv": ".spv"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range paths {
			names = append(names, strings.TrimSuffix(filepath.Base(p), suffix))
		}
		if !slices.Equal(names, SPIRV) {
			t.Errorf("%s: have %v, the list says %v", pattern, names, SPIRV)
		}
	}
	for _, name := range SPIRV {
		b, err := LoadSPIRV(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, []byte{0x03, 0x02, 0x23, 0x07}) || len(b)%4 != 0 {
			t.Errorf("%s is not SPIR-V", name)
		}
	}
	if _, err := LoadSPIRV("no such"); err == nil {
		t.Error("a shader that does not exist was loaded")
	}
}
