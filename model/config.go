package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// ArchQwen3 is the architecture that ullm runs, as config.json's model_type and GGUF's
// general.architecture spell it.
const ArchQwen3 = "qwen3"

// archQwen3MoE is known by name only, so that a mixture of experts is refused as what it is.
const archQwen3MoE = "qwen3_moe"

// NoToken stands for an id that a checkpoint does not have.
const NoToken int32 = -1

// Config is everything that a checkpoint says about its model apart from the weights.
// ParseConfig reads it from Hugging Face's files, ConfigFromGGUF from a GGUF file's metadata, and
// Published knows the shapes that Qwen has released. The first two return it validated.
type Config struct {
	Arch string // ArchQwen3

	Hidden       int // width of the residual stream
	Layers       int
	QueryHeads   int
	KVHeads      int // divides QueryHeads
	HeadDim      int // even; QueryHeads·HeadDim need not equal Hidden
	FFN          int // width between gate/up and down
	Vocab        int // rows of the embedding, padding rows included
	MaxPositions int // as the checkpoint declares it; ContextLength says what can be used

	NormEps   float64     // of every RMS norm, the query and key norms included
	RopeTheta float64     // base of the rotary frequencies
	Rope      RopeScaling // zero: the frequencies are used as they are

	AttentionBias bool   // the q, k, v and o projections have biases
	TieEmbeddings bool   // the language-model head is the embedding matrix
	DType         string // what config.json calls the weights: "bfloat16", "float16", "float32" or ""; the files decide

	BOS        int32   // NoToken if there is none; Qwen3's tokenizer does not prepend it
	EOS        []int32 // ids that end an answer, all inside the vocabulary; may be empty
	Generation Generation
}

// Generation holds the sampling defaults that the checkpoint's authors recommend.
// A nil field was not given. Values are in the ranges that requests have too: Temperature in [0, MaxTemperature],
// TopK ≥ 0 (0 = off), TopP (0 = the likeliest token alone) and MinP in [0, 1], RepetitionPenalty in
// (0, MaxRepetitionPenalty].
type Generation struct {
	DoSample          *bool
	Temperature       *float64
	TopK              *int
	TopP              *float64
	MinP              *float64
	RepetitionPenalty *float64
}

// The largest sampling parameters, of recommendations and of requests.
const (
	MaxTemperature       = 100
	MaxRepetitionPenalty = 100
)

// Limits on sizes. A config is foreign input, and products of these stay far inside an int64.
const (
	maxHidden    = 1 << 16
	maxLayers    = 1 << 10
	maxHeads     = 1 << 10
	maxHeadDim   = 1 << 10
	maxFFN       = 1 << 20
	maxVocab     = 1 << 21
	maxPositions = 1 << 24
	maxEOS       = 64
)

// Validate reports the first thing that keeps the model from being run: an unsupported architecture,
// a size out of bounds, sizes that contradict each other.
func (c Config) Validate() error {
	switch c.Arch {
	case ArchQwen3:
	case archQwen3MoE:
		return fmt.Errorf("model: architecture %q is a mixture of experts, which is not supported yet; use a dense Qwen3 model", c.Arch)
	default:
		return fmt.Errorf("model: architecture %q is not supported; supported: %q", c.Arch, ArchQwen3)
	}
	for _, s := range []struct {
		name       string
		value, max int
	}{
		{"hidden size", c.Hidden, maxHidden},
		{"number of layers", c.Layers, maxLayers},
		{"number of query heads", c.QueryHeads, maxHeads},
		{"number of key/value heads", c.KVHeads, maxHeads},
		{"head dimension", c.HeadDim, maxHeadDim},
		{"feed-forward size", c.FFN, maxFFN},
		{"vocabulary size", c.Vocab, maxVocab},
		{"number of positions", c.MaxPositions, maxPositions},
	} {
		if s.value < 1 || s.value > s.max {
			return fmt.Errorf("model: %s is %d; it must be from 1 to %d", s.name, s.value, s.max)
		}
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("model: head dimension %d is odd; rotary embedding turns pairs, so it must be even", c.HeadDim)
	}
	if c.QueryHeads%c.KVHeads != 0 {
		return fmt.Errorf("model: %d query heads cannot share %d key/value heads evenly", c.QueryHeads, c.KVHeads)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return fmt.Errorf("model: RMS norm epsilon is %g; it must be between 0 and 1", c.NormEps)
	}
	if !(c.RopeTheta > 1 && c.RopeTheta <= 1e15) {
		return fmt.Errorf("model: rope theta is %g; it must be above 1 and at most 1e15", c.RopeTheta)
	}
	if err := c.Rope.validate(); err != nil {
		return err
	}
	switch c.DType {
	case "", "float32", "float16", "bfloat16":
	default:
		return fmt.Errorf("model: weights of type %q are not supported; supported: float32, float16, bfloat16", c.DType)
	}
	if c.BOS != NoToken && (c.BOS < 0 || int(c.BOS) >= c.Vocab) {
		return fmt.Errorf("model: BOS id %d is outside the vocabulary of %d", c.BOS, c.Vocab)
	}
	if len(c.EOS) > maxEOS {
		return fmt.Errorf("model: %d end-of-sequence ids; at most %d are supported", len(c.EOS), maxEOS)
	}
	for _, id := range c.EOS {
		if id < 0 || int(id) >= c.Vocab {
			return fmt.Errorf("model: EOS id %d is outside the vocabulary of %d", id, c.Vocab)
		}
	}
	return c.Generation.validate()
}

