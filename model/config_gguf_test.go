package model

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mapMeta is Metadata over Go values, with float32 as GGUF files store it.
type mapMeta map[string]any

func (m mapMeta) String(key string) (string, bool)    { v, ok := m[key].(string); return v, ok }
func (m mapMeta) Bool(key string) (bool, bool)        { v, ok := m[key].(bool); return v, ok }
func (m mapMeta) Strings(key string) ([]string, bool) { v, ok := m[key].([]string); return v, ok }

func (m mapMeta) Int(key string) (int64, bool) {
	v, ok := m[key].(int)
	return int64(v), ok
}

func (m mapMeta) Float(key string) (float64, bool) {
	if i, ok := m.Int(key); ok {
		return float64(i), true
	}
	v, ok := m[key].(float32)
	return float64(v), ok
}

func ggufMeta(changes mapMeta) mapMeta {
	vocabulary := slices.Repeat([]string{"x"}, 151936)
	vocabulary[151643], vocabulary[151645] = "<|endoftext|>", "<|im_end|>"
	m := mapMeta{
		"general.architecture": "qwen3", "qwen3.embedding_length": 1024, "qwen3.block_count": 28,
		"qwen3.attention.head_count": 16, "qwen3.attention.head_count_kv": 8, "qwen3.attention.key_length": 128,
		"qwen3.attention.value_length": 128, "qwen3.feed_forward_length": 3072, "qwen3.context_length": 40960,
		"qwen3.attention.layer_norm_rms_epsilon": float32(1e-6), "qwen3.rope.freq_base": float32(1e6),
		"tokenizer.ggml.tokens": vocabulary, "tokenizer.ggml.bos_token_id": 151643, "tokenizer.ggml.eos_token_id": 151645,
		"general.sampling.temp": float32(0.6), "general.sampling.top_k": 20, "general.sampling.top_p": float32(0.95),
	}
	for k, v := range changes {
		m[k] = v
		if v == nil {
			delete(m, k)
		}
	}
	return m
}

func TestConfigFromGGUF(t *testing.T) {
	want, _ := Published("0.6b")
	want.DType, want.Generation.DoSample = "", nil // GGUF has no such keys
	got, err := ConfigFromGGUF(ggufMeta(nil))
	if err != nil {
		t.Fatal(err)
	}
	got.SetFromTensors(func(name string) bool { return name == "blk.0.attn_q.weight" })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got.SetFromTensors(func(name string) bool { return name == "output.weight" || name == "blk.0.attn_q.bias" })
	if got.TieEmbeddings || !got.AttentionBias {
		t.Errorf("tied %v, bias %v", got.TieEmbeddings, got.AttentionBias)
	}
}

func TestConfigFromGGUFForms(t *testing.T) {
	for name, c := range map[string]struct {
		change mapMeta
		check  func(Config) bool
	}{
		"key_length absent": {mapMeta{"qwen3.attention.key_length": nil, "qwen3.attention.value_length": nil}, func(c Config) bool { return c.HeadDim == 64 }},
		"KV heads absent":   {mapMeta{"qwen3.attention.head_count_kv": nil}, func(c Config) bool { return c.KVHeads == 16 }},
		"theta absent":      {mapMeta{"qwen3.rope.freq_base": nil}, func(c Config) bool { return c.RopeTheta == 10000 }},
		"eot":               {mapMeta{"tokenizer.ggml.eot_token_id": 5}, func(c Config) bool { return slices.Equal(c.EOS, []int32{151645, 5, 151643}) }},
		"none":              {mapMeta{"qwen3.rope.scaling.type": "none"}, func(c Config) bool { return c.Rope == RopeScaling{} }},
		"linear": {mapMeta{"qwen3.rope.scaling.type": "linear", "qwen3.rope.scaling.factor": float32(2.5)}, func(c Config) bool {
			return c.Rope == RopeScaling{Type: RopeLinear, Factor: 2.5}
		}},
		"yarn": {mapMeta{"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.factor": float32(4),
			"qwen3.rope.scaling.original_context_length": 32768, "qwen3.rope.scaling.yarn_beta_fast": float32(16)}, func(c Config) bool {
			return c.Rope == RopeScaling{Type: RopeYaRN, Factor: 4, OriginalMaxPositions: 32768, BetaFast: 16} && c.ContextLength() == 131072
		}},
		"yarn, factor of the attention": {mapMeta{"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.factor": float32(4),
			"qwen3.rope.scaling.attn_factor": float32(2)}, func(c Config) bool {
			plain := RopeScaling{Type: RopeYaRN, Factor: 4}
			return c.Rope.AttentionFactor == 2*plain.yarnAttentionFactor()
		}},
	} {
		got, err := ConfigFromGGUF(ggufMeta(c.change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.check(got) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestConfigFromGGUFRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change mapMeta
		want   string
	}{
		"no architecture": {mapMeta{"general.architecture": nil}, "general.architecture"},
		"llama":           {mapMeta{"general.architecture": "llama"}, `"llama" is not supported; supported: "qwen3"`},
		"MoE":             {mapMeta{"general.architecture": "qwen3moe"}, "mixture of experts"},
		"experts":         {mapMeta{"qwen3.expert_count": 8}, "mixture of experts"},
		"no width":        {mapMeta{"qwen3.embedding_length": nil}, "qwen3.embedding_length is missing"},
		"no tokens":       {mapMeta{"tokenizer.ggml.tokens": nil}, "tokenizer.ggml.tokens"},
		"no heads":        {mapMeta{"qwen3.attention.head_count": 0, "qwen3.attention.key_length": nil, "qwen3.attention.value_length": nil}, "query heads is 0"},
		"value length":    {mapMeta{"qwen3.attention.value_length": 64}, "value_length"},
		"partial rope":    {mapMeta{"qwen3.rope.dimension_count": 64}, "dimension_count"},
		"window":          {mapMeta{"qwen3.attention.sliding_window": 4096}, "sliding-window"},
		"longrope":        {mapMeta{"qwen3.rope.scaling.type": "longrope"}, `"longrope" is not supported; supported: none, linear, yarn`},
		"ext factor":      {mapMeta{"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.yarn_ext_factor": float32(0.5)}, "yarn_ext_factor"},
		"negative":        {mapMeta{"qwen3.block_count": -3}, "layers is -3"},
	} {
		_, err := ConfigFromGGUF(ggufMeta(c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "model: ") {
			t.Errorf("%s: got error %v, want one with %q", name, err, c.want)
		}
	}
}
