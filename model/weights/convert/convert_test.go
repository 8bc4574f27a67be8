package convert

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/weights/quantize"
	"github.com/ullm/ullm/tensor"
)

const (
	configJSON = `{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": %d, "hidden_size": 32,
		"intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32,
		"hidden_act": "silu", "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "rope_theta": 1000000,
		"tie_word_embeddings": true, "torch_dtype": "bfloat16", "bos_token_id": %d, "eos_token_id": %d %s}`
	generationJSON = `{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [%d, %d]}`
)

// writeModel makes a directory with a model of one layer. Its weights are zeros, and lm_head.weight is there although
// the embeddings are tied, as in some checkpoints.
func writeModel(t *testing.T, tokenizer []byte, vocab, bos int, eos [2]int, extra string) string {
	t.Helper()
	directory := filepath.Join(t.TempDir(), "Tiny")
	if err := os.Mkdir(directory, 0o777); err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(directory, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("config.json", fmt.Appendf(nil, configJSON, vocab, bos, eos[0], extra))
	write("generation_config.json", fmt.Appendf(nil, generationJSON, eos[0], eos[1]))
	write("tokenizer.json", tokenizer)
	write("tokenizer_config.json", []byte(`{"pad_token": {"content": "<|endoftext|>"}, "chat_template": "{{ messages }}"}`))

	const layer = "model.layers.0."
	header, size := map[string]any{}, 0
	for name, shape := range map[string][]int{
		"model.embed_tokens.weight": {vocab, 32}, "lm_head.weight": {vocab, 32}, "model.norm.weight": {32},
		layer + "input_layernorm.weight": {32}, layer + "post_attention_layernorm.weight": {32},
		layer + "self_attn.q_proj.weight": {64, 32}, layer + "self_attn.k_proj.weight": {32, 32},
		layer + "self_attn.v_proj.weight": {32, 32}, layer + "self_attn.o_proj.weight": {32, 64},
		layer + "self_attn.q_norm.weight": {32}, layer + "self_attn.k_norm.weight": {32},
		layer + "mlp.gate_proj.weight": {64, 32}, layer + "mlp.up_proj.weight": {64, 32}, layer + "mlp.down_proj.weight": {32, 64},
	} {
		n := 2
		for _, d := range shape {
			n *= d
		}
		header[name] = map[string]any{"dtype": "BF16", "shape": shape, "data_offsets": []int{size, size + n}}
		size += n
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	write("model.safetensors", append(append(file, text...), make([]byte, size)...))
	return directory
}

// smallTokenizer has every byte, two merges in the two spellings, and special tokens.
func smallTokenizer(t *testing.T, pattern string) []byte {
	t.Helper()
	vocab := map[string]int{}
	for b := range 256 { // GPT-2's letters for bytes, of which the tests need the printable ones
		letter := rune(b)
		if b <= ' ' || b >= 0x7f && b <= 0xa0 || b == 0xad {
			letter = rune(0x100 + len(vocab) - shown(b))
		}
		vocab[string(letter)] = b
	}
	vocab["ab"], vocab["abc"] = 256, 257
	text, err := json.Marshal(map[string]any{
		"model":      map[string]any{"type": "BPE", "vocab": vocab, "merges": []any{"a b", []string{"ab", "c"}}},
		"normalizer": map[string]any{"type": "NFC"},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "pattern": map[string]any{"Regex": pattern}, "behavior": "Isolated", "invert": false},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
		}},
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
		"added_tokens": []any{
			map[string]any{"id": 258, "content": "<|endoftext|>", "special": true},
			map[string]any{"id": 259, "content": "<|im_end|>", "special": true},
			map[string]any{"id": 260, "content": "<think>", "special": false},
			map[string]any{"id": 261, "content": "<|fim_pad|>", "special": false},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// shown counts the bytes below b that stand for themselves in GPT-2's byte letters.
func shown(b int) int {
	n := 0
	for c := range b {
		if !(c <= ' ' || c >= 0x7f && c <= 0xa0 || c == 0xad) {
			n++
		}
	}
	return n
}

// checkConversion writes the model as GGUF and compares what opening the one and the other gives.
func checkConversion(t *testing.T, directory string, texts []string) {
	t.Helper()
	in, err := FromHuggingFace(directory)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Tensors.Close()
	out := filepath.Join(t.TempDir(), "out.gguf")
	if err := quantize.Quantize(t.Context(), in, out, tensor.Q8_0, nil); err != nil {
		t.Fatal(err)
	}
	want, err := files.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := files.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	want.Config.DType, want.Config.Generation.DoSample = "", nil // GGUF has no words for these
	if diff := cmp.Diff(want.Config, got.Config); diff != "" {
		t.Error(diff)
	}
	if got.Template != want.Template || got.Template == "" {
		t.Errorf("template %q, want %q", got.Template, want.Template)
	}
	if _, ok := got.Checkpoint.Lookup("lm_head.weight"); ok {
		t.Error("lm_head.weight is there although the embeddings are tied")
	}
	wantTokenizer, err := want.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	gotTokenizer, err := got.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		w, g := wantTokenizer.Encode(text, true), gotTokenizer.Encode(text, true)
		if diff := cmp.Diff(w, g); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if w, g := wantTokenizer.Decode(w, true), gotTokenizer.Decode(g, true); w != g {
			t.Errorf("%q came back as %q, want %q", text, g, w)
		}
	}
}

var texts = []string{"", "abc ab\ncab's 123", "<|endoftext|><think>ab<|im_end|><|fim_pad|>", "Grüße, 世界! 👩‍👩‍👧\t\n\n  x"}

func TestFromHuggingFace(t *testing.T) {
	tokenizer := smallTokenizer(t, qwenPattern)
	// 300 rows for 262 tokens: matrices are padded.
	for _, extra := range []string{
		"",
		`, "rope_scaling": {"rope_type": "linear", "factor": 2.0}`,
		`, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, "beta_fast": 16, "attention_factor": 1.25}`,
	} {
		checkConversion(t, writeModel(t, tokenizer, 300, 258, [2]int{259, 258}, extra), texts)
	}
}

// A second token that ends an answer, and that no reader finds by its text, is not lost.
func TestEndTokens(t *testing.T) {
	for second, want := range map[int]any{7: uint32(7), 258: nil} {
		in, err := FromHuggingFace(writeModel(t, smallTokenizer(t, qwenPattern), 262, 258, [2]int{257, second}, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Tensors.Close()
		var got any
		for _, kv := range in.Metadata {
			if kv.Key == "tokenizer.ggml.eot_token_id" {
				got = kv.Value
			}
		}
		if got != want {
			t.Errorf("with the second token %d eot is %v, want %v", second, got, want)
		}
	}
}

func TestRealTokenizer(t *testing.T) {
	qwen := os.Getenv("ULLM_TEST_QWEN3")
	if qwen == "" {
		t.Skip("ULLM_TEST_QWEN3 names no directory with Qwen3's tokenizer.json")
	}
	tokenizer, err := os.ReadFile(filepath.Join(qwen, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	checkConversion(t, writeModel(t, tokenizer, 151936, 151643, [2]int{151645, 151643}, ""), texts)
}

func TestRefusals(t *testing.T) {
	good := smallTokenizer(t, qwenPattern)
	eos := [2]int{259, 258}
	for want, directory := range map[string]string{
		"cuts text as Qwen's does":          writeModel(t, smallTokenizer(t, `\s+|\S+`), 300, 258, eos, ""),
		"unexpected end of JSON input":      writeModel(t, nil, 300, 258, eos, ""),
		`has the id 26`:                     writeModel(t, good, 260, 258, eos, ""),
		"truncate, which GGUF cannot":       writeModel(t, good, 300, 258, eos, `, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": false}`),
		`of type "llama3" cannot be stored`: writeModel(t, good, 300, 258, eos, `, "rope_scaling": {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}`),
	} {
		_, err := FromHuggingFace(directory)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "convert: "+directory) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := FromHuggingFace(t.TempDir()); err == nil {
		t.Error("an empty directory was taken")
	}
}
