package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// tiny is a tokenizer.json with a place for each part: fill replaces parts by name.
func tiny(fill map[string]string) string {
	parts := map[string]string{
		"version":        `"1.0"`,
		"added_tokens":   `[{"id":3,"content":"<e>","special":true,"normalized":false}]`,
		"normalizer":     `{"type":"NFC"}`,
		"pre_tokenizer":  `{"type":"ByteLevel","add_prefix_space":false,"use_regex":true}`,
		"post_processor": `null`,
		"decoder":        `{"type":"ByteLevel"}`,
		"type":           `"BPE"`,
		"vocab":          `{"a":0,"b":1,"ab":2}`,
		"merges":         `[["a","b"]]`,
		"more":           `"x":0`, // of the model
	}
	for name, value := range fill {
		if _, ok := parts[name]; !ok {
			panic(name)
		}
		parts[name] = value
	}
	model := fmt.Sprintf(`{"type":%s,%s,"vocab":%s,"merges":%s}`, parts["type"], parts["more"], parts["vocab"], parts["merges"])
	var s strings.Builder
	for _, name := range []string{"version", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"} {
		fmt.Fprintf(&s, "%q:%s,", name, parts[name])
	}
	return "{" + s.String() + `"model":` + model + "}"
}

func TestFromJSONErrors(t *testing.T) {
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, c := range []struct{ part, value, want string }{
		{"version", `"2.0"`, `version: version "2.0" is not supported`},
		{"normalizer", `{"type":"NFKC"}`, `normalizer: type "NFKC" is not supported`},
		{"normalizer", `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Lowercase"}]}`, `normalizer: type "Lowercase"`},
		{"pre_tokenizer", `null`, `pre_tokenizer: ByteLevel is missing`},
		{"pre_tokenizer", `{"type":"Metaspace"}`, `pre_tokenizer: type "Metaspace"`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]}`, `pre_tokenizer: type ByteLevel is supported only as the last`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"a"},"behavior":"Removed","invert":true},{"type":"ByteLevel"}]}`, `behavior "Removed" with invert true`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"a"},"behavior":"Isolated"},{"type":"ByteLevel"}]}`, `only a pattern of kind Regex`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"\\w+$"},"behavior":"Isolated"},{"type":"ByteLevel"}]}`, `pattern "\\w+$": \w is not supported`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"^a"},"behavior":"Isolated"},{"type":"ByteLevel"}]}`, `^ is not supported`},
		{"pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"},{"type":"ByteLevel"}]}`, `pattern "(a": `},
		{"post_processor", `{"type":"RobertaProcessing"}`, `post_processor: type "RobertaProcessing"`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}]}`, `special token "x" is not defined`},
		{"post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"special_tokens":{"x":{"ids":[99]}}}`, `has id 99, which does not exist`},
		{"post_processor", `{"type":"TemplateProcessing","single":[]}`, `the text comes 0 times`},
		{"decoder", `null`, `decoder: only ByteLevel`},
		{"decoder", `{"type":"WordPiece"}`, `decoder: only ByteLevel`},
		{"type", `"Unigram"`, `model: type "Unigram" is not supported`},
		{"more", `"dropout":0.1`, `dropout`},
		{"more", `"continuing_subword_prefix":"##"`, `continuing_subword_prefix`},
		{"more", `"end_of_word_suffix":"</w>"`, `end_of_word_suffix`},
		{"more", `"unk_token":"a"`, `the vocabulary lacks 241 of the 256 bytes`},
		{"more", `"byte_fallback":true`, `byte_fallback`},
		{"more", `"merges":[]`, `"merges" comes twice`},
		{"vocab", `{"a":0,"b":1}`, `merge 0 makes "ab", which is not in the vocabulary`},
		{"vocab", `{"a":0,"ab":1}`, `merge 0 is of "b"`},
		{"vocab", `{"a":0,"b":0,"ab":1}`, `tokens "a" and "b" have the same id 0`},
		{"vocab", `{"a":0,"a":1}`, `token "a" has two ids`},
		{"vocab", `{"a":0,"":1}`, `token 1 is empty`},
		{"vocab", `{"a":-1}`, `a token id should be here`},
		{"vocab", `{"a":1.5}`, `model: vocab: byte`},
		{"vocab", `{"a":01}`, `a token id should be here`},
		{"vocab", `{"a":"0"}`, `a token id should be here`},
		{"vocab", `{"a":4194304}`, `a token id of more than 4194303`},
		{"vocab", `{"a":99999999999999999999999}`, `a token id of more than 4194303`},
		{"vocab", `{"a":4194303}`, `1 tokens with ids up to 4194303: too sparse`},
		{"vocab", `["a"]`, `vocab: byte`},
		{"vocab", `{"\ud83d":0}`, `half a surrogate pair`},
		{"vocab", `{"\ud83d\u0041":0}`, `half a surrogate pair`},
		{"vocab", `{"\ude00":0}`, `half a surrogate pair`},
		{"vocab", `{"\u00g0":0}`, `a broken \u escape`},
		{"vocab", `{"\x":0}`, `unknown escape \x`},
		{"vocab", "{\"a\xff\":0}", `not UTF-8`},
		{"vocab", "{\"a\n\":0}", `control character 0x0a`},
		{"vocab", `{"a":0,}`, `found '}' where '"' should be`},
		{"vocab", `{"a" 0}`, `found '0' where ':' should be`},
		{"merges", `["a b c"]`, `merge 0 is "a b c"`},
		{"merges", `["ab"]`, `merge 0 is "ab"`},
		{"merges", `[["a","b","c"]]`, `merge 0 has more than two parts`},
		{"merges", `[["a"]]`, `merge 0 has fewer than two parts`},
		{"merges", `[["a","b"] ["a","b"]]`, `found '[' where ',' should be`},
		{"merges", `[1]`, `merges: byte`},
		{"added_tokens", `[{"id":5,"content":"<e>"}]`, `token "<e>" has id 5 where Hugging Face gives it 3`},
		{"added_tokens", `[{"id":3,"content":"a"}]`, `token "a" has id 3 where Hugging Face gives it 0`},
		{"added_tokens", `[{"id":3,"content":"x"},{"id":3,"content":"x","special":true}]`, `token "x" comes twice`},
		{"added_tokens", `[{"id":3,"content":"é","normalized":true},{"id":4,"content":"e\u0301","normalized":true}]`, `after normalization`},
		{"added_tokens", `[{"id":3,"content":"` + strings.Repeat("x", 2000) + `"}]`, `has 2000 bytes`},
		{"added_tokens", `{}`, `added_tokens: json`},
		{"added_tokens", deep, `nested deeper than 64`},
		{"post_processor", `[}`, `unexpected '}'`},
		{"post_processor", `{"type":tru}`, `post_processor: invalid`},
	} {
		_, err := FromJSON([]byte(tiny(map[string]string{c.part: c.value})))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "tokenizer: tokenizer.json: ") {
			t.Errorf("%s %.80s:\n got %v\nwant %s", c.part, c.value, err, c.want)
		}
	}

	whole := tiny(nil)
	if _, err := FromJSON([]byte(whole)); err != nil {
		t.Error(err)
	}
	for i := range len(whole) {
		if _, err := FromJSON([]byte(whole[:i])); err == nil {
			t.Errorf("%d of %d bytes are enough", i, len(whole))
		}
	}
	if _, err := FromJSON([]byte(whole + "x")); err == nil {
		t.Error("what follows does not matter")
	}
	if _, err := FromJSON([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), "vocab or merges are missing") {
		t.Error(err)
	}
}

