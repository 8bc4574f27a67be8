package weights

import (
	"strconv"
	"strings"
)

// The names of a dense Qwen3 model's tensors, as Hugging Face and as GGUF files spell them. Names within a layer lack
// the prefixes model.layers.N. and blk.N. (the N is the same), and all end in .weight or .bias.
var (
	modelNames = [][2]string{
		{"model.embed_tokens", "token_embd"},
		{"model.norm", "output_norm"},
		{"lm_head", "output"},
	}
	layerNames = [][2]string{
		{"input_layernorm", "attn_norm"},
		{"self_attn.q_proj", "attn_q"},
		{"self_attn.k_proj", "attn_k"},
		{"self_attn.v_proj", "attn_v"},
		{"self_attn.o_proj", "attn_output"},
		{"self_attn.q_norm", "attn_q_norm"},
		{"self_attn.k_norm", "attn_k_norm"},
		{"post_attention_layernorm", "ffn_norm"},
		{"mlp.gate_proj", "ffn_gate"},
		{"mlp.up_proj", "ffn_up"},
		{"mlp.down_proj", "ffn_down"},
	}
)

// GGUFName translates the Hugging Face name of a dense Qwen3 model's tensor to that in a GGUF file; ok is false for
// a name that is none.
func GGUFName(huggingFace string) (name string, ok bool) {
	return translate(huggingFace, 0, 1, "model.layers.", "blk.")
}

// HuggingFaceName undoes GGUFName.
func HuggingFaceName(gguf string) (name string, ok bool) {
	return translate(gguf, 1, 0, "blk.", "model.layers.")
}

func translate(name string, from, to int, prefix, newPrefix string) (string, bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || name[dot:] != ".weight" && name[dot:] != ".bias" {
		return "", false
	}
	stem, suffix := name[:dot], name[dot:]
	table := modelNames
	if rest, ok := strings.CutPrefix(stem, prefix); ok {
		layer, part, _ := strings.Cut(rest, ".")
		if n, err := strconv.ParseUint(layer, 10, 31); err != nil || strconv.FormatUint(n, 10) != layer {
			return "", false
		}
		table, stem, newPrefix = layerNames, part, newPrefix+layer+"."
	} else {
		newPrefix = ""
	}
	for _, names := range table {
		if names[from] == stem {
			return newPrefix + names[to] + suffix, true
		}
	}
	return "", false
}
