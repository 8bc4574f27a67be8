//go:build torch

package model

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRopeGoldensAreCurrent runs the script that made the goldens.
func TestRopeGoldensAreCurrent(t *testing.T) {
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("set ULLM_TEST_PYTHON to a python with torch and transformers")
	}
	cmd := exec.Command(python, "testdata/config/rope.py")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var now []ropeGolden
	if err := json.Unmarshal(got, &now); err != nil {
		t.Fatal(err)
	}
	committed := readRopeGoldens(t)
	if len(now) != len(committed) {
		t.Fatalf("rope.py writes %d goldens, rope.json holds %d", len(now), len(committed))
	}
	for i, g := range now {
		// Torch's power function differs from processor to processor in the last bit.
		near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 2.5e-7*math.Abs(a) })
		if diff := cmp.Diff(committed[i], g, near); diff != "" {
			t.Errorf("%s (-committed +now):\n%s", g.Name, diff)
		}
	}
}
