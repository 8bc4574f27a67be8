package model

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The files that Qwen/Qwen3-0.6B ships (written by transformers 4).
const (
	realConfig = `{"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,
		"eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,
		"intermediate_size":3072,"max_position_embeddings":40960,"max_window_layers":28,"model_type":"qwen3",
		"num_attention_heads":16,"num_hidden_layers":28,"num_key_value_heads":8,"rms_norm_eps":1e-06,"rope_scaling":null,
		"rope_theta":1000000,"sliding_window":null,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
		"transformers_version":"4.51.0","use_cache":true,"use_sliding_window":false,"vocab_size":151936}`
	realGeneration = `{"bos_token_id":151643,"do_sample":true,"eos_token_id":[151645,151643],"pad_token_id":151643,
		"temperature":0.6,"top_k":20,"top_p":0.95,"transformers_version":"4.51.0"}`
	// The same as transformers 5 writes it.
	realConfig5 = `{"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,
		"dtype":"bfloat16","eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,
		"intermediate_size":3072,"layer_types":["full_attention","full_attention"],"max_position_embeddings":40960,
		"max_window_layers":28,"model_type":"qwen3","num_attention_heads":16,"num_hidden_layers":28,"num_key_value_heads":8,
		"pad_token_id":null,"rms_norm_eps":1e-06,"rope_parameters":{"rope_theta":1000000,"rope_type":"default"},
		"sliding_window":null,"tie_word_embeddings":true,"transformers_version":"5.23.0","use_cache":true,
		"use_sliding_window":false,"vocab_size":151936}`
)

