package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestAccessors(t *testing.T) {
	tok := small(t)
	end, ok := tok.ID("<|im_end|>")
	if !ok || !tok.IsSpecial(end) || tok.TokenString(end) != "<|im_end|>" || string(tok.TokenBytes(end)) != "<|im_end|>" {
		t.Errorf("<|im_end|> is %d, %v, %q", end, ok, tok.TokenString(end))
	}
	think, ok := tok.ID("<think>")
	if !ok || tok.IsSpecial(think) {
		t.Errorf("<think> is %d, %v, special %v", think, ok, tok.IsSpecial(think))
	}
	the, ok := tok.ID("Ġthe")
	if !ok || string(tok.TokenBytes(the)) != " the" || tok.TokenString(the) != "Ġthe" {
		t.Errorf("Ġthe is %d, %v, %q", the, ok, tok.TokenBytes(the))
	}
	if id, ok := tok.ID("no such token"); ok {
		t.Errorf("found token %d", id)
	}
	if got := tok.Decode([]int32{the, end, think, the}, true); got != " the<think> the" {
		t.Errorf("decoded %q", got)
	}
	for _, id := range []int32{-1, int32(tok.Size()), 1 << 30, -1 << 31} {
		if tok.TokenBytes(id) != nil || tok.TokenString(id) != "" || tok.IsSpecial(id) || tok.Decode([]int32{id}, false) != "" {
			t.Errorf("token %d exists", id)
		}
	}
	if cap(tok.TokenBytes(the)) != len(" the") {
		t.Error("appending to a token's bytes would write into the next")
	}
}

// TestUserTextIsPlain checks that text cannot name added tokens unless it is parsed for
// them: it must encode as by a tokenizer that has none.
func TestUserTextIsPlain(t *testing.T) {
	for _, ignoreMerges := range []string{`"ignore_merges":false`, `"ignore_merges":true`} {
		spec := strings.Replace(string(readFile(t, "testdata/small.json")), `"ignore_merges":false`, ignoreMerges, 1)
		from := strings.Index(spec, `"added_tokens":[`)
		to := strings.Index(spec, `"normalizer"`)
		full, err := FromJSON([]byte(spec))
		if err != nil {
			t.Fatal(err)
		}
		none, err := FromJSON([]byte(spec[:from] + spec[to:]))
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(7, 8))
		var texts []string
		for _, g := range goldens(t) {
			texts = append(texts, g.Text)
		}
		for range 2000 {
			texts = append(texts, randomText(r))
		}
		for _, text := range texts {
			got, want := full.Encode(text, false), none.Encode(text, true)
			if !slices.Equal(got, want) {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		}
	}
}

