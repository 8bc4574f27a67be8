package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// maxConfigBytes bounds config.json and generation_config.json; real ones are a few kilobytes.
const maxConfigBytes = 1 << 20

// qwen3 defaults of transformers' Qwen3Config, for keys that config.json may leave out.
const (
	defaultHeadDim      = 128
	defaultKVHeads      = 32
	defaultMaxPositions = 32768
	defaultNormEps      = 1e-6
	defaultRopeTheta    = 10000
)

// ParseConfig reads config.json as transformers 4 or 5 writes it and, unless it is empty, generation_config.json.
// Keys that change what the model computes and that ullm does not implement are refused by name;
// the others are ignored.
func ParseConfig(configJSON, generationJSON []byte) (Config, error) {
	f, err := parseFields("config.json", configJSON)
	if err != nil {
		return Config{}, err
	}
	c := Config{Arch: optional(f, "model_type", "")}
	if err := refuse(f, c.Arch); err != nil {
		return Config{}, err
	}
	c.Hidden = required[int](f, "hidden_size")
	c.Layers = required[int](f, "num_hidden_layers")
	c.QueryHeads = required[int](f, "num_attention_heads")
	c.FFN = required[int](f, "intermediate_size")
	c.Vocab = required[int](f, "vocab_size")
	c.HeadDim = optional(f, "head_dim", defaultHeadDim)
	c.KVHeads = defaultKVHeads
	if f.has("num_key_value_heads") { // null means as many as query heads
		c.KVHeads = optional(f, "num_key_value_heads", c.QueryHeads)
	}
	c.MaxPositions = optional(f, "max_position_embeddings", defaultMaxPositions)
	c.NormEps = optional(f, "rms_norm_eps", defaultNormEps)
	c.AttentionBias = optional(f, "attention_bias", false)
	c.TieEmbeddings = optional(f, "tie_word_embeddings", false)
	c.DType = optional(f, "dtype", optional(f, "torch_dtype", ""))
	c.RopeTheta = optional(f, "rope_theta", float64(defaultRopeTheta))
	rope := f.object("rope_scaling") // where both are given, transformers takes rope_scaling
	if rope.empty() {
		rope = f.object("rope_parameters")
	}
	c.parseRope(rope, optional(f, "original_max_position_embeddings", 0))
	bos, eos := tokenID(f, "bos_token_id"), tokenIDs(f, "eos_token_id")
	if f.err != nil {
		return Config{}, f.err
	}
	if rope.err != nil {
		return Config{}, rope.err
	}

	if len(bytes.TrimSpace(generationJSON)) > 0 {
		g, err := parseFields("generation_config.json", generationJSON)
		if err != nil {
			return Config{}, err
		}
		c.Generation = parseGeneration(g)
		bos = optional(g, "bos_token_id", bos)
		eos = append(tokenIDs(g, "eos_token_id"), eos...)
		if g.err != nil {
			return Config{}, g.err
		}
		if err := c.Generation.validate(); err != nil {
			return Config{}, fmt.Errorf("%w (in generation_config.json)", err)
		}
	}
	c.setTokens(bos, eos)
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%w (in config.json)", err)
	}
	return c, nil
}

// SetRopeScaling replaces the rope scaling by the given JSON object, which has the form of config.json's rope_scaling:
// {"rope_type":"yarn","factor":4,"original_max_position_embeddings":32768}. A rope_theta in it is taken too.
func (c *Config) SetRopeScaling(object []byte) error {
	f, err := parseFields("rope scaling", object)
	if err != nil {
		return err
	}
	next := *c
	next.Rope = RopeScaling{}
	next.parseRope(f, 0)
	if f.err != nil {
		return f.err
	}
	if err := next.Validate(); err != nil {
		return err
	}
	*c = next
	return nil
}

// refuse names the first feature of the checkpoint that ullm lacks. It looks at the keys whose presence says so,
// before sizes are read, because an unsupported model may lack the usual ones.
func refuse(f *fields, arch string) error {
	if arch == "" && f.err == nil {
		return fmt.Errorf("model: config.json has no model_type; supported: %q", ArchQwen3)
	}
	if arch == ArchQwen3 && (f.has("num_experts") || f.has("num_local_experts")) {
		arch = archQwen3MoE
	}
	if arch != ArchQwen3 {
		return Config{Arch: arch}.Validate()
	}
	if heads := optional[[]string](f, "architectures", nil); len(heads) > 0 && !slices.Contains(heads, "Qwen3ForCausalLM") {
		return fmt.Errorf("model: architectures %q are not supported; supported: Qwen3ForCausalLM", heads)
	}
	if q := f.object("quantization_config"); !q.empty() {
		method := optional(q, "quant_method", "unknown")
		return fmt.Errorf("model: the checkpoint is quantized with %s, which is not supported; use its float32, float16 or bfloat16 "+
			"original or a GGUF file (F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K)", quote(method))
	}
	if act := optional(f, "hidden_act", "silu"); act != "silu" {
		return fmt.Errorf("model: activation function %s is not supported; supported: silu", quote(act))
	}
	for _, t := range optional[[]string](f, "layer_types", nil) {
		if t != "full_attention" {
			return fmt.Errorf("model: layers of type %s are not supported; supported: full_attention", quote(t))
		}
	}
	// Without layer_types, the layers from max_window_layers on use the window, if there is one.
	if optional(f, "use_sliding_window", false) && !f.has("layer_types") && !f.null("sliding_window") &&
		optional(f, "max_window_layers", 28) < optional(f, "num_hidden_layers", 32) {
		return fmt.Errorf("model: sliding-window attention (use_sliding_window) is not supported; supported: full attention")
	}
	if p := optional(f, "partial_rotary_factor", 1.0); p != 1 {
		return fmt.Errorf("model: partial_rotary_factor %g is not supported; supported: 1", p)
	}
	return f.err
}

