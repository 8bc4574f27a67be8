package tokenizer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// answer is what testdata/oracle.py says of a text.
type answer struct {
	IDs     []int32
	Kept    string
	Skipped string
}

// ask runs texts, and then ids, through Hugging Face's tokenizers package.
func ask(t *testing.T, tokenizerJSON string, texts []string, ids [][]int32) []answer {
	t.Helper()
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("ULLM_TEST_PYTHON is not set: a python with the tokenizers package")
	}
	var in bytes.Buffer
	for _, s := range texts {
		fmt.Fprintln(&in, base64.StdEncoding.EncodeToString([]byte(s)))
	}
	for _, list := range ids {
		fmt.Fprintln(&in, "!"+strings.ReplaceAll(strings.Trim(fmt.Sprint(list), "[]"), " ", ","))
	}
	cmd := exec.Command(python, "testdata/oracle.py", tokenizerJSON)
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var answers []answer
	lines := bufio.NewReader(bytes.NewReader(out))
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(texts)+len(ids) {
		t.Fatalf("%d answers to %d questions", len(answers), len(texts)+len(ids))
	}
	return answers
}

// compare checks tok against Hugging Face's reading of the same file.
func compare(t *testing.T, tok *Tokenizer, tokenizerJSON string, texts []string, ids [][]int32) {
	t.Helper()
	answers := ask(t, tokenizerJSON, texts, ids)
	wrong := 0
	for i, a := range answers {
		if i < len(texts) {
			if got := tok.Encode(texts[i], true); !slices.Equal(got, a.IDs) {
				if wrong++; wrong <= 20 {
					t.Errorf("%+.300q:\n got %.300s\nwant %.300s", texts[i], fmt.Sprint(got), fmt.Sprint(a.IDs))
				}
			}
		}
		checkDecoded(t, tok, a.IDs, a.Kept, a.Skipped)
	}
	t.Logf("%d of %d texts differ", wrong, len(texts))
}

// alphabets are what random texts are made of.
var alphabets = [][2]rune{
	{0, 0x7F}, {' ', '~'}, {'a', 'z'}, {0x80, 0x24F}, {0x300, 0x36F}, {0x370, 0x52F}, {0x590, 0x6FF}, {0x700, 0x8FF},
	{0x900, 0xDFF}, {0xE00, 0xFFF}, {0x1000, 0x1200}, {0x1100, 0x11FF}, {0x1A80, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x1E00, 0x1FFF},
	{0x2000, 0x206F}, {0x20D0, 0x214F}, {0x2150, 0x218F}, {0x2460, 0x24FF}, {0x3000, 0x30FF}, {0x4E00, 0x4E80}, {0xA960, 0xAFFF},
	{0xAC00, 0xAC80}, {0xD7B0, 0xD7FF}, {0xF900, 0xFFFF}, {0x10000, 0x11FFF}, {0x1D100, 0x1D1FF}, {0x1D400, 0x1D7FF},
	{0x1E000, 0x1EEFF}, {0x1F000, 0x1FAFF}, {0x2F800, 0x2FA1F}, {0xE0000, 0xE01FF}, {0, 0x10FFFF},
}

var fragments = []string{
	" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2028", "\u3000", "'s", "'S", "'ſ", "'re", "'VE", "'ll", "'", "\"", "1", "23", "½", "٣", "a", "the", "Hello", " world", "é", "e\u0301",
	"\u0323", "\u0301", "\u0345", "\u200d", "\ufe0f", "\u1161", "\u11a8", "\uac00", "\u1100", "\u093c", "\u3099", "\u09be", "漢", "😀", "👍🏽", "...", "!", "{", "}", "_", "-", "=", "<", ">", "|",
	"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>", "<tool_call>", "<|im_", "end|>", "<|fim_pad|>",
}

// randomText returns a text of fragments and of runs from a few alphabets.
func randomText(r *rand.Rand) string {
	var s strings.Builder
	for range 1 + r.IntN(12) {
		if r.IntN(3) > 0 {
			for range 1 + r.IntN(3) {
				s.WriteString(fragments[r.IntN(len(fragments))])
			}
			continue
		}
		a := alphabets[r.IntN(len(alphabets))]
		for range 1 + r.IntN(8) {
			s.WriteRune(a[0] + r.Int32N(a[1]-a[0]+1))
		}
	}
	return s.String()
}