// TestMergesMakeNoSpecial checks the case where a special token is also what merges
// would make.
func TestMergesMakeNoSpecial(t *testing.T) {
	tok, err := FromJSON([]byte(`{"added_tokens":[{"id":3,"content":"ab","special":true}],
		"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"decoder":{"type":"ByteLevel"},
		"model":{"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"c":2,"ab":3,"abc":4},"merges":["a b","ab c"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{"ab": {0, 1}, "abc": {4}, "abca": {0, 1, 2, 0}} {
		if got := tok.Encode(text, false); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := tok.Encode("abca", true); !slices.Equal(got, []int32{3, 2, 0}) {
		t.Errorf("parsed: %v", got)
	}
}

func TestEncodeLimited(t *testing.T) {
	tok := small(t)
	for _, g := range goldens(t) {
		for _, special := range []bool{false, true} {
			want := tok.Encode(g.Text, special)
			for _, limit := range []int{0, 1, len(want) - 1, len(want), len(want) + 1, -1} {
				got, ok := tok.EncodeLimited(g.Text, special, limit)
				fits := limit < 0 || len(want) <= limit
				if ok != fits {
					t.Fatalf("%q: %d tokens, limit %d: %v", g.Text, len(want), limit, ok)
				}
				if ok && !slices.Equal(got, want) {
					t.Fatalf("%q with limit %d: %v, want %v", g.Text, limit, got, want)
				}
			}
		}
	}
	// A long text costs no more than its beginning, a long word not even its merges.
	if ids, ok := tok.EncodeLimited(strings.Repeat("<think>word ", 1<<16), true, 100); ok || len(ids) > 101 {
		t.Errorf("%v after %d tokens", ok, len(ids))
	}
	e := encoder{Tokenizer: tok, limit: 100, merger: merger{table: tok.merges}}
	if e.plain(strings.Repeat("a", 1<<16), nil) || e.merger.steps > 0 {
		t.Errorf("a word of 65,536 letters took %d steps", e.merger.steps)
	}
}

func TestAddSpecial(t *testing.T) {
	spec := string(readFile(t, "testdata/small.json"))
	at := strings.Index(spec, `"post_processor":`)
	to := strings.Index(spec, `,"decoder"`)
	tok, err := FromJSON([]byte(spec[:at] + `"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},
		{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"s","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"e","type_id":0}}],
		"pair":[],"special_tokens":{"s":{"id":"s","ids":[7],"tokens":["s"]},"e":{"id":"e","ids":[8,9],"tokens":["e","e"]}}}]}` + spec[to:]))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.AddSpecial([]int32{1, 2}); !slices.Equal(got, []int32{7, 1, 2, 8, 9}) {
		t.Error(got)
	}
	if got := small(t).AddSpecial([]int32{1, 2}); !slices.Equal(got, []int32{1, 2}) {
		t.Error(got)
	}
}

func TestBytes(t *testing.T) {
	tok := Bytes(1000)
	if tok.Size() != 1000 {
		t.Errorf("size %d", tok.Size())
	}
	text := "Hé<|im_end|>\xff\n"
	ids := tok.Encode(text, true)
	if want := []byte(lossy([]byte(text))); len(ids) != len(want) {
		t.Errorf("%d ids for %d bytes", len(ids), len(want))
	} else {
		for i, b := range want {
			if ids[i] != int32(b) {
				t.Errorf("byte %d is %d", b, ids[i])
			}
		}
	}
	if got := tok.Decode([]int32{'a', 256, 0xC3, 0xA9, 999, 1000}, true); got != "a t256é t999" {
		t.Errorf("decoded %q", got)
	}
	for b := range 256 {
		if got := tok.TokenBytes(int32(b)); len(got) != 1 || got[0] != byte(b) {
			t.Errorf("byte %d is %v", b, got)
		}
	}
	if got := Bytes(64).Encode("A~", false); !slices.Equal(got, []int32{1, 62}) {
		t.Errorf("of 64: %v", got)
	}
	if got := Bytes(-1).Encode("ab", false); len(got) != 0 || Bytes(0).Size() != 0 {
		t.Errorf("of none: %v", got)
	}
}

// TestLossy has the examples of the Unicode standard, chapter 3, and Python's results.
func TestLossy(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		"aé漢😀":                              "aé漢😀",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82A": "????????A",
		"\xed\xa0\x80\xed\xbf\xbf\xed\xafA": "????????A",
		"\xf4\x91\x92\x93\xffA\x80\xbfB":    "?????A??B",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA": "????A",
		"\xf0\x9f\x98":                      "?",
		"\xf0\x9f\x98\xf0":                  "??",
		"\xe6\xbc":                          "?",
		"\xe6\xbc\xe6\xbc\xa2":              "?漢",
		"\x80":                              "?",
		"a\xc3":                             "a?",
		"\xf4\x90\x80\x80":                  "????",
		"\xc3\x28":                          "?(",
	} {
		want = strings.ReplaceAll(want, "?", "\uFFFD")
		if got := lossy([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if got := validText(in); got != want {
			t.Errorf("%q as text: %q, want %q", in, got, want)
		}
	}
}

// TestDecoder checks what Push may say and when.
func TestDecoder(t *testing.T) {
	tok := Bytes(256)
	d := tok.NewDecoder(false)
	var got []string
	for _, b := range []byte("a\xf0\x9f\x98\x80\xe6\xbcb\xc3") {
		got = append(got, d.Push(int32(b)))
	}
	got = append(got, d.Flush(), d.Flush())
	want := []string{"a", "", "", "", "😀", "", "", "\uFFFDb", "", "\uFFFD", ""}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLinear shows by counting that work grows with the text's length, not its square,
// for texts that are all one word, or one run.
func TestLinear(t *testing.T) {
	tok := small(t)
	for _, unit := range []string{"a", "ab", " ", "\n", "\t \n", "é", "漢", "the", "0", ".", "'s", "\u0301", "e\u0301", "   a", "\u2028", "😀", "x\u00a0"} {
		steps := func(n int) (merging, scanning int) {
			text := nfc(strings.Repeat(unit, n))
			e := encoder{Tokenizer: tok, limit: 1 << 30, merger: merger{table: tok.merges}}
			e.plain(text, nil)
			for _, next := range []func(*scan, int) int{func(s *scan, i int) int { return s.qwen(i, 1) }, (*scan).gpt2} {
				s := &scan{text: text}
				for i := 0; i < len(text); {
					i = next(s, i)
				}
				scanning = max(scanning, s.reads)
			}
			return e.merger.steps, scanning
		}
		const n, factor = 4000, 16
		m1, s1 := steps(n)
		m2, s2 := steps(n * factor)
		// n log n: 16 times the text has queues of 4 more levels, of at least 12
		if m2 > m1*factor*3/2 || m1 > n*len(unit)*64 {
			t.Errorf("%q: %d and %d steps of merging for %d and %d of it", unit, m1, m2, n, n*factor)
		}
		if s2 > s1*factor*11/10 || s2 > 8*n*factor*utf8.RuneCountInString(unit) {
			t.Errorf("%q: %d and %d characters read for %d and %d of it", unit, s1, s2, n, n*factor)
		}
	}
}

// TestShortAndLong checks the two ways of merging against each other and against the
// plainest one.
func TestShortAndLong(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 3000 {
		letters := 1 + r.IntN(4)
		var merges []merge
		size := int32(letters)
		for range r.IntN(30) {
			merges = append(merges, merge{r.Int32N(size), r.Int32N(size), size})
			size++
		}
		r.Shuffle(len(merges), func(i, j int) { merges[i], merges[j] = merges[j], merges[i] })
		m := merger{table: newMergeTable(merges, nil)}
		word := make([]int32, 2+r.IntN(80))
		for i := range word {
			word[i] = r.Int32N(int32(letters))
		}
		want := plainMerge(m.table, slices.Clone(word))
		if got := m.short(slices.Clone(word)); !slices.Equal(got, want) {
			t.Fatalf("short: %v of %v with %v, want %v", got, word, merges, want)
		}
		if got := m.long(slices.Clone(word)); !slices.Equal(got, want) {
			t.Fatalf("long: %v of %v with %v, want %v", got, word, merges, want)
		}
	}
}

func plainMerge(table *mergeTable, ids []int32) []int32 {
	for {
		best, at, become := uint32(noRank), 0, int32(0)
		for i := range len(ids) - 1 {
			if rank, to := table.find(ids[i], ids[i+1]); rank < best {
				best, at, become = rank, i, to
			}
		}
		if best == noRank {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, become)
	}
}

func TestConcurrent(t *testing.T) {
	tok := small(t)
	cases := goldens(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, g := range cases {
				if !slices.Equal(tok.Encode(g.Text, true), g.Small) || tok.Decode(g.Small, false) != g.Decoded {
					t.Errorf("%q", g.Text)
				}
			}
		})
	}
	wg.Wait()
}
