package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// golden is one text of testdata/golden.json.
type golden struct {
	Text    string
	Small   []int32
	Qwen3   []int32
	Decoded string
	Skipped string
}

func goldens(t testing.TB) []golden {
	t.Helper()
	var cases []golden
	if err := json.Unmarshal(readFile(t, "testdata/golden.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 400 {
		t.Fatalf("only %d golden texts", len(cases))
	}
	return cases
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fromFile(t testing.TB, path string) *Tokenizer {
	t.Helper()
	tok, err := FromJSON(readFile(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func small(t testing.TB) *Tokenizer { return fromFile(t, "testdata/small.json") }

// qwen3Path returns the path of Qwen3's own tokenizer.json.
func qwen3Path(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("ULLM_TEST_QWEN3")
	if dir == "" {
		t.Skip("ULLM_TEST_QWEN3 is not set: the directory of Qwen3's tokenizer.json")
	}
	return filepath.Join(dir, "tokenizer.json")
}

func TestGoldenSmall(t *testing.T) {
	checkGoldens(t, small(t), func(g golden) []int32 { return g.Small })
}

func TestGoldenQwen3(t *testing.T) {
	tok := fromFile(t, qwen3Path(t))
	if tok.Size() != 151669 {
		t.Errorf("size %d", tok.Size())
	}
	checkGoldens(t, tok, func(g golden) []int32 { return g.Qwen3 })
}

func checkGoldens(t *testing.T, tok *Tokenizer, want func(golden) []int32) {
	for _, g := range goldens(t) {
		ids := tok.Encode(g.Text, true)
		if !slices.Equal(ids, want(g)) {
			t.Errorf("%q:\n got %v\nwant %v", g.Text, ids, want(g))
		}
		checkDecoded(t, tok, want(g), g.Decoded, g.Skipped)
	}
}

// checkDecoded checks Decode and Decoder on ids.
func checkDecoded(t *testing.T, tok *Tokenizer, ids []int32, kept, skipped string) {
	t.Helper()
	for _, skip := range []bool{false, true} {
		want := kept
		if skip {
			want = skipped
		}
		if got := tok.Decode(ids, skip); got != want {
			t.Errorf("decode %v, skip %v: %q, want %q", ids, skip, got, want)
		}
		if got := stream(tok, ids, skip); got != want {
			t.Errorf("decoder %v, skip %v: %q, want %q", ids, skip, got, want)
		}
	}
}

// stream decodes ids one by one.
func stream(tok *Tokenizer, ids []int32, skip bool) string {
	d := tok.NewDecoder(skip)
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(d.Push(id))
	}
	text.WriteString(d.Flush())
	return text.String()
}
