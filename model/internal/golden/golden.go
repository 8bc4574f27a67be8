// Package golden reads the golden models of model/qwen3/testdata: small random Qwen3 models and what
// Hugging Face transformers computes with them in float32. The scripts beside them make and document the files.
package golden

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Case is one golden model.
type Case struct {
	Name    string // its folder
	Feature string // what it is there for
	Path    string // what a user would name: a Hugging Face directory or a .gguf file
	Format  string // how its matrices are stored, as tensor.Format names it; "mixed" if they differ
	Vocab   int

	Sequences []Sequence
	Greedy    []Greedy

	MedianMargin float64    // median distance in logprob between the best and the second-best id, over all positions
	BF16         Difference // what transformers' own bfloat16 run is off by, over the very values in Sequences
	Float64      Difference // what the float32 oracle itself is off by
}

// Sequence is a prompt with the logprobs after each of its tokens.
type Sequence struct {
	Tokens []int32
	Rows   []Row // one for each token: the distribution of the token after it
}

// Row holds the natural logarithms of the probabilities of some ids, or of all.
type Row struct {
	IDs      []int32
	LogProbs []float32 // of IDs[0], IDs[1], …
}

// Greedy is a prompt and the tokens that follow when the most probable one is always taken, end-of-sequence ids included.
type Greedy struct {
	Prompt    []int32 `json:"prompt"`
	Tokens    []int32 `json:"tokens"`
	MinMargin float64 `json:"min_margin"` // the closest that a second-best id came, in logprob
}

// Difference is an absolute difference in logprob.
type Difference struct {
	Mean  float64 `json:"mean"`
	Worst float64 `json:"worst"`
}

type header struct {
	Name         string     `json:"name"`
	Feature      string     `json:"feature"`
	Model        string     `json:"model"`
	Format       string     `json:"format"`
	Vocab        int        `json:"vocab"`
	MedianMargin float64    `json:"median_margin"`
	BF16         Difference `json:"bf16"`
	Float64      Difference `json:"float64"`
	Greedy       []Greedy   `json:"greedy"`
	Sequences    []struct {
		Tokens    []int32 `json:"tokens"`
		IDsPerRow int     `json:"ids_per_row"`
	} `json:"sequences"`
}

// Load reads every golden below dir, in the order of their names. It is an error if there is none.
func Load(dir string) ([]Case, error) {
	var cases []Case
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "golden.json" {
			return err
		}
		c, err := load(filepath.Dir(path))
		if err != nil {
			return fmt.Errorf("golden: %s: %w", path, err)
		}
		cases = append(cases, c)
		return nil
	})
	if err == nil && len(cases) == 0 {
		err = fmt.Errorf("golden: no golden.json below %s; run the scripts of model/qwen3/testdata", dir)
	}
	return cases, err
}

func load(dir string) (Case, error) {
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		return Case{}, err
	}
	var h header
	if err := json.Unmarshal(data, &h); err != nil {
		return Case{}, err
	}
	blob, err := os.ReadFile(filepath.Join(dir, "logprobs.bin"))
	if err != nil {
		return Case{}, err
	}
	c := Case{
		Name: h.Name, Feature: h.Feature, Path: filepath.Join(dir, h.Model), Format: h.Format, Vocab: h.Vocab,
		Greedy: h.Greedy, MedianMargin: h.MedianMargin, BF16: h.BF16, Float64: h.Float64,
	}
	all := make([]int32, h.Vocab)
	for i := range all {
		all[i] = int32(i)
	}
	for _, s := range h.Sequences {
		seq := Sequence{Tokens: s.Tokens, Rows: make([]Row, len(s.Tokens))}
		for i := range seq.Rows {
			ids := all
			if s.IDsPerRow > 0 {
				if len(blob) < 4*s.IDsPerRow {
					return Case{}, errors.New("logprobs.bin is too short")
				}
				ids = make([]int32, s.IDsPerRow)
				for j := range ids {
					ids[j] = int32(binary.LittleEndian.Uint32(blob[4*j:]))
				}
				blob = blob[4*len(ids):]
			}
			if len(blob) < 4*len(ids) {
				return Case{}, errors.New("logprobs.bin is too short")
			}
			values := make([]float32, len(ids))
			for j := range values {
				values[j] = math.Float32frombits(binary.LittleEndian.Uint32(blob[4*j:]))
			}
			blob = blob[4*len(ids):]
			seq.Rows[i] = Row{IDs: ids, LogProbs: values}
		}
		c.Sequences = append(c.Sequences, seq)
	}
	if len(blob) != 0 {
		return Case{}, fmt.Errorf("logprobs.bin has %d bytes too many", len(blob))
	}
	return c, nil
}

// Meter collects the differences between a model's logprobs and a golden's.
type Meter struct {
	sum   float64
	count int
	worst float64
}

// AddLogits compares one position's logits, one for each id of the vocabulary, with its row.
// A logit that is not a number counts as an infinite difference.
func (m *Meter) AddLogits(logits []float32, row Row) {
	peak := float64(slices.Max(logits))
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - peak)
	}
	norm := peak + math.Log(sum)
	for i, id := range row.IDs {
		diff := math.Abs(float64(logits[id]) - norm - float64(row.LogProbs[i]))
		if math.IsNaN(diff) {
			diff = math.Inf(1)
		}
		m.sum += diff
		m.count++
		m.worst = max(m.worst, diff)
	}
}

// Difference is the mean and the worst so far.
func (m *Meter) Difference() Difference {
	if m.count == 0 {
		return Difference{}
	}
	return Difference{Mean: m.sum / float64(m.count), Worst: m.worst}
}
