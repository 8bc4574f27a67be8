// Package convert describes a Hugging Face model directory as a GGUF file would: hyperparameters, tokenizer and chat
// template as metadata, with the keys that llama.cpp's convert_hf_to_gguf.py writes for Qwen3.
package convert

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/model/weights/quantize"
)

// FromHuggingFace makes the input of quantize.Quantize of a model directory: config.json, generation_config.json if it
// is there, tokenizer.json, a chat template and safetensors files. Whoever gets it closes its Tensors.
func FromHuggingFace(directory string) (quantize.Input, error) {
	f, err := files.Open(directory)
	if err != nil {
		return quantize.Input{}, err
	}
	config, template := f.Config, f.Template
	if err := f.Close(); err != nil {
		return quantize.Input{}, err
	}
	v, err := readVocabulary(directory, config.Vocab)
	if err != nil {
		return quantize.Input{}, fmt.Errorf("convert: %s: %w", directory, err)
	}
	name := directory
	if absolute, err := filepath.Abs(directory); err == nil {
		name = absolute
	}
	metadata := []weights.KV{
		{Key: "general.architecture", Value: model.ArchQwen3},
		{Key: "general.type", Value: "model"},
		{Key: "general.name", Value: filepath.Base(name)},
	}
	metadata = append(metadata, generationKeys(config.Generation)...)
	hyperparameters, err := configKeys(config)
	if err != nil {
		return quantize.Input{}, fmt.Errorf("convert: %s: %w", directory, err)
	}
	metadata = append(metadata, hyperparameters...)
	metadata = append(metadata, v.keys(config)...)
	if template != "" {
		metadata = append(metadata, weights.KV{Key: "tokenizer.chat_template", Value: template})
	}
	r, err := weights.OpenSafetensors(directory)
	if err != nil {
		return quantize.Input{}, err
	}
	return quantize.Input{Tensors: r, Metadata: metadata, Tied: config.TieEmbeddings}, nil
}

// configKeys are the hyperparameters.
func configKeys(c model.Config) ([]weights.KV, error) {
	var keys []weights.KV
	count := func(key string, n int) { keys = append(keys, weights.KV{Key: "qwen3." + key, Value: uint32(n)}) }
	number := func(key string, v float64) { keys = append(keys, weights.KV{Key: "qwen3." + key, Value: float32(v)}) }
	count("block_count", c.Layers)
	count("context_length", c.MaxPositions)
	count("embedding_length", c.Hidden)
	count("feed_forward_length", c.FFN)
	count("attention.head_count", c.QueryHeads)
	count("attention.head_count_kv", c.KVHeads)
	count("attention.key_length", c.HeadDim)
	count("attention.value_length", c.HeadDim)
	number("attention.layer_norm_rms_epsilon", c.NormEps)
	number("rope.freq_base", c.RopeTheta)

	r := c.Rope
	if r.MScale != 0 || r.MScaleAllDim != 0 || r.NoTruncate {
		return nil, errors.New("rope_scaling has mscale, mscale_all_dim or truncate, which GGUF cannot express; remove them or keep the directory")
	}
	switch r.Type {
	case model.RopeDefault:
		return keys, nil
	case model.RopeLinear, model.RopeYaRN:
	default:
		return nil, fmt.Errorf("rope_scaling of type %q cannot be stored in GGUF metadata; supported: default, linear, yarn", r.Type)
	}
	keys = append(keys, weights.KV{Key: "qwen3.rope.scaling.type", Value: string(r.Type)})
	number("rope.scaling.factor", r.Factor)
	if r.Type == model.RopeYaRN {
		count("rope.scaling.original_context_length", r.OriginalMaxPositions)
		for _, k := range []struct {
			key   string
			value float64
		}{{"attn_factor", r.AttentionFactor}, {"beta_fast", r.BetaFast}, {"beta_slow", r.BetaSlow}} {
			if k.value != 0 {
				number("rope.scaling.yarn_"+k.key, k.value)
			}
		}
	}
	return keys, nil
}

// generationKeys are the sampling defaults that generation_config.json gives.
func generationKeys(g model.Generation) []weights.KV {
	var keys []weights.KV
	if g.TopK != nil {
		keys = append(keys, weights.KV{Key: "general.sampling.top_k", Value: int32(*g.TopK)})
	}
	number := func(key string, v *float64) {
		if v != nil {
			keys = append(keys, weights.KV{Key: "general.sampling." + key, Value: float32(*v)})
		}
	}
	number("top_p", g.TopP)
	number("min_p", g.MinP)
	if greedy := 0.0; g.DoSample != nil && !*g.DoSample {
		number("temp", &greedy)
	} else {
		number("temp", g.Temperature)
	}
	number("penalty_repeat", g.RepetitionPenalty)
	return keys
}
