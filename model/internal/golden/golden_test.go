package golden

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

const testdata = "../../qwen3/testdata"

// TestLoad checks that the committed goldens are what they claim to be, as far as the files alone can tell.
func TestLoad(t *testing.T) {
	cases, err := Load(testdata)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if _, err := os.Stat(c.Path); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if c.MedianMargin < 0.5 {
			t.Errorf("%s: median margin %v is below 0.5", c.Name, c.MedianMargin)
		}
		if !(c.BF16.Mean > 0 && c.BF16.Worst > c.BF16.Mean && c.BF16.Worst < 2) {
			t.Errorf("%s: bfloat16 differences %+v", c.Name, c.BF16)
		}
		if !(c.Float64.Worst < 5e-4) {
			t.Errorf("%s: the oracle's own error %+v leaves no room for a tolerance of 2e-3", c.Name, c.Float64)
		}
		for _, g := range c.Greedy {
			if len(g.Tokens) != 64 || g.MinMargin < 0.02 {
				t.Errorf("%s: a greedy continuation of %d tokens, margin %v", c.Name, len(g.Tokens), g.MinMargin)
			}
		}
		for _, s := range c.Sequences {
			for i, row := range s.Rows {
				total := 0.0
				for j, id := range row.IDs {
					if id < 0 || int(id) >= c.Vocab || !(row.LogProbs[j] < 0) {
						t.Fatalf("%s: position %d has logprob %v for id %d", c.Name, i, row.LogProbs[j], id)
					}
					total += math.Exp(float64(row.LogProbs[j]))
				}
				if total > 1.00001 || (len(row.IDs) == c.Vocab && total < 0.99999) {
					t.Errorf("%s: position %d of a sequence of %d: probabilities sum to %v", c.Name, i, len(s.Tokens), total)
				}
			}
		}
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil {
		t.Error("an empty folder gives no error")
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("golden.json", `{"vocab": 2, "sequences": [{"tokens": [1], "ids_per_row": 0}]}`)
	for _, blob := range []string{"1234", "12345678+"} {
		write("logprobs.bin", blob)
		if _, err := Load(dir); err == nil {
			t.Errorf("logprobs.bin of %d bytes instead of 8 gives no error", len(blob))
		}
	}
	write("logprobs.bin", "12345678")
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
}

func TestMeter(t *testing.T) {
	row := Row{IDs: []int32{0, 1}, LogProbs: []float32{float32(math.Log(0.25)), float32(math.Log(0.75))}}
	var m Meter
	m.AddLogits([]float32{float32(math.Log(1)) + 100, float32(math.Log(3)) + 100}, row)
	if d := m.Difference(); d.Worst > 1e-5 {
		t.Errorf("equal distributions differ by %+v", d)
	}
	m.AddLogits([]float32{0, 0}, row)
	if d := m.Difference(); math.Abs(d.Worst-math.Log(2)) > 1e-5 || math.Abs(d.Mean-(math.Log(2)+math.Log(1.5))/4) > 1e-5 {
		t.Errorf("got %+v", d)
	}
	m.AddLogits([]float32{float32(math.NaN()), 0}, row)
	if d := m.Difference(); !math.IsInf(d.Worst, 1) {
		t.Errorf("a NaN gives %+v", d)
	}
}

// TestAnswers checks that the complete models have their files and that their answers are safe to compare with.
func TestAnswers(t *testing.T) {
	for _, name := range []string{"talk", "think", "talk-q8_0"} {
		a, err := LoadAnswers(filepath.Join(testdata, "e2e", name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a.Path); err != nil {
			t.Error(err)
		}
		if len(a.Completions) < 10 || len(a.Chats) < 10 {
			t.Errorf("%s: only %d completions and %d chats", name, len(a.Completions), len(a.Chats))
		}
		all := a.Completions
		for _, c := range a.Chats {
			if len(c.Messages) == 0 {
				t.Errorf("%s: a chat without messages", name)
			}
			all = append(all, c.Completion)
		}
		reasons := map[string]int{}
		for _, c := range all {
			reasons[c.FinishReason]++
			if c.MinMargin < 1 || len(c.Tokens) == 0 || len(c.LogProbs) != len(c.Tokens) || len(c.PromptTokens) == 0 {
				t.Errorf("%s: unusable answer %+v", name, c)
			}
			if (len(c.Tokens) == c.MaxTokens) != (c.FinishReason == "length") {
				t.Errorf("%s: %d tokens of at most %d end by %q", name, len(c.Tokens), c.MaxTokens, c.FinishReason)
			}
		}
		if reasons["stop"] == 0 || reasons["length"] == 0 {
			t.Errorf("%s: finish reasons %v", name, reasons)
		}
	}
}
