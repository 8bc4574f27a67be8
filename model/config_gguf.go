package model

import (
	"fmt"
	"strconv"
)

// Metadata gives access to a GGUF file's key/value pairs. Int and Float accept every integer and floating type that
// GGUF has, and Float accepts integers. ok is false for a missing key and for one of another type.
type Metadata interface {
	String(key string) (v string, ok bool)
	Int(key string) (v int64, ok bool)
	Float(key string) (v float64, ok bool)
	Bool(key string) (v bool, ok bool)
	Strings(key string) (v []string, ok bool)
}

// ConfigFromGGUF reads the configuration from a GGUF file's metadata.
//
// A GGUF file tells two things by its tensors alone: TieEmbeddings (no output.weight) and AttentionBias
// (blk.0.attn_q.bias is there). They are false in the result until SetFromTensors is called.
func ConfigFromGGUF(meta Metadata) (Config, error) {
	arch, ok := meta.String("general.architecture")
	if !ok {
		return Config{}, fmt.Errorf("model: the GGUF file has no general.architecture; supported: %q", ArchQwen3)
	}
	if arch == "qwen3moe" {
		arch = archQwen3MoE
	}
	c := Config{Arch: arch}
	if arch != ArchQwen3 {
		return Config{}, c.Validate()
	}
	r := &ggufReader{meta: meta}
	c.Hidden = r.int("qwen3.embedding_length")
	c.Layers = r.int("qwen3.block_count")
	c.QueryHeads = r.int("qwen3.attention.head_count")
	c.KVHeads = r.intOr("qwen3.attention.head_count_kv", c.QueryHeads)
	c.FFN = r.int("qwen3.feed_forward_length")
	c.MaxPositions = r.int("qwen3.context_length")
	c.NormEps = r.float("qwen3.attention.layer_norm_rms_epsilon")
	c.RopeTheta = r.floatOr("qwen3.rope.freq_base", defaultRopeTheta)
	if r.err == nil && c.QueryHeads > 0 {
		c.HeadDim = r.intOr("qwen3.attention.key_length", c.Hidden/c.QueryHeads)
	}
	if v := r.intOr("qwen3.attention.value_length", c.HeadDim); v != c.HeadDim {
		r.fail("qwen3.attention.value_length is %d, but the keys have %d; they must be equal", v, c.HeadDim)
	}
	if v := r.intOr("qwen3.rope.dimension_count", c.HeadDim); v != c.HeadDim {
		r.fail("qwen3.rope.dimension_count is %d; only the whole head dimension (%d) is supported", v, c.HeadDim)
	}
	if r.intOr("qwen3.attention.sliding_window", 0) > 0 {
		r.fail("sliding-window attention (qwen3.attention.sliding_window) is not supported; supported: full attention")
	}
	if r.intOr("qwen3.expert_count", 0) > 0 {
		r.fail("a mixture of experts (qwen3.expert_count) is not supported yet; use a dense Qwen3 model")
	}
	c.Rope = r.rope(c.MaxPositions)

	tokens, ok := meta.Strings("tokenizer.ggml.tokens")
	if !ok {
		r.fail("the key tokenizer.ggml.tokens is missing, so the size of the vocabulary is unknown")
	}
	c.Vocab = len(tokens)
	bos, eos := r.tokens(tokens)
	c.Generation = r.generation()
	if r.err != nil {
		return Config{}, r.err
	}
	c.setTokens(bos, eos)
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%w (in the GGUF metadata)", err)
	}
	return c, nil
}

// SetFromTensors sets what a GGUF file tells by the presence of tensors; has answers whether one exists.
func (c *Config) SetFromTensors(has func(name string) bool) {
	c.TieEmbeddings = !has("output.weight")
	c.AttentionBias = has("blk.0.attn_q.bias")
}

// ggufReader reads keys and keeps the first error.
type ggufReader struct {
	meta Metadata
	err  error
}

func (r *ggufReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("model: GGUF: "+format, args...)
	}
}

