package ref_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func TestOptions(t *testing.T) {
	if _, err := ref.Open(ref.Options{Depth: 3}); err == nil || !strings.Contains(err.Error(), "1 or 2") {
		t.Errorf("a depth of three: %v", err)
	}
	if n := open(t, ref.Options{}).Info().Depth; n != 2 {
		t.Errorf("the depth is %d by default, want 2", n)
	}
	if n := open(t, ref.Options{Depth: 1}).Info().Depth; n != 1 {
		t.Errorf("the depth is %d, want 1", n)
	}
}

func TestMemoryLimit(t *testing.T) {
	d := open(t, ref.Options{Memory: 1000})
	a, err := d.NewArena(600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.NewArena(500)
	if !errors.Is(err, tensor.ErrOutOfMemory) || !strings.Contains(err.Error(), "500") || !strings.Contains(err.Error(), "400") {
		t.Errorf("the error should say what was asked for and what is free: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a, err = d.NewArena(1000); err != nil {
		t.Errorf("after freeing: %v", err)
	} else if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestPrepareChecks: what a host gets wrong in a step block is an error of the run, and says what.
func TestPrepareChecks(t *testing.T) {
	limits := tensor.ForwardLimits{Tokens: 4, Seqs: 2, Rows: 2, Pages: 2, Params: 1, History: 1, Bias: 3}
	slots := tensortest.NewSlots(tensor.SlotSpec{Slots: 2, MaxPages: 2, Vocab: 10, Bias: 2})
	state := slots.State("slots")
	g := tensor.NewGraph("prepare")
	g.Output(g.Prepare(limits, g.State(state.Spec)).Tokens)
	r, err := tensortest.NewRig(open(t, ref.Options{}), tensortest.Setup{States: []tensortest.StateInit{state}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for say, s := range map[string]tensor.ForwardStep{
		"slot 2 of 2":          {Seqs: []tensor.SeqStep{{Slot: 2}}},
		"slot -1 of 2":         {Params: []tensor.ParamWrite{{Slot: -1}}},
		"slot 3 of 2":          {Pages: []tensor.PageWrite{{Slot: 3}}},
		"slot 4 of 2":          {Bias: []tensor.BiasWrite{{Slot: 4}}},
		"slot 5 of 2":          {History: []tensor.HistoryWrite{{Slot: 5}}},
		"entry 2 of 2":         {Pages: []tensor.PageWrite{{Index: 2}}},
		"its 2 biases already": {Bias: []tensor.BiasWrite{{}, {}, {}}},
		"tokens 1+4 of 4":      {IDs: make([]int32, 4), Seqs: []tensor.SeqStep{{First: 1, Count: 4}}},
		"kept rows 1+1 of 1":   {IDs: make([]int32, 4), Seqs: []tensor.SeqStep{{Count: 1, Keep: 1, FirstRow: 1}}},
		"position 32":          {IDs: make([]int32, 4), Seqs: []tensor.SeqStep{{Start: 32, Count: 1}}},
		"position -1":          {IDs: make([]int32, 4), Seqs: []tensor.SeqStep{{Start: -1, Count: 1}}},
	} {
		block := make([]byte, limits.Bytes())
		if err := limits.Encode(block, &s); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(0, block); err == nil || !strings.Contains(err.Error(), say) || !strings.Contains(err.Error(), "Prepare") {
			t.Errorf("want an error of Prepare with %q, have %v", say, err)
		}
	}
	block := make([]byte, limits.Bytes())
	block[0] = 5 // tokens
	if _, err := r.Run(0, block); err == nil || !strings.Contains(err.Error(), "5 live rows, capacity is 4") {
		t.Errorf("more live rows than the capacity: %v", err)
	}
}
