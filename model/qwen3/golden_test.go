package qwen3_test

import (
	"slices"
	"testing"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/internal/logits"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/internal/golden"
	"github.com/ullm/ullm/tensor"
)

// exact is how far float32 implementations may differ from transformers' float32 in logprob.
const exact = 2e-3

// TestRefGoldens holds the oracle against transformers: every position of every golden model.
func TestRefGoldens(t *testing.T) {
	cases, err := golden.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			d, err := ref.Open(ref.Options{})
			if err != nil {
				t.Fatal(err)
			}
			diff := compare(t, d, c, tensor.F32)
			t.Logf("mean %.2g worst %.2g; transformers in bfloat16: mean %.2g worst %.2g", diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
			if diff.Worst > exact {
				t.Errorf("worst difference in logprob %g, want at most %g", diff.Worst, exact)
			}
		})
	}
}

// int8Factor is how much further off than transformers' bfloat16 an engine may be whose kernels for quantised weights round
// activations to 8 bits, with a scale for each 32, as llama.cpp's do. Measured: 1.3 times in the mean.
const int8Factor = 1.5

// TestCPUGoldens holds the fast engine against transformers at every level of instructions that this machine has: as it
// serves, it must not be further off than transformers' own bfloat16; with all in float32, no further than the oracle may.
func TestCPUGoldens(t *testing.T) {
	cases, err := golden.Load("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range cpu.Levels() {
		for _, c := range cases {
			open := func(t *testing.T) tensor.Device {
				d, err := cpu.Open(cpu.Options{Level: level, Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			t.Run(level.String()+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				d := open(t)
				diff := compare(t, d, c, d.Info().KVFormats[0])
				t.Logf("mean %.2g worst %.2g; transformers in bfloat16: mean %.2g worst %.2g", diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst)
				allowed := 1.0
				if f, err := tensor.ParseFormat(c.Format); err != nil || f.Quantized() { // or mixed
					allowed = int8Factor
				}
				if diff.Mean > allowed*c.BF16.Mean || diff.Worst > allowed*c.BF16.Worst {
					t.Errorf("mean difference in logprob %g, worst %g; transformers in bfloat16 has %g and %g, of which %g times are allowed",
						diff.Mean, diff.Worst, c.BF16.Mean, c.BF16.Worst, allowed)
				}
				if c.Format != tensor.F32.String() {
					return
				}
				if exactly := compare(t, open(t), c, tensor.F32); exactly.Worst > exact {
					t.Errorf("all in float32: worst difference in logprob %g, want at most %g", exactly.Worst, exact)
				}
			})
		}
	}
}

// compare runs a golden model on a device, which it closes, and measures logprobs at every position. Greedy answers
// must be transformers' own wherever its margin is larger than the difference.
func compare(t *testing.T, d tensor.Device, c golden.Case, kv tensor.Format) golden.Difference {
	t.Helper()
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := openLogits(t, d, c, kv)
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var m golden.Meter
	for _, s := range c.Sequences {
		for i, row := range rows(t, r, s.Tokens) {
			m.AddLogits(row, s.Rows[i])
		}
	}
	for i, g := range c.Greedy {
		if g.MinMargin < 2*c.BF16.Worst && kv != tensor.F32 {
			continue
		}
		tokens := append([]int32(nil), g.Prompt...)
		tokens = append(tokens, g.Tokens[:len(g.Tokens)-1]...)
		rows := rows(t, r, tokens)
		for j, want := range g.Tokens {
			if got := argmax(rows[len(g.Prompt)-1+j]); got != want {
				t.Errorf("greedy answer %d: token %d is %d, want %d", i, j, got, want)
			}
		}
	}
	return m.Difference()
}

const maxPrompt = 640

// openLogits opens a golden model to read its logits.
func openLogits(t *testing.T, d tensor.Device, c golden.Case, kv tensor.Format) *logits.Reader {
	t.Helper()
	f, err := files.Open(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := logits.Open(t.Context(), d, f, kv, maxPrompt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rows are a prompt's logits.
func rows(t *testing.T, r *logits.Reader, tokens []int32) (list [][]float32) {
	t.Helper()
	if err := r.Prompt(t.Context(), tokens, func(_ int, row []float32) { list = append(list, slices.Clone(row)) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func argmax(v []float32) int32 {
	best := 0
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return int32(best)
}