// parseRope reads a rope_scaling or rope_parameters object. original, if not 0, is the model's own
// original_max_position_embeddings, which outranks the object's.
func (c *Config) parseRope(f *fields, original int) {
	if f.empty() {
		return
	}
	c.RopeTheta = optional(f, "rope_theta", c.RopeTheta)
	name := optional(f, "rope_type", optional(f, "type", "default"))
	if name == "default" {
		name = string(RopeDefault)
	}
	if f.has("full_attention") || f.has("sliding_attention") {
		f.fail("full_attention", "unsupported: rope parameters for each type of layer")
		return
	}
	if p := optional(f, "partial_rotary_factor", 1.0); p != 1 {
		f.fail("partial_rotary_factor", "unsupported unless it is 1")
		return
	}
	r := RopeScaling{Type: RopeType(name)}
	switch r.Type {
	case RopeDefault:
	case RopeLinear:
		r.Factor = required[float64](f, "factor")
	case RopeYaRN:
		r.OriginalMaxPositions = originalPositions(f, original, c.MaxPositions)
		r.Factor = optional(f, "factor", float64(c.MaxPositions)/float64(max(r.OriginalMaxPositions, 1)))
		r.AttentionFactor = optional(f, "attention_factor", 0.0)
		r.BetaFast = optional(f, "beta_fast", 0.0)
		r.BetaSlow = optional(f, "beta_slow", 0.0)
		r.MScale = optional(f, "mscale", 0.0)
		r.MScaleAllDim = optional(f, "mscale_all_dim", 0.0)
		r.NoTruncate = !optional(f, "truncate", true)
	case RopeLlama3:
		r.OriginalMaxPositions = originalPositions(f, original, c.MaxPositions)
		r.Factor = required[float64](f, "factor")
		r.LowFreqFactor = required[float64](f, "low_freq_factor")
		r.HighFreqFactor = required[float64](f, "high_freq_factor")
	default:
		if f.err == nil {
			f.err = unsupportedRope(name)
		}
	}
	c.Rope = r
}

func originalPositions(f *fields, original, positions int) int {
	if original != 0 {
		return original
	}
	return optional(f, "original_max_position_embeddings", positions)
}

func parseGeneration(f *fields) Generation {
	g := Generation{
		DoSample:          pointer[bool](f, "do_sample"),
		Temperature:       pointer[float64](f, "temperature"),
		TopK:              pointer[int](f, "top_k"),
		TopP:              pointer[float64](f, "top_p"),
		MinP:              pointer[float64](f, "min_p"),
		RepetitionPenalty: pointer[float64](f, "repetition_penalty"),
	}
	if g.TopK != nil && *g.TopK == -1 { // some files spell "off" so
		*g.TopK = 0
	}
	return g
}

// tokenID is an optional id; -1 stands for none.
func tokenID(f *fields, key string) int64 {
	return optional(f, key, int64(NoToken))
}

// tokenIDs reads a key that holds one id, a list of ids, or null.
func tokenIDs(f *fields, key string) []int64 {
	if raw := bytes.TrimSpace(f.m[key]); len(raw) > 0 && raw[0] == '[' {
		return optional[[]int64](f, key, nil)
	}
	if id := tokenID(f, key); id >= 0 {
		return []int64{id}
	}
	return nil
}

// fields is a JSON object read key by key. Like bufio.Scanner it keeps its first error.
type fields struct {
	file string
	m    map[string]json.RawMessage
	err  error
}

func parseFields(file string, data []byte) (*fields, error) {
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("model: %s has %d bytes; at most %d are accepted", file, len(data), maxConfigBytes)
	}
	f := &fields{file: file}
	if err := json.Unmarshal(data, &f.m); err != nil {
		return nil, fmt.Errorf("model: %s is not a JSON object: %w", file, err)
	}
	return f, nil
}

func (f *fields) empty() bool { return len(f.m) == 0 }

func (f *fields) has(key string) bool {
	_, ok := f.m[key]
	return ok
}

func (f *fields) null(key string) bool { return string(f.m[key]) == "null" }

func (f *fields) fail(key, why string) {
	if f.err == nil {
		f.err = fmt.Errorf("model: %s: %s is %s", f.file, key, why)
	}
}

// object reads a nested object; a missing key or null gives an empty one.
func (f *fields) object(key string) *fields {
	return &fields{file: f.file + " " + key, m: optional[map[string]json.RawMessage](f, key, nil)}
}

// optional reads a key; a missing key or null gives the default.
func optional[T any](f *fields, key string, def T) T {
	if !f.has(key) || f.null(key) {
		return def
	}
	var v T
	if err := json.Unmarshal(f.m[key], &v); err != nil {
		f.fail(key, fmt.Sprintf("%s, which is not %s", shorten(string(f.m[key])), kind(v)))
		return def
	}
	return v
}

func required[T any](f *fields, key string) T {
	var zero T
	if !f.has(key) || f.null(key) {
		f.fail(key, "missing")
	}
	return optional(f, key, zero)
}

func pointer[T any](f *fields, key string) *T {
	if !f.has(key) || f.null(key) {
		return nil
	}
	var zero T
	v := optional(f, key, zero)
	return &v
}

func kind(v any) string {
	switch v.(type) {
	case int, int64:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case string:
		return "a string"
	case []int64:
		return "a list of integers"
	case []string:
		return "a list of strings"
	}
	return "an object"
}

func shorten(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func quote(s string) string { return fmt.Sprintf("%q", shorten(s)) }
