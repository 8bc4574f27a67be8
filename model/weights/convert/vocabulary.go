package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/weights"
)

// Token types of tokenizer.ggml.token_type.
const (
	tokenNormal      int32 = 1
	tokenControl     int32 = 3
	tokenUserDefined int32 = 4
	tokenUnused      int32 = 5
)

// qwenPattern is how Qwen's tokenizer.json cuts text into words: what GGUF calls the pre-tokenizer qwen2.
const qwenPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// vocabulary is a tokenizer in GGUF's terms.
type vocabulary struct {
	tokens  []string
	types   []int32
	merges  []string
	padding int // -1 if there is none
}

// tokenizerJSON is the part of tokenizer.json that GGUF can hold.
type tokenizerJSON struct {
	Model struct {
		Type   string            `json:"type"`
		Vocab  map[string]int    `json:"vocab"`
		Merges []json.RawMessage `json:"merges"` // "a b", or ["a", "b"]
	} `json:"model"`
	Added []struct {
		ID      int    `json:"id"`
		Content string `json:"content"`
		Special bool   `json:"special"`
	} `json:"added_tokens"`
	PreTokenizer json.RawMessage `json:"pre_tokenizer"`
}

// readVocabulary reads a directory's tokenizer as a vocabulary of the given size, which may exceed that of the
// tokenizer: matrices are padded.
func readVocabulary(directory string, size int) (*vocabulary, error) {
	var t tokenizerJSON
	if err := readJSON(filepath.Join(directory, "tokenizer.json"), &t); err != nil {
		return nil, err
	}
	if t.Model.Type != "BPE" || !hasPattern(t.PreTokenizer, qwenPattern) {
		return nil, errors.New("tokenizer.json is no byte-level BPE that cuts text as Qwen's does; only that can be stored in GGUF as qwen2")
	}
	v := &vocabulary{tokens: make([]string, size), types: make([]int32, size), padding: -1}
	set := func(id int, token string, kind int32) error {
		if id < 0 || id >= size {
			return fmt.Errorf("tokenizer.json: token %q has the id %d; config.json declares %d tokens", token, id, size)
		}
		v.tokens[id], v.types[id] = token, kind
		return nil
	}
	for id := range size {
		v.tokens[id], v.types[id] = fmt.Sprintf("[PAD%d]", id), tokenUnused
	}
	for token, id := range t.Model.Vocab {
		if err := set(id, token, tokenNormal); err != nil {
			return nil, err
		}
	}
	for _, a := range t.Added {
		kind := tokenUserDefined
		// As converters do: what looks special counts as such.
		if a.Special || strings.HasPrefix(a.Content, "<|") && strings.HasSuffix(a.Content, "|>") {
			kind = tokenControl
		}
		if err := set(a.ID, a.Content, kind); err != nil {
			return nil, err
		}
	}
	v.merges = make([]string, len(t.Model.Merges))
	for i, raw := range t.Model.Merges {
		var pair []string
		if json.Unmarshal(raw, &v.merges[i]) == nil {
			continue
		}
		if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
			return nil, fmt.Errorf("tokenizer.json: merge %d is %.100s; two tokens are expected", i, raw)
		}
		v.merges[i] = pair[0] + " " + pair[1]
	}
	if pad := paddingToken(directory); pad != "" {
		for id, token := range v.tokens {
			if token == pad {
				v.padding = id
			}
		}
	}
	return v, nil
}

// hasPattern looks for a Split by the pattern anywhere in a pre-tokenizer: it may stand in a Sequence.
func hasPattern(raw json.RawMessage, pattern string) bool {
	var p struct {
		Pattern       struct{ Regex string }
		Pretokenizers []json.RawMessage
	}
	if json.Unmarshal(raw, &p) != nil {
		return false
	}
	for _, inner := range p.Pretokenizers {
		if hasPattern(inner, pattern) {
			return true
		}
	}
	return p.Pattern.Regex == pattern
}

// paddingToken is tokenizer_config.json's pad_token, "" if there is none.
func paddingToken(directory string) string {
	var config struct {
		Pad json.RawMessage `json:"pad_token"`
	}
	if readJSON(filepath.Join(directory, "tokenizer_config.json"), &config) != nil {
		return ""
	}
	var text string
	var object struct{ Content string }
	if json.Unmarshal(config.Pad, &text) != nil && json.Unmarshal(config.Pad, &object) == nil {
		text = object.Content
	}
	return text
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		var pathError *fs.PathError
		if errors.As(err, &pathError) {
			err = pathError.Err
		}
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

// keys are the tokenizer's metadata. Of several tokens that end an answer GGUF names one; readers find <|im_end|> and
// <|endoftext|> by their text, and another one is called eot.
func (v *vocabulary) keys(c model.Config) []weights.KV {
	keys := []weights.KV{
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: "qwen2"},
		{Key: "tokenizer.ggml.tokens", Value: v.tokens},
		{Key: "tokenizer.ggml.token_type", Value: v.types},
		{Key: "tokenizer.ggml.merges", Value: v.merges},
	}
	if len(c.EOS) > 0 {
		keys = append(keys, weights.KV{Key: "tokenizer.ggml.eos_token_id", Value: uint32(c.EOS[0])})
	}
	if len(c.EOS) > 1 && v.tokens[c.EOS[1]] != "<|im_end|>" && v.tokens[c.EOS[1]] != "<|endoftext|>" {
		keys = append(keys, weights.KV{Key: "tokenizer.ggml.eot_token_id", Value: uint32(c.EOS[1])})
	}
	if v.padding >= 0 {
		keys = append(keys, weights.KV{Key: "tokenizer.ggml.padding_token_id", Value: uint32(v.padding)})
	}
	if c.BOS != model.NoToken {
		keys = append(keys, weights.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(c.BOS)})
	}
	return append(keys,
		weights.KV{Key: "tokenizer.ggml.add_bos_token", Value: false},
		weights.KV{Key: "tokenizer.ggml.add_eos_token", Value: false})
}