func (g Generation) validate() error {
	bad := func(name string, v any, want string) error {
		return fmt.Errorf("model: generation default %s is %v; it must be %s", name, v, want)
	}
	if v := g.Temperature; v != nil && !(*v >= 0 && *v <= MaxTemperature) {
		return bad("temperature", *v, fmt.Sprintf("from 0 to %d", MaxTemperature))
	}
	if v := g.TopK; v != nil && (*v < 0 || *v > math.MaxInt32) {
		return bad("top_k", *v, "0 or more")
	}
	if v := g.TopP; v != nil && !(*v >= 0 && *v <= 1) {
		return bad("top_p", *v, "from 0 to 1")
	}
	if v := g.MinP; v != nil && !(*v >= 0 && *v <= 1) {
		return bad("min_p", *v, "from 0 to 1")
	}
	if v := g.RepetitionPenalty; v != nil && !(float32(*v) > 0 && *v <= MaxRepetitionPenalty) {
		return bad("repetition_penalty", *v, fmt.Sprintf("above 0 and at most %d", MaxRepetitionPenalty))
	}
	return nil
}

// ContextLength is the number of positions that the model can use. It is MaxPositions, except that YaRN and
// linear scaling stretch it: Qwen3's model cards say to add a YaRN entry to config.json and to leave
// max_position_embeddings as it is.
func (c Config) ContextLength() int {
	switch c.Rope.Type {
	case RopeYaRN:
		return max(c.MaxPositions, int(min(c.Rope.Factor*float64(c.Rope.OriginalMaxPositions), maxPositions)))
	case RopeLinear:
		return int(min(c.Rope.Factor*float64(c.MaxPositions), maxPositions))
	}
	return c.MaxPositions
}

// setTokens keeps the ids that lie inside the vocabulary. Checkpoints with a vocabulary of their own often
// carry left-over ids of their parents; such an id can never be produced, so it is dropped, not refused.
func (c *Config) setTokens(bos int64, eos []int64) {
	inside := func(id int64) bool { return id >= 0 && id < int64(c.Vocab) }
	c.BOS, c.EOS = NoToken, nil
	if inside(bos) {
		c.BOS = int32(bos)
	}
	for _, id := range eos {
		if inside(id) && !slices.Contains(c.EOS, int32(id)) {
			c.EOS = append(c.EOS, int32(id))
		}
	}
}

// PublishedSizes are the names that Published knows, smallest first.
func PublishedSizes() []string {
	return []string{"0.6b", "1.7b", "4b", "8b", "14b", "32b", "30b-a3b"}
}

// Published is the configuration of a Qwen3 model as Qwen released it, by size ("0.6b", any letter case),
// and whether that size exists. "30b-a3b" exists, and Validate refuses it as the mixture of experts it is.
func Published(size string) (Config, bool) {
	temperature, topK, topP, sample := 0.6, 20, 0.95, true
	c := Config{
		Arch: ArchQwen3, KVHeads: 8, HeadDim: 128, Vocab: 151936, MaxPositions: 40960,
		NormEps: 1e-6, RopeTheta: 1e6, DType: "bfloat16",
		BOS: 151643, EOS: []int32{151645, 151643},
		Generation: Generation{DoSample: &sample, Temperature: &temperature, TopK: &topK, TopP: &topP},
	}
	switch strings.ToLower(size) {
	case "0.6b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN, c.TieEmbeddings = 1024, 28, 16, 3072, true
	case "1.7b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN, c.TieEmbeddings = 2048, 28, 16, 6144, true
	case "4b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN, c.TieEmbeddings = 2560, 36, 32, 9728, true
	case "8b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN = 4096, 36, 32, 12288
	case "14b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN = 5120, 40, 40, 17408
	case "32b":
		c.Hidden, c.Layers, c.QueryHeads, c.FFN = 5120, 64, 64, 25600
	case "30b-a3b":
		c.Arch = archQwen3MoE
		c.Hidden, c.Layers, c.QueryHeads, c.KVHeads, c.FFN = 2048, 48, 32, 4, 6144
	default:
		return Config{}, false
	}
	return c, true
}
