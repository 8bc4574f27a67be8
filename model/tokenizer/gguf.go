package tokenizer

import (
	"bytes"
	"fmt"
)

// Vocab is the tokenizer of a GGUF file: what its tokenizer.ggml.* keys hold.
type Vocab struct {
	Tokens []string // tokens: by id
	Types  []int32  // token_type: of each token; none at all if all are normal
	Merges []string // merges: "a b", best first
	Pre    string   // pre: the name of the pre-tokenizer
}

// GGUF's token types.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
)

// setPre sets what tokenizer.ggml.pre stands for: what the tokenizer.json of the same
// models says.
func (m *model) setPre(pre string) error {
	pattern := ""
	switch pre {
	case "qwen2":
		pattern, m.normalize = qwenPattern, true
	case "gpt-2":
		pattern = gpt2Pattern
	case "llama-bpe":
		pattern, m.ignoreMerges = llamaPattern, true
	default:
		return fmt.Errorf("tokenizer.ggml.pre %q is not supported, only qwen2, gpt-2 and llama-bpe", pre)
	}
	split, err := newSplitter(pattern)
	m.splitters = []splitter{split}
	return err
}

// looksSpecial says of a token that Qwen's tokenizer.json does not call it special,
// although it looks it, so that converters to GGUF mark it as a control token.
func looksSpecial(token string) bool {
	switch token {
	case "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>":
		return true
	}
	return false
}

// FromGGUF makes the tokenizer of a GGUF file whose tokenizer.ggml.model is "gpt2". It
// behaves as the tokenizer.json that the file was made from: so text is normalized for
// "qwen2", which llama.cpp does not do. Control and user-defined tokens are added
// tokens, the former special. Unused ones (padding up to the size of a matrix) do not
// exist.
func FromGGUF(v Vocab) (*Tokenizer, error) {
	t, err := fromGGUF(v)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: GGUF: %w", err)
	}
	return t, nil
}

func fromGGUF(v Vocab) (*Tokenizer, error) {
	if len(v.Types) != 0 && len(v.Types) != len(v.Tokens) {
		return nil, fmt.Errorf("%d token types for %d tokens", len(v.Types), len(v.Tokens))
	}
	if len(v.Tokens) > maxTokens {
		return nil, fmt.Errorf("%d tokens, more than %d", len(v.Tokens), maxTokens)
	}
	m := &model{
		tokens: make([]string, 0, len(v.Tokens)),
		ids:    make(map[string]int32, len(v.Tokens)),
		merges: make([]merge, 0, len(v.Merges)),
	}
	if err := m.setPre(v.Pre); err != nil {
		return nil, err
	}
	for i, token := range v.Tokens {
		token = validText(token)
		id, kind := int32(i), int32(typeNormal)
		if len(v.Types) != 0 {
			kind = v.Types[i]
		}
		switch kind {
		case typeUnused:
			continue
		case typeNormal:
		case typeControl, typeUnknown, typeUserDefined:
			special := kind != typeUserDefined && !(v.Pre == "qwen2" && looksSpecial(token))
			m.added = append(m.added, addedToken{id: id, content: token, special: special})
		default:
			return nil, fmt.Errorf("token %d has type %d, which is not supported", i, kind)
		}
		if token == "" {
			return nil, fmt.Errorf("token %d is empty", i)
		}
		if err := m.place(token, id); err != nil {
			return nil, err
		}
	}
	var whole []byte
	for i, s := range v.Merges {
		left, right, err := cutMerge([]byte(s), i)
		if err != nil {
			return nil, err
		}
		if err := m.merge(left, right, &whole); err != nil {
			return nil, err
		}
	}
	return m.build()
}

// cutMerge cuts the i-th merge, "a b".
func cutMerge(s []byte, i int) (left, right []byte, err error) {
	left, right, ok := bytes.Cut(s, []byte(" "))
	if !ok || len(left) == 0 || len(right) == 0 || bytes.IndexByte(right, ' ') >= 0 {
		return nil, nil, fmt.Errorf("merge %d is %q, not two tokens with a space between", i, s)
	}
	return left, right, nil
}
