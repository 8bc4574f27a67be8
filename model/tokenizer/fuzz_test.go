package tokenizer

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/text/unicode/norm"
)

// exercise uses a tokenizer in all ways and checks what holds for every one.
func exercise(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	for _, special := range []bool{false, true} {
		ids := tok.Encode(text, special)
		for _, id := range ids {
			if !tok.known(id) {
				t.Fatalf("%q: id %d does not exist", text, id)
			}
			if !special && tok.IsSpecial(id) && len(tok.TokenString(id)) > 2 {
				t.Fatalf("%q: special token %q", text, tok.TokenString(id))
			}
		}
		for _, skip := range []bool{false, true} {
			if whole, parts := tok.Decode(ids, skip), stream(tok, ids, skip); whole != parts || !utf8.ValidString(whole) {
				t.Fatalf("%q: %q, streamed %q", text, whole, parts)
			}
		}
		for _, limit := range []int{0, 1, len(ids) / 2, len(ids)} {
			got, ok := tok.EncodeLimited(text, special, limit)
			if ok != (len(ids) <= limit) || ok && !slices.Equal(got, ids) {
				t.Fatalf("%q: %d ids, limit %d: %v", text, len(ids), limit, ok)
			}
		}
	}
	for id := range int32(min(tok.Size(), 1000)) {
		tok.TokenBytes(id)
	}
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(tiny(nil)), "ab<e>a b")
	f.Add([]byte(tiny(map[string]string{"merges": `["a b"]`, "more": `"ignore_merges":true`})), "ab aab")
	f.Add([]byte(tiny(map[string]string{"added_tokens": `[{"id":3,"content":"<e>","single_word":true,"lstrip":true,"rstrip":true,"normalized":true},{"id":4,"content":" ","rstrip":true}]`})), "a <e>  <e>b")
	f.Add([]byte(tiny(map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\p{L}+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":true,"use_regex":false}]}`})), "ab1 ba")
	f.Add([]byte(tiny(map[string]string{"post_processor": `{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[1]}}}`})), "")
	f.Add(readFile(f, "testdata/small.json"), "<|im_start|>user\ne\u0301<|im_end|>")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := FromJSON(data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "tokenizer: ") {
				t.Fatal(err)
			}
			return
		}
		if tok.Size() > 9*len(data)+1<<17 {
			t.Fatalf("%d tokens from %d bytes", tok.Size(), len(data))
		}
		for _, s := range tok.splitters {
			if _, foreign := s.(patternSplitter); foreign && len(text) > 16 {
				text = text[:16] // may backtrack for long
			}
		}
		exercise(t, tok, text)
		tok.AddSpecial(nil)
	})
}

func FuzzFromGGUF(f *testing.F) {
	f.Add("a\nb\nab\n<|x|>\n[PAD4]", []byte{1, 1, 1, 3, 5}, "a b", "qwen2", "ab<|x|>b")
	f.Add("a\nb\nab\nĠ", []byte{}, "a b\nĠ ab", "gpt-2", "ab ab")
	f.Add("a\nb\nab\nabab", []byte{1, 4, 1, 3}, "a b\nab ab", "llama-bpe", "abab")
	f.Fuzz(func(t *testing.T, tokens string, types []byte, merges, pre, text string) {
		v := Vocab{Tokens: strings.Split(tokens, "\n"), Pre: pre}
		for _, k := range types {
			v.Types = append(v.Types, int32(int8(k)))
		}
		if merges != "" {
			v.Merges = strings.Split(merges, "\n")
		}
		tok, err := FromGGUF(v)
		if err != nil {
			return
		}
		exercise(t, tok, text)
	})
}

func FuzzEncodeDecode(f *testing.F) {
	tok := small(f)
	for _, g := range goldens(f) {
		f.Add(g.Text)
	}
	f.Add("a\xffb\xf0\x9f\x98")
	f.Fuzz(func(t *testing.T, text string) {
		exercise(t, tok, text)
		want := nfc(validText(text))
		if got := tok.Decode(tok.Encode(text, false), true); got != want {
			t.Errorf("%+q: came back as %+q", text, got)
		}
		if got := nfc(tok.Decode(tok.Encode(text, true), false)); got != want {
			t.Errorf("%+q: came back as %+q, parsed", text, got)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	tok := small(f)
	f.Add([]byte{0, 1, 2, 200, 255}, true)
	f.Add([]byte{172, 253, 246, 222, 120, 1, 5}, false)
	f.Fuzz(func(t *testing.T, data []byte, skip bool) {
		var ids []int32
		for i, b := range data {
			if i%4 == 3 {
				ids = append(ids, int32(tok.Size())-int32(b)/4)
			} else {
				ids = append(ids, int32(b))
			}
		}
		d := tok.NewDecoder(skip)
		var got strings.Builder
		for _, id := range ids {
			s := d.Push(id)
			if !utf8.ValidString(s) {
				t.Fatalf("%v: %q", ids, s)
			}
			got.WriteString(s)
			if len(d.pending) >= utf8.UTFMax {
				t.Fatalf("%v: %d bytes held back", ids, len(d.pending))
			}
		}
		got.WriteString(d.Flush())
		if want := tok.Decode(ids, skip); got.String() != want {
			t.Errorf("%v: %q, want %q", ids, got.String(), want)
		}
	})
}

// FuzzNFC compares with x/text where that has the same tables and no limit.
func FuzzNFC(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = validText(text)
		got := nfc(text)
		if again := nfc(got); again != got {
			t.Errorf("%+q: %+q, then %+q", text, got, again)
		}
		marks := 0
		for _, r := range text {
			p := norm.NFD.PropertiesString(string(r))
			newer := p.CCC() != 0 && classOf(r)&mark == 0 || p.Decomposition() != nil && classOf(r)&decomposes == 0 ||
				!norm.NFC.IsNormalString(string(r)) && classOf(r)&unstable == 0 || r == 0x11930 // composes since Unicode 13
			if newer {
				return
			}
			if classOf(r)&unstable != 0 {
				marks++
			}
		}
		if marks < 10 && got != norm.NFC.String(text) {
			t.Errorf("%+q: %+q, x/text %+q", text, got, norm.NFC.String(text))
		}
	})
}

// FuzzScan compares the hand-written scanners with their patterns.
func FuzzScan(f *testing.F) {
	patterns := []string{qwenPattern, llamaPattern, gpt2Pattern}
	engines := make([]*regexp2.Regexp, len(patterns))
	for i, p := range patterns {
		engines[i] = regexp2.MustCompile(p)
	}
	for _, g := range goldens(f) {
		f.Add(g.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = validText(text)
		for _, r := range text { // letters that only one of them knows
			k := classOf(r)
			if unicode.IsLetter(r) != (k&letter != 0) || unicode.IsNumber(r) != (k&number != 0) {
				return
			}
		}
		for i, p := range patterns {
			var got, want []string
			s, err := newSplitter(p)
			if err != nil {
				t.Fatal(err)
			}
			s.split(text, func(w string) bool { got = append(got, w); return true })
			patternSplitter{engines[i]}.split(text, func(w string) bool { want = append(want, w); return true })
			if !slices.Equal(got, want) {
				t.Errorf("%+q by %s:\n got %+q\nwant %+q", text, p, got, want)
			}
		}
	})
}