func TestFromJSONForms(t *testing.T) {
	want := []int32{2, 3, 0}
	for name, fill := range map[string]map[string]string{
		"plain":         {},
		"merge strings": {"merges": `["a b"]`},
		"escapes":       {"vocab": `{"\u0061":0,"\u0062":1,"a\u0062":2}`, "merges": `[["\u0061","b"]]`},
		"white space":   {"vocab": " {\n\t\"a\" : 0 ,\r\n \"b\":1, \"ab\" :2 } "},
		"sequences": {
			"normalizer":    `{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Sequence","normalizers":[]}]}`,
			"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"}]}]}`,
			"decoder":       `{"type":"Sequence","decoders":[{"type":"ByteLevel"}]}`,
		},
		"no type":    {"type": `"BPE","dropout":null,"unk_token":null`},
		"same twice": {"added_tokens": `[{"id":3,"content":"<e>"},{"id":3,"content":"<e>"},{"id":0,"content":""}]`},
	} {
		tok, err := FromJSON([]byte(tiny(fill)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := tok.Encode("ab<e>a", true); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	// merges may come before the vocabulary
	s := tiny(nil)
	s = strings.Replace(s, `"x":0`, `"merges":[["a","b"]]`, 1)
	s = strings.Replace(s, `,"merges":[["a","b"]]}}`, `}}`, 1)
	tok, err := FromJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("ab<e>a", true); !slices.Equal(got, want) {
		t.Errorf("merges first: %v, want %v", got, want)
	}
	// a pair of surrogates is one character
	tok, err = FromJSON([]byte(tiny(map[string]string{"added_tokens": `[{"id":3,"content":"\ud83d\ude00"}]`})))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("ab😀a", true); !slices.Equal(got, want) {
		t.Errorf("surrogates: %v, want %v", got, want)
	}
}

// TestPatternSplitter checks that words cover the text, whatever the pattern matches.
func TestPatternSplitter(t *testing.T) {
	const text = "123abcx😀d"
	for pattern, want := range map[string][]string{
		`\p{N}{2}|[a-z]+(?!x)`: {"12", "3", "abcx", "😀", "d"},
		`[^1-3]`:               {"123", "a", "b", "c", "x", "😀", "d"},
		`[abc]*z`:              {text},
		`y*`:                   {"1", "2", "3", "a", "b", "c", "x", "😀", "d"},
	} {
		s, err := newPatternSplitter(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if !s.split(text, func(w string) bool { got = append(got, w); return true }) {
			t.Errorf("%s: not complete", pattern)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
		n := 0
		if s.split(text, func(string) bool { n++; return false }) || n != 1 {
			t.Errorf("%s: %d words after false", pattern, n)
		}
	}
}