func (r *ggufReader) int(key string) int {
	v, ok := r.meta.Int(key)
	if !ok {
		r.fail("the integer key %s is missing", key)
	}
	return int(v)
}

func (r *ggufReader) intOr(key string, def int) int {
	if v, ok := r.meta.Int(key); ok {
		return int(v)
	}
	return def
}

func (r *ggufReader) float(key string) float64 {
	v := r.number(key)
	if v == nil {
		r.fail("the number %s is missing", key)
		return 0
	}
	return *v
}

func (r *ggufReader) floatOr(key string, def float64) float64 {
	if v := r.number(key); v != nil {
		return *v
	}
	return def
}

// number reads a number, or nil. GGUF files store float32: what was written as 0.6 is read as 0.6 again and
// not as 0.6000000238418579.
func (r *ggufReader) number(key string) *float64 {
	v, ok := r.meta.Float(key)
	if !ok {
		return nil
	}
	if float64(float32(v)) == v {
		if decimal, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', -1, 32), 64); err == nil {
			v = decimal
		}
	}
	return &v
}

// rope reads the scaling keys that llama.cpp's converter writes. The converter stores transformers' attention_factor
// as yarn_attn_factor; attn_factor multiplies the default one, as llama.cpp does.
func (r *ggufReader) rope(positions int) RopeScaling {
	name, _ := r.meta.String("qwen3.rope.scaling.type")
	factor := r.floatOr("qwen3.rope.scaling.factor", 1)
	switch name {
	case "", "none":
		return RopeScaling{}
	case "linear":
		return RopeScaling{Type: RopeLinear, Factor: factor}
	case "yarn":
	default:
		r.fail("rope scaling %s is not supported; supported: none, linear, yarn", quote(name))
		return RopeScaling{}
	}
	if ext := r.floatOr("qwen3.rope.scaling.yarn_ext_factor", 1); ext != 1 {
		r.fail("qwen3.rope.scaling.yarn_ext_factor is %g; only 1 is supported", ext)
	}
	s := RopeScaling{
		Type:                 RopeYaRN,
		Factor:               factor,
		OriginalMaxPositions: r.intOr("qwen3.rope.scaling.original_context_length", positions),
		AttentionFactor:      r.floatOr("qwen3.rope.scaling.yarn_attn_factor", 0),
		BetaFast:             r.floatOr("qwen3.rope.scaling.yarn_beta_fast", 0),
		BetaSlow:             r.floatOr("qwen3.rope.scaling.yarn_beta_slow", 0),
	}
	if f := r.floatOr("qwen3.rope.scaling.attn_factor", 1); f != 1 {
		s.AttentionFactor = f * s.yarnAttentionFactor()
	}
	return s
}

// tokens returns the BOS id and the ids that end an answer: the declared ones and, because a GGUF file has no
// generation_config.json with its list, Qwen's <|im_end|> and <|endoftext|> where the vocabulary has them.
func (r *ggufReader) tokens(vocabulary []string) (bos int64, eos []int64) {
	bos = int64(r.intOr("tokenizer.ggml.bos_token_id", int(NoToken)))
	for _, key := range []string{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"} {
		if id, ok := r.meta.Int(key); ok {
			eos = append(eos, id)
		}
	}
	for _, text := range []string{"<|im_end|>", "<|endoftext|>"} {
		// Special tokens stand at the end of a vocabulary.
		for id := len(vocabulary) - 1; id >= 0; id-- {
			if vocabulary[id] == text {
				eos = append(eos, int64(id))
				break
			}
		}
	}
	return bos, eos
}

// generation reads the sampling defaults that newer converters copy from generation_config.json.
func (r *ggufReader) generation() Generation {
	g := Generation{
		Temperature:       r.number("general.sampling.temp"),
		TopP:              r.number("general.sampling.top_p"),
		MinP:              r.number("general.sampling.min_p"),
		RepetitionPenalty: r.number("general.sampling.penalty_repeat"),
	}
	if v, ok := r.meta.Int("general.sampling.top_k"); ok {
		k := int(max(v, 0)) // llama.cpp: 0 and below mean off
		g.TopK = &k
	}
	return g
}
