//go:build torch

package golden

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTransformersAgrees runs the oracle on the committed files again.
func TestTransformersAgrees(t *testing.T) {
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("set ULLM_TEST_PYTHON to a python with torch, transformers and gguf")
	}
	out, err := exec.Command(python, filepath.Join(testdata, "verify.py")).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