// randomMarks returns a text in which nearly everything composes or is reordered.
func randomMarks(r *rand.Rand) string {
	var active []rune
	for _, a := range alphabets[4 : len(alphabets)-1] {
		for range 4 {
			active = append(active, a[0]+r.Int32N(a[1]-a[0]+1))
		}
	}
	active = append(active, []rune("aeiouAEIOUsScCdD\u0300\u0301\u0323\u0327\u0345\u0334\u1100\u1161\u11a8\uac00\u0f71\u0f72\u0344")...)
	s := make([]rune, 1+r.IntN(30))
	for i := range s {
		s[i] = active[r.IntN(len(active))]
	}
	return string(s)
}

// randomBytes returns bytes that look like UTF-8 for stretches.
func randomBytes(r *rand.Rand) string {
	b := []byte(randomText(r))
	for range 1 + r.IntN(6) {
		switch i := r.IntN(len(b)); r.IntN(3) {
		case 0:
			b[i] = byte(r.Uint32())
		case 1:
			b = slices.Delete(b, i, i+1)
		default:
			lead := []byte{0x80, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF, 0xA0, 0x9F, 0x90}
			b = slices.Insert(b, i, lead[r.IntN(len(lead))])
		}
		if len(b) == 0 {
			b = []byte{0xC0}
		}
	}
	return string(b)
}

