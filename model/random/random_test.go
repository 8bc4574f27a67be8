package random

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

func TestParse(t *testing.T) {
	for name, want := range map[string]Spec{
		"random:0.6b":               {"0.6b", tensor.BF16, 1},
		"random:4b,q4_k":            {"4b", tensor.Q4_K, 1},
		"random:32B,Q8_0,seed=7":    {"32B", tensor.Q8_0, 7},
		"random:0.6b,seed=0,f32":    {"0.6b", tensor.F32, 0},
		"random:30b-a3b":            {"30b-a3b", tensor.BF16, 1}, // refused later, as the mixture of experts that it is
		"random:":                   {},
		"random:5b":                 {},
		"random:0.6b,":              {},
		"random:0.6b,i32":           {},
		"random:0.6b,iq2_xs":        {},
		"random:0.6b,seed=x":        {},
		"random:0.6b,q8_0,seed=1e9": {},
	} {
		have, err := Parse(name)
		if want.Size == "" {
			if err == nil {
				t.Errorf("%s is taken as %+v", name, have)
			}
		} else if err != nil || have != want {
			t.Errorf("%s: %+v, %v", name, have, err)
		}
	}
}

// small has columns that every format can store.
func small(tied bool) model.Config {
	c, _ := model.Published("0.6b")
	c.Hidden, c.Layers, c.QueryHeads, c.KVHeads, c.HeadDim, c.FFN, c.Vocab, c.MaxPositions = 256, 2, 4, 2, 64, 512, 300, 64
	c.TieEmbeddings, c.EOS, c.BOS = tied, nil, model.NoToken
	return c
}

func rows(t *testing.T, c model.Checkpoint, name string, first, n int) []byte {
	t.Helper()
	var got []byte
	if err := c.Rows(name, first, n, func(b []byte) error { got = bytes.Clone(b); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestSeeds(t *testing.T) {
	const q, norm = "model.layers.1.self_attn.q_proj.weight", "model.layers.1.input_layernorm.weight"
	for _, f := range tensor.WeightFormats() {
		a, b, other := New(small(true), f, 1), New(small(true), f, 1), New(small(true), f, 2)
		whole := rows(t, a, q, 0, 256)
		if !bytes.Equal(whole, rows(t, b, q, 0, 256)) {
			t.Errorf("%s: the same seed gives other weights", f)
		}
		if bytes.Equal(whole, rows(t, other, q, 0, 256)) || bytes.Equal(rows(t, a, norm, 0, 1), rows(t, other, norm, 0, 1)) {
			t.Errorf("%s: another seed gives the same weights", f)
		}
		if bytes.Equal(whole, rows(t, a, "model.layers.0.self_attn.q_proj.weight", 0, 256)) {
			t.Errorf("%s: two layers are alike", f)
		}
		if pieces := append(rows(t, a, q, 0, 100), rows(t, a, q, 100, 156)...); !bytes.Equal(whole, pieces) {
			t.Errorf("%s: rows depend on how they are asked for", f)
		}
	}
}

func TestRowsRefuses(t *testing.T) {
	c := New(small(true), tensor.BF16, 1)
	for _, r := range []struct {
		name     string
		first, n int
	}{{"model.norm.bias", 0, 1}, {"model.norm.weight", 0, 2}, {"model.embed_tokens.weight", 299, 2}, {"model.embed_tokens.weight", -1, 1}} {
		if err := c.Rows(r.name, r.first, r.n, func([]byte) error { return nil }); err == nil {
			t.Errorf("%+v: taken", r)
		}
	}
}

// TestFormats checks what llama-quantize would make of a model, and that the values are what their names say.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		of              tensor.Format
		tied            bool
		embed, head, up tensor.Format
	}{
		{tensor.F32, true, tensor.F32, 0, tensor.F32},
		{tensor.BF16, false, tensor.BF16, tensor.BF16, tensor.BF16},
		{tensor.Q4_0, true, tensor.Q6_K, 0, tensor.Q4_0},
		{tensor.Q4_0, false, tensor.Q4_0, tensor.Q6_K, tensor.Q4_0},
		{tensor.Q8_0, true, tensor.Q8_0, 0, tensor.Q8_0},
		{tensor.Q4_K, false, tensor.Q4_K, tensor.Q6_K, tensor.Q4_K},
	} {
		r := New(small(c.tied), c.of, 1)
		for name, want := range map[string]tensor.Format{"model.embed_tokens.weight": c.embed, "lm_head.weight": c.head,
			"model.layers.0.mlp.up_proj.weight": c.up, "model.layers.0.self_attn.q_norm.weight": tensor.F32} {
			info, ok := r.Lookup(name)
			if info.Format != want || ok != (want != 0) {
				t.Errorf("%s, tied %v: %s is %s, want %s", c.of, c.tied, name, info.Format, want)
			}
		}
		values := make([]float32, 512*256)
		quant.Decode(c.up, values, rows(t, r, "model.layers.0.mlp.up_proj.weight", 0, 512))
		squares := 0.0
		for _, v := range values {
			squares += float64(v) * float64(v)
		}
		if std := math.Sqrt(squares / float64(len(values))); math.Abs(std*16-1) > 0.05 { // 1/sqrt(256)
			t.Errorf("%s: values deviate by %g", c.of, std)
		}
	}
}

// TestPublished finds every tensor of every dense model that Qwen published.
func TestPublished(t *testing.T) {
	for _, size := range model.PublishedSizes() {
		c, _ := model.Published(size)
		if c.Validate() != nil {
			continue // a mixture of experts
		}
		w, err := qwen3.Arch{}.Weights(model.Shard{Config: c, Lookup: New(c, tensor.BF16, 1).Lookup, Positions: 1})
		if err != nil {
			t.Errorf("%s: %v", size, err)
			continue
		}
		var billions float64
		if _, err := fmt.Sscanf(size, "%fb", &billions); err != nil {
			t.Fatal(err)
		}
		if have := float64(w.Bytes()) / 2e9; math.Abs(have/billions-1) > 0.06 { // 1.7b has 1.72, 4b has 4.02
			t.Errorf("%s has %.2f billion weights", size, have)
		}
	}
}

// TestRuns computes a token with every format.
func TestRuns(t *testing.T) {
	for _, f := range tensor.WeightFormats() {
		d, err := ref.Open(ref.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := small(f == tensor.Q4_K)
		in, err := model.Load(t.Context(), d, qwen3.Arch{}, c, New(c, f, 1), model.Options{MaxSeqs: 1, MaxTokens: 4})
		if err != nil {
			t.Fatal(err)
		}
		ticket, err := in.Start(&model.Batch{
			Forward: tensor.ForwardStep{IDs: []int32{1, 2, 3}, Pages: []tensor.PageWrite{{}},
				Seqs: []tensor.SeqStep{{Count: 3, Keep: 1, PromptLen: 3, Reset: true}}},
			Head: []tensor.HeadRow{{Position: 3, Ask: 7, Top: 2}}})
		if err != nil {
			t.Fatal(err)
		}
		sampled, err := in.Wait(t.Context(), ticket)
		if err != nil {
			t.Fatal(err)
		}
		// 300 tokens: logits must spread, but not so far that one of them has it all.
		if s := sampled[0]; !(s.AskLogprob < 0) || math.IsInf(float64(s.AskLogprob), 0) || s.TopLogprob[0] < -5.5 || s.TopLogprob[0] > -0.1 {
			t.Errorf("%s: %+v", f, s)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
