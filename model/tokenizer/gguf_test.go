package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// vocabOf returns what converters write into a GGUF file for a tokenizer.json: padding
// up to a multiple of 128, and control tokens by their looks.
func vocabOf(t testing.TB, tokenizerJSON []byte) Vocab {
	t.Helper()
	var spec struct {
		Added []addedTokenJSON `json:"added_tokens"`
		Model struct {
			Vocab  map[string]int32
			Merges [][2]string
		}
	}
	if err := json.Unmarshal(tokenizerJSON, &spec); err != nil {
		t.Fatal(err)
	}
	size := (len(spec.Model.Vocab) + len(spec.Added) + 127) / 128 * 128
	v := Vocab{Tokens: make([]string, size), Types: make([]int32, size), Pre: "qwen2"}
	for i := range v.Tokens {
		v.Tokens[i], v.Types[i] = fmt.Sprintf("[PAD%d]", i), 5
	}
	for s, id := range spec.Model.Vocab {
		v.Tokens[id], v.Types[id] = s, 1
	}
	for _, a := range spec.Added {
		v.Tokens[a.ID], v.Types[a.ID] = a.Content, 4
		if a.Special || strings.HasPrefix(a.Content, "<|") && strings.HasSuffix(a.Content, "|>") {
			v.Types[a.ID] = 3
		}
	}
	for _, m := range spec.Model.Merges {
		v.Merges = append(v.Merges, m[0]+" "+m[1])
	}
	return v
}

// same checks that two tokenizers behave alike.
func same(t *testing.T, a, b *Tokenizer) {
	t.Helper()
	if a.Size() != b.Size() {
		t.Fatalf("sizes %d and %d", a.Size(), b.Size())
	}
	for id := int32(-2); int(id) < a.Size()+300; id++ {
		s := a.TokenString(id)
		if s != b.TokenString(id) || string(a.TokenBytes(id)) != string(b.TokenBytes(id)) || a.IsSpecial(id) != b.IsSpecial(id) {
			t.Fatalf("token %d: %q and %q", id, s, b.TokenString(id))
		}
		for _, skip := range []bool{false, true} {
			if a.Decode([]int32{id}, skip) != b.Decode([]int32{id}, skip) {
				t.Fatalf("token %d decodes to %q and %q", id, a.Decode([]int32{id}, skip), b.Decode([]int32{id}, skip))
			}
		}
		if s == "" {
			continue
		}
		x, okX := a.ID(s)
		y, okY := b.ID(s)
		if x != id || y != id || !okX || !okY {
			t.Fatalf("token %q is %d and %d, not %d", s, x, y, id)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	texts := make([]string, 0, 3000)
	for _, g := range goldens(t) {
		texts = append(texts, g.Text)
	}
	for range 2000 {
		texts = append(texts, randomText(r), randomMarks(r))
	}
	for _, text := range texts {
		for _, special := range []bool{false, true} {
			if x, y := a.Encode(text, special), b.Encode(text, special); !slices.Equal(x, y) {
				t.Errorf("%+q, special %v: %v and %v", text, special, x, y)
			}
		}
	}
}

func TestGGUFSmall(t *testing.T) {
	data := readFile(t, "testdata/small.json")
	got, err := FromGGUF(vocabOf(t, data))
	if err != nil {
		t.Fatal(err)
	}
	same(t, small(t), got)
}

func TestGGUFQwen3(t *testing.T) {
	data := readFile(t, qwen3Path(t))
	want, err := FromJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromGGUF(vocabOf(t, data))
	if err != nil {
		t.Fatal(err)
	}
	same(t, want, got)
}

func TestGGUFErrors(t *testing.T) {
	letters := []string{"a", "b", "ab"}
	for _, c := range []struct {
		name string
		v    Vocab
		want string
	}{
		{"pre", Vocab{Tokens: letters, Pre: "default"}, `tokenizer.ggml.pre "default" is not supported`},
		{"types", Vocab{Tokens: letters, Types: []int32{1}, Pre: "qwen2"}, "1 token types for 3 tokens"},
		{"byte type", Vocab{Tokens: letters, Types: []int32{1, 6, 1}, Pre: "qwen2"}, "token 1 has type 6"},
		{"twice", Vocab{Tokens: []string{"a", "a"}, Pre: "qwen2"}, `token "a" has two ids, 1 and another`},
		{"empty", Vocab{Tokens: []string{"a", ""}, Pre: "qwen2"}, "token 1 is empty"},
		{"empty control", Vocab{Tokens: []string{"a", ""}, Types: []int32{1, 3}, Pre: "qwen2"}, "token 1 is empty"},
		{"merge of one", Vocab{Tokens: letters, Merges: []string{"ab"}, Pre: "qwen2"}, `merge 0 is "ab"`},
		{"merge of three", Vocab{Tokens: letters, Merges: []string{"a b", "a b c"}, Pre: "qwen2"}, `merge 1 is "a b c"`},
		{"merge of unknown", Vocab{Tokens: letters, Merges: []string{"a c"}, Pre: "qwen2"}, `merge 0 is of "c"`},
		{"merge to unknown", Vocab{Tokens: letters, Merges: []string{"a b", "b a"}, Pre: "qwen2"}, `merge 1 makes "ba"`},
		{"long", Vocab{Tokens: []string{strings.Repeat("x", 2000)}, Types: []int32{3}, Pre: "qwen2"}, "added token 0 has 2000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := FromGGUF(c.v)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: GGUF: ") {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := FromGGUF(Vocab{Tokens: letters, Merges: []string{"a b"}, Pre: "qwen2"}); err != nil {
		t.Error(err)
	}
}
