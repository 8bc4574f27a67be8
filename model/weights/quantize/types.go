// Package quantize turns a checkpoint into a GGUF file of another format, choosing each tensor's format as llama.cpp's
// llama-quantize does.
package quantize

import (
	"strings"

	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/tensor"
)

// TypeFor is the format that a tensor has in a model "of" the format f: what llama-quantize (llama_tensor_get_type_impl
// of llama-quant.cpp, without an importance matrix) gives a dense Qwen3 model. q4_k stands for Q4_K_M and q5_k for
// Q5_K_M.
//
// name is the tensor's, as GGUF files or as Hugging Face spell it; layer is its layer of layers, of no meaning for a
// tensor outside a layer; tied tells that the model has no output.weight and uses token_embd.weight instead. Norms and
// biases are F32. The choice does not look at the shape: see Fit.
func TypeFor(f tensor.Format, name string, layer, layers int, tied bool) tensor.Format {
	if gguf, ok := weights.GGUFName(name); ok {
		name = gguf
	}
	if !strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, "_norm.weight") {
		return tensor.F32
	}
	if !f.Quantized() {
		return f
	}
	stem := strings.TrimSuffix(name, ".weight")
	switch kind := stem[strings.LastIndexByte(stem, '.')+1:]; kind {
	case "token_embd", "output":
		if kind == "output" || tied {
			if f == tensor.Q8_0 {
				return f
			}
			return tensor.Q6_K
		}
	case "attn_v", "ffn_down":
		if (f == tensor.Q4_K || f == tensor.Q5_K) && moreBits(layer, layers) {
			return tensor.Q6_K
		}
	}
	return f
}

// moreBits picks the layers whose attn_v and ffn_down get Q6_K in Q4_K_M and Q5_K_M: the first and the last eighth, and
// every third between (use_more_bits of llama-quant.cpp).
func moreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// Fit is f where rows of cols values can have it, and otherwise what llama-quantize falls back to
// (tensor_type_fallback): a format of smaller blocks, or F16 if cols is not a multiple of 32 either.
func Fit(f tensor.Format, cols int) tensor.Format {
	if cols%f.Block() == 0 {
		return f
	}
	switch f {
	case tensor.Q4_K:
		f = tensor.Q5_0
	case tensor.Q5_K:
		f = tensor.Q5_1
	case tensor.Q6_K:
		f = tensor.Q8_0
	}
	if cols%f.Block() == 0 {
		return f
	}
	return tensor.F16
}
