package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestProfile answers a prompt with --profile: the trace must have the operations of a step, and stderr a table of them.
func TestProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trace.json")
	r := invoke(t, "", nil, "run", talk(t), "The quick brown fox", "-n", "8", "--backend", "cpu", "--profile", file)
	r.want(t, 0, "LinearSwiGLU")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Ph string
			Dur      float64
		}
	}
	if err := json.Unmarshal(b, &trace); err != nil {
		t.Fatal(err)
	}
	times := map[string]float64{}
	for _, e := range trace.TraceEvents {
		times[e.Name] += e.Dur
	}
	for _, name := range []string{"forward/1", "head/1", "Embed", "Linear", "Attention", "Sample"} {
		if times[name] <= 0 {
			t.Errorf("%s took no time; the trace has %v", name, times)
		}
	}
	if times["forward/512"] > 0 {
		t.Error("the trace has the warm-up too")
	}
}
