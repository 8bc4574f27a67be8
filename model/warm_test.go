package model_test

import (
	"slices"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/tensor"
)

// TestWarmUp checks that the smallest Programs have run once when a model is loaded, and larger ones in order; all do, where
// that takes no time.
func TestWarmUp(t *testing.T) {
	var ran []string
	f := openTiny(t)
	d := openRef(t, ref.Options{Profile: func(r tensor.Run) { ran = append(ran, r.Program) }})
	in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{MaxSeqs: 2, MaxTokens: 8, Context: 64})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"forward/1", "head/1", "forward/2", "head/2", "forward/4", "head/4", "forward/8", "head/8"}
	if closeAll(t, in, d); len(ran) < 4 || !slices.Equal(ran, want[:len(ran)]) {
		t.Errorf("these ran: %v, want %v", ran, want)
	}
}