// hardTexts returns the golden texts, n random ones, and repetitions, up to longest.
func hardTexts(t *testing.T, n, longest int) []string {
	var texts []string
	for _, g := range goldens(t) {
		texts = append(texts, g.Text)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range n / 2 {
		texts = append(texts, randomText(r))
	}
	for range n / 4 {
		texts = append(texts, randomMarks(r), randomBytes(r))
	}
	for _, unit := range []string{"a", " ", "\n", "\r\n", ".", "0", "é", "漢", "e\u0301", "\u0301", "😀", "ab", "'s", " a", "\t ", "\u2028 ", "<", "<|im_end|>", "\xff", "\u1100\u1161", "𝟘", "!\n"} {
		for _, count := range []int{31, 47, 48, 49, longest} {
			texts = append(texts, strings.Repeat(unit, count), strings.Repeat(unit, count)+"x", "x"+strings.Repeat(unit, count))
		}
	}
	return texts
}

// everyCharacter returns texts with each code point between others of several kinds; of
// the planes without characters and the private ones, some.
func everyCharacter() []string {
	var texts []string
	var s strings.Builder
	for r := rune(0); r <= 0x10FFFF; r++ {
		if r >= 0xD800 && r < 0xE000 || r >= 0x33480 && r%97 != 0 && r>>12 != 0xE0 {
			continue
		}
		fmt.Fprintf(&s, "%cb %c1%c\n%c ", r, r, r, r)
		if s.Len() > 1<<14 {
			texts = append(texts, s.String())
			s.Reset()
		}
	}
	return append(texts, s.String())
}

// randomIDs returns lists of ids, some of which do not exist.
func randomIDs(size, n int) [][]int32 {
	r := rand.New(rand.NewPCG(3, 4))
	lists := make([][]int32, n)
	for i := range lists {
		for range 1 + r.IntN(20) {
			id := r.Int32N(256) // single bytes, mostly
			switch r.IntN(4) {
			case 0:
				id = r.Int32N(int32(size))
			case 1:
				id = int32(size) - r.Int32N(40) + 5
			}
			lists[i] = append(lists[i], id)
		}
	}
	return lists
}

func TestHuggingFaceQwen3(t *testing.T) {
	path := qwen3Path(t)
	tok := fromFile(t, path)
	compare(t, tok, path, append(hardTexts(t, 8000, 5000), everyCharacter()...), randomIDs(tok.Size(), 2000))
}

func TestHuggingFaceSmall(t *testing.T) {
	tok := small(t)
	compare(t, tok, "testdata/small.json", hardTexts(t, 4000, 5000), randomIDs(tok.Size(), 1000))
}

// TestHuggingFaceVariants compares tokenizers that differ from Qwen3's in one way each.
func TestHuggingFaceVariants(t *testing.T) {
	type object = map[string]any
	added := func(flags ...string) func(object) {
		return func(spec object) {
			for _, a := range spec["added_tokens"].([]any) {
				for _, flag := range flags {
					a.(object)[flag] = true
				}
			}
		}
	}
	pretokenizer := func(pattern string) func(object) {
		return func(spec object) {
			split := object{"type": "Split", "pattern": object{"Regex": pattern}, "behavior": "Isolated", "invert": false}
			bytes := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}
			spec["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []any{split, bytes}}
		}
	}
	more := func(tokens ...object) func(object) {
		return func(spec object) {
			list := spec["added_tokens"].([]any)
			vocab := spec["model"].(object)["vocab"].(object)
			next := len(vocab) + len(list)
			for _, tok := range tokens {
				id, ok := vocab[tok["content"].(string)]
				if !ok {
					id = next
					next++
				}
				full := object{"id": id, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}
				for k, v := range tok {
					full[k] = v
				}
				list = append(list, full)
			}
			spec["added_tokens"] = list
		}
	}
	variants := map[string]func(object){
		"lstrip":          added("lstrip"),
		"rstrip":          added("rstrip"),
		"both strips":     added("lstrip", "rstrip"),
		"single word":     added("single_word"),
		"normalized":      added("normalized"),
		"normalized word": added("normalized", "single_word", "rstrip"),
		"ignore merges":   func(spec object) { spec["model"].(object)["ignore_merges"] = true },
		"no added tokens": func(spec object) { spec["added_tokens"] = []any{} },
		"no normalizer":   func(spec object) { spec["normalizer"] = nil },
		"merge strings": func(spec object) {
			merges := spec["model"].(object)["merges"].([]any)
			for i, m := range merges {
				merges[i] = m.([]any)[0].(string) + " " + m.([]any)[1].(string)
			}
		},
		"llama": pretokenizer(llamaPattern),
		"gpt2":  pretokenizer(gpt2Pattern),
		"byte level": func(spec object) {
			spec["pre_tokenizer"] = object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
		},
		"prefix space": func(spec object) {
			spec["pre_tokenizer"] = object{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true}
		},
		"unknown pattern": pretokenizer(`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}\p{Lo}]+(?i:'s|'t)?|\p{N}{2}(?!x)| ?[^\s\p{L}\p{N}]+|[\r\n]+`),
		"nested tokens":   more(object{"content": "<|im"}, object{"content": "<|im_end|>>"}, object{"content": "a"}, object{"content": "the", "single_word": true}, object{"content": " "}, object{"content": "\n", "rstrip": true}),
		"token with mark": more(object{"content": "e\u0301", "normalized": true, "special": true}, object{"content": "\u1100\u1161"}, object{"content": "é", "special": true}, object{"content": "Ģ"}, object{"content": "漢", "lstrip": true}),
		"missing bytes": func(spec object) {
			m := spec["model"].(object)
			vocab := m["vocab"].(object)
			for b, r := range byteChars() {
				if b >= 0xE1 {
					delete(vocab, string(r))
				}
			}
			// what is left gets new ids, and only merges that can still be made stay
			names := make([]string, 0, len(vocab))
			for name := range vocab {
				names = append(names, name)
			}
			slices.Sort(names)
			for i, name := range names {
				vocab[name] = i
			}
			m["merges"] = slices.DeleteFunc(m["merges"].([]any), func(pair any) bool {
				_, left := vocab[pair.([]any)[0].(string)]
				_, right := vocab[pair.([]any)[1].(string)]
				return !left || !right
			})
			for i, a := range spec["added_tokens"].([]any) {
				a.(object)["id"] = len(vocab) + i
			}
		},
	}
	texts := hardTexts(t, 1000, 200)
	for name, change := range variants {
		t.Run(name, func(t *testing.T) {
			var spec object
			if err := json.Unmarshal(readFile(t, "testdata/small.json"), &spec); err != nil {
				t.Fatal(err)
			}
			change(spec)
			b, err := json.Marshal(spec)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "tokenizer.json")
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			tok := fromFile(t, path)
			compare(t, tok, path, texts, randomIDs(tok.Size(), 200))
		})
	}
}