// with returns realConfig with keys replaced (a nil value deletes one).
func with(t *testing.T, base string, changes map[string]any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(base), &m); err != nil {
		t.Fatal(err)
	}
	for k, v := range changes {
		m[k] = v
		if v == nil {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseConfigReal(t *testing.T) {
	want, ok := Published("0.6B")
	if !ok {
		t.Fatal("0.6B is not published")
	}
	for name, file := range map[string]string{"transformers 4": realConfig, "transformers 5": realConfig5} {
		got, err := ParseConfig([]byte(file), []byte(realGeneration))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseConfigForms(t *testing.T) {
	for name, c := range map[string]struct {
		change     map[string]any
		generation string
		check      func(Config) bool
	}{
		"head_dim absent":         {map[string]any{"head_dim": nil}, "", func(c Config) bool { return c.HeadDim == 128 }},
		"head_dim of its own":     {map[string]any{"head_dim": 64}, "", func(c Config) bool { return c.HeadDim == 64 }},
		"KV heads null":           {map[string]any{"num_key_value_heads": json.RawMessage("null")}, "", func(c Config) bool { return c.KVHeads == 16 }},
		"float theta":             {map[string]any{"rope_theta": 5e5}, "", func(c Config) bool { return c.RopeTheta == 5e5 }},
		"no rope_theta":           {map[string]any{"rope_theta": nil}, "", func(c Config) bool { return c.RopeTheta == 10000 }},
		"bias":                    {map[string]any{"attention_bias": true}, "", func(c Config) bool { return c.AttentionBias }},
		"untied when not given":   {map[string]any{"tie_word_embeddings": nil}, "", func(c Config) bool { return !c.TieEmbeddings }},
		"eos list":                {map[string]any{"eos_token_id": []int{5, 6, 5}}, "", func(c Config) bool { return slices.Equal(c.EOS, []int32{5, 6}) }},
		"eos null":                {map[string]any{"eos_token_id": nil}, "", func(c Config) bool { return len(c.EOS) == 0 }},
		"bos null":                {map[string]any{"bos_token_id": json.RawMessage("null")}, "", func(c Config) bool { return c.BOS == NoToken }},
		"eos of both files":       {nil, `{"eos_token_id":7}`, func(c Config) bool { return slices.Equal(c.EOS, []int32{7, 151645}) }},
		"eos outside":             {map[string]any{"vocab_size": 320, "eos_token_id": []int{319, 320, -4}}, "", func(c Config) bool { return slices.Equal(c.EOS, []int32{319}) && c.BOS == NoToken }},
		"generation without keys": {nil, `{}`, func(c Config) bool { return cmp.Equal(c.Generation, Generation{}) && c.EOS[0] == 151645 }},
		"generation nulls":        {nil, `{"temperature":null,"top_k":null}`, func(c Config) bool { return cmp.Equal(c.Generation, Generation{}) }},
		"generation all": {nil, `{"min_p":0.1,"repetition_penalty":1.05,"do_sample":false,"top_k":-1}`, func(c Config) bool {
			g := c.Generation
			return *g.MinP == .1 && *g.RepetitionPenalty == 1.05 && !*g.DoSample && *g.TopK == 0
		}},
		"window not in use":        {map[string]any{"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 28}, "", func(c Config) bool { return true }},
		"window null":              {map[string]any{"use_sliding_window": true, "max_window_layers": 2}, "", func(c Config) bool { return true }},
		"yarn stretches":           {map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32768}}, "", func(c Config) bool { return c.ContextLength() == 131072 && c.MaxPositions == 40960 }},
		"linear stretches":         {map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 2}}, "", func(c Config) bool { return c.ContextLength() == 81920 }},
		"plain does not":           {nil, "", func(c Config) bool { return c.ContextLength() == 40960 }},
		"unknown keys are ignored": {map[string]any{"something": []any{1, "a"}, "Hidden_Size": 3}, "", func(c Config) bool { return c.Hidden == 1024 }},
	} {
		got, err := ParseConfig(with(t, realConfig, c.change), []byte(c.generation))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.check(got) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]any
		want   string // part of the error
	}{
		"MoE":               {map[string]any{"model_type": "qwen3_moe"}, "mixture of experts"},
		"experts":           {map[string]any{"num_experts": 128}, "mixture of experts"},
		"other":             {map[string]any{"model_type": "llama"}, `"llama" is not supported; supported: "qwen3"`},
		"no type":           {map[string]any{"model_type": nil}, "no model_type"},
		"classifier":        {map[string]any{"architectures": []string{"Qwen3ForSequenceClassification"}}, "Qwen3ForSequenceClassification"},
		"FP8":               {map[string]any{"quantization_config": map[string]any{"quant_method": "fp8"}}, `quantized with "fp8"`},
		"AWQ":               {map[string]any{"quantization_config": map[string]any{"quant_method": "awq"}}, "GGUF"},
		"GPTQ":              {map[string]any{"quantization_config": map[string]any{"quant_method": "gptq", "bits": 4}}, `"gptq"`},
		"activation":        {map[string]any{"hidden_act": "gelu"}, `"gelu" is not supported; supported: silu`},
		"window":            {map[string]any{"use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 20}, "sliding-window"},
		"window layers":     {map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}}, `"sliding_attention"`},
		"dynamic rope":      {map[string]any{"rope_scaling": map[string]any{"type": "dynamic", "factor": 2}}, `rope type "dynamic" is not supported; supported: default, linear, yarn, llama3`},
		"longrope":          {map[string]any{"rope_parameters": map[string]any{"rope_type": "longrope"}}, `"longrope"`},
		"nested rope":       {map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_type": "default"}}}, "each type of layer"},
		"partial rope":      {map[string]any{"partial_rotary_factor": 0.5}, "partial_rotary_factor"},
		"no factor":         {map[string]any{"rope_scaling": map[string]any{"type": "linear"}}, "factor is missing"},
		"factor below 1":    {map[string]any{"rope_scaling": map[string]any{"type": "linear", "factor": 0.5}}, "factor is 0.5"},
		"llama3 order":      {map[string]any{"rope_scaling": map[string]any{"type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1}}, "frequency factor"},
		"float8 weights":    {map[string]any{"torch_dtype": "float8_e4m3fn"}, "float8_e4m3fn"},
		"odd head":          {map[string]any{"head_dim": 127}, "odd"},
		"GQA":               {map[string]any{"num_key_value_heads": 5}, "evenly"},
		"more KV heads":     {map[string]any{"num_key_value_heads": 32}, "evenly"},
		"no hidden":         {map[string]any{"hidden_size": nil}, "hidden_size is missing"},
		"string":            {map[string]any{"hidden_size": "1024"}, `hidden_size is "1024", which is not an integer`},
		"fraction":          {map[string]any{"vocab_size": 10.5}, "not an integer"},
		"negative":          {map[string]any{"num_hidden_layers": -1}, "number of layers is -1"},
		"huge":              {map[string]any{"hidden_size": int64(1) << 60}, "hidden size"},
		"vocabulary":        {map[string]any{"vocab_size": 1 << 30}, "vocabulary size"},
		"eps":               {map[string]any{"rms_norm_eps": 0}, "epsilon"},
		"theta":             {map[string]any{"rope_theta": 1}, "rope theta"},
		"eos of wrong type": {map[string]any{"eos_token_id": "x"}, "eos_token_id"},
	} {
		_, err := ParseConfig(with(t, realConfig, c.change), nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "model: ") {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
	for name, generation := range map[string]string{
		"not JSON": "{", "a list": "[]", "temperature": `{"temperature":-1}`, "hot": `{"temperature":101}`, "top_p": `{"top_p":2}`,
		"top_k": `{"top_k":1.5}`, "penalty": `{"repetition_penalty":0}`, "tiny penalty": `{"repetition_penalty":1e-60}`, "large penalty": `{"repetition_penalty":101}`,
	} {
		if _, err := ParseConfig([]byte(realConfig), []byte(generation)); err == nil || !strings.Contains(err.Error(), "generation_config.json") {
			t.Errorf("generation_config.json with %s: %v", name, err)
		}
	}
	extremes := `{"temperature":100,"top_k":-1,"top_p":0,"min_p":1,"repetition_penalty":100}`
	if c, err := ParseConfig([]byte(realConfig), []byte(extremes)); err != nil || *c.Generation.TopP != 0 || *c.Generation.TopK != 0 {
		t.Errorf("%s: %v", extremes, err)
	}
	if _, err := ParseConfig(bytes.Repeat([]byte(" "), maxConfigBytes+1), nil); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("an oversized file: %v", err)
	}
}

func TestSetRopeScaling(t *testing.T) {
	c, _ := Published("8b")
	if err := c.SetRopeScaling([]byte(`{"rope_type":"yarn","factor":4,"original_max_position_embeddings":32768}`)); err != nil {
		t.Fatal(err)
	}
	if c.ContextLength() != 131072 || c.RopeTheta != 1e6 {
		t.Errorf("got %+v", c)
	}
	before := c.Rope
	if err := c.SetRopeScaling([]byte(`{"rope_type":"dynamic","factor":4}`)); err == nil || c.Rope != before {
		t.Errorf("a refused scaling gave error %v and %+v", err, c.Rope)
	}
	if err := c.SetRopeScaling([]byte(`{}`)); err != nil || c.Rope.Type != RopeDefault {
		t.Errorf("an empty object gave error %v and %+v", err, c.Rope)
	}
}

func TestPublished(t *testing.T) {
	// Totals from the model cards, in billions of parameters (non-embedding for the smallest is 0.44).
	for size, want := range map[string]float64{"0.6b": 0.6, "1.7b": 1.7, "4b": 4.0, "8b": 8.2, "14b": 14.8, "32b": 32.8} {
		c, ok := Published(size)
		if !ok {
			t.Fatalf("%s is unknown", size)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", size, err)
		}
		layer := c.Hidden*c.HeadDim*(2*c.QueryHeads+2*c.KVHeads) + 3*c.Hidden*c.FFN + 2*c.Hidden + 2*c.HeadDim
		total := c.Layers*layer + c.Vocab*c.Hidden + c.Hidden
		if !c.TieEmbeddings {
			total += c.Vocab * c.Hidden
		}
		if got := float64(total) / 1e9; math.Abs(got-want) > 0.05 {
			t.Errorf("%s has %.3f billion parameters, want %.1f", size, got, want)
		}
	}
	c, ok := Published("30b-a3b")
	if err := c.Validate(); !ok || err == nil || !strings.Contains(err.Error(), "mixture of experts") {
		t.Errorf("30b-a3b: known %v, error %v", ok, err)
	}
	if _, ok := Published("7b"); ok {
		t.Error("7b is not a Qwen3 size")
	}
	for _, size := range PublishedSizes() {
		if _, ok := Published(size); !ok {
			t.Errorf("%s is listed but unknown", size)
		}
	}
}

type ropeGolden struct {
	Name            string          `json:"name"`
	Config          json.RawMessage `json:"config"`
	InvFreq         []float64       `json:"inv_freq"`
	AttentionFactor float64         `json:"attention_factor"`
}

// TestInvFreq compares with what transformers computes (testdata/config/rope.py).
func TestInvFreq(t *testing.T) {
	goldens := readRopeGoldens(t)
	if len(goldens) < 20 {
		t.Fatalf("only %d goldens", len(goldens))
	}
	inexact, total := 0, 0
	for _, g := range goldens {
		c, err := ParseConfig(g.Config, nil)
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		inv, factor := c.InvFreq()
		if len(inv) != len(g.InvFreq) {
			t.Errorf("%s: %d frequencies, want %d", g.Name, len(inv), len(g.InvFreq))
			continue
		}
		if math.Abs(factor-g.AttentionFactor) > 1e-15 {
			t.Errorf("%s: attention factor %v, want %v", g.Name, factor, g.AttentionFactor)
		}
		for i := range inv {
			total++
			if inv[i] != g.InvFreq[i] {
				inexact++
			}
			// torch's float32 power function may be off by one unit in the last place.
			if math.Abs(inv[i]-g.InvFreq[i]) > 2.5e-7*g.InvFreq[i] {
				t.Errorf("%s: frequency %d is %v, want %v", g.Name, i, inv[i], g.InvFreq[i])
			}
		}
	}
	if t.Logf("%d of %d frequencies differ in the last bits", inexact, total); inexact > total/5 {
		t.Errorf("%d of %d frequencies are not bit for bit those of transformers", inexact, total)
	}
}

func readRopeGoldens(t testing.TB) []ropeGolden {
	t.Helper()
	data, err := os.ReadFile("testdata/config/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var goldens []ropeGolden
	if err := json.Unmarshal(data, &goldens); err != nil {
		t.Fatal(err)
	}
	return goldens
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(realConfig), []byte(realGeneration))
	f.Add([]byte(realConfig5), []byte{})
	f.Add([]byte(`{"model_type":"qwen3","rope_scaling":{"type":"yarn","factor":1e400}}`), []byte(`{"eos_token_id":[1,2]}`))
	f.Add([]byte(`{"model_type":"qwen3","eos_token_id":99999999999999999999}`), []byte(`null`))
	f.Add([]byte("\xff{"), []byte("[[[[[["))
	for _, g := range readRopeGoldens(f) {
		f.Add([]byte(g.Config), []byte(realGeneration))
	}
	f.Fuzz(func(t *testing.T, config, generation []byte) {
		c, err := ParseConfig(config, generation)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "model: ") || len(err.Error()) > 2000 {
				t.Errorf("error %q", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("the result is not valid: %v", err)
		}
		if n := c.ContextLength(); n < 1 || n > maxPositions {
			t.Errorf("context length %d", n)
		}
		inv, factor := c.InvFreq()
		if len(inv) != c.HeadDim/2 || !(factor > 0) || math.IsInf(factor, 0) {
			t.Errorf("%d frequencies for head dimension %d, factor %v", len(inv), c.HeadDim, factor)
		}
		for i, v := range inv {
			if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
				t.Errorf("frequency %d is %v", i, v)
			}
		}
	})
}
