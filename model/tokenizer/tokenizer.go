// Package tokenizer turns text into token ids and back: byte-level byte pair encoding
// as Qwen3 has it, with the results of Hugging Face's tokenizers package, id for id.
//
// Encoding goes through these steps, each in a file of its own: added tokens are found
// in the text (added.go), what lies between is normalized to NFC (normalize.go), cut
// into words (pretokenize.go), and the bytes of each word are merged, best pair first
// (bpe.go). Time grows as n log n in the worst case, whatever the text.
//
// A Tokenizer comes from a tokenizer.json (FromJSON) or from a GGUF file's metadata
// (FromGGUF); Bytes makes one without a file.
package tokenizer

import "math"

// Tokenizer is a byte-level BPE tokenizer. It never changes: any number of goroutines
// may use it.
type Tokenizer struct {
	tokens  []string         // as the file spells them; "" where an id has none
	ids     map[string]int32 // the inverse
	flags   []uint8
	bytes   []byte   // what the tokens decode to, one after the other
	offsets []uint32 // where in bytes: of id i, from offsets[i] to offsets[i+1]
	longest int      // the most bytes a token has

	raw, normalized *matcher // added tokens, before and after normalization
	normalize       bool
	splitters       []splitter
	ignoreMerges    bool
	byteIDs         [256]int32 // tokens of single bytes, or none
	merges          *mergeTable
	prefix, suffix  []int32
}

const (
	flagSpecial = 1 << iota
	flagSkip    // not in Decode's result with skipSpecial: those that are special, mostly
	flagAdded   // an added token
)

// Encode returns the ids of text. It adds none of its own: see AddSpecial.
//
// With parseSpecial, added tokens that stand in the text ("<|im_start|>", "<think>")
// become their ids: for the output of a chat template. Without, they are plain
// characters like all others, so that what a user writes never becomes a control
// token. (Hugging Face always parses the tokens that are not special; parseSpecial
// gives its results.)
//
// Text that is not UTF-8 is read with U+FFFD for each maximal part of a sequence that
// is not, as by Python's errors="replace". Bytes that the vocabulary has no token for
// are left out, as Hugging Face does; every real vocabulary has all.
func (t *Tokenizer) Encode(text string, parseSpecial bool) []int32 {
	ids, _ := t.EncodeLimited(text, parseSpecial, -1)
	return ids
}

// EncodeLimited is Encode for a text that may have too many tokens: it stops soon after
// it knows that there are more than limit, and then returns false and some of them.
// A negative limit is none.
func (t *Tokenizer) EncodeLimited(text string, parseSpecial bool, limit int) ([]int32, bool) {
	text = validText(text)
	e := encoder{Tokenizer: t, limit: limit, merger: merger{table: t.merges}}
	if limit < 0 {
		e.limit = math.MaxInt
		e.ids = make([]int32, 0, len(text)/4+1)
	}
	if !parseSpecial {
		return e.ids, e.plain(text, nil)
	}
	ok := t.raw.split(text, func(piece string) bool { return e.plain(piece, t.normalized) }, e.add)
	return e.ids, ok
}

// AddSpecial returns ids between the tokens that the model's own post-processor puts
// around a text ("add_special_tokens"): none for Qwen3, an end of text for
// Qwen3-Embedding. It returns ids itself if there are none.
func (t *Tokenizer) AddSpecial(ids []int32) []int32 {
	if len(t.prefix)+len(t.suffix) == 0 {
		return ids
	}
	out := make([]int32, 0, len(t.prefix)+len(ids)+len(t.suffix))
	return append(append(append(out, t.prefix...), ids...), t.suffix...)
}

// encoder is one call of Encode. Its methods return false once there are too many ids.
type encoder struct {
	*Tokenizer
	merger merger
	ids    []int32
	limit  int
	chars  *[256]rune // for ignoreMerges, made when needed
}

func (e *encoder) add(id int32) bool {
	e.ids = append(e.ids, id)
	return len(e.ids) <= e.limit
}

// plain encodes text without added tokens but those of normalized, which may be nil.
func (e *encoder) plain(text string, normalized *matcher) bool {
	if e.normalize {
		text = nfc(text)
	}
	return normalized.split(text, func(piece string) bool { return e.split(0, piece) }, e.add)
}

// split cuts text into words by the splitters from the i-th.
func (e *encoder) split(i int, text string) bool {
	if i == len(e.splitters) {
		return e.word(text)
	}
	return e.splitters[i].split(text, func(piece string) bool { return e.split(i+1, piece) })
}

func (e *encoder) word(text string) bool {
	if e.ignoreMerges {
		if e.chars == nil {
			chars := byteChars()
			e.chars = &chars
		}
		if id, ok := e.Tokenizer.ids[byteToken(e.chars, text)]; ok && e.flags[id] == 0 {
			return e.add(id)
		}
	}
	start := len(e.ids)
	for i := range len(text) {
		if id := e.byteIDs[text[i]]; id != none {
			e.ids = append(e.ids, id)
		}
	}
	bytes := len(e.ids) - start
	if (bytes+e.longest-1)/max(e.longest, 1) > e.limit-start { // even with the longest tokens
		return false
	}
	kept := e.merger.merge(e.ids[start:])
	e.ids = e.ids[:start+len(kept)]
	return len(e.ids) <= e.limit
}

// Size returns 1 + the highest id. A model may have logits for more.
func (t *Tokenizer) Size() int { return len(t.tokens) }

// known reports whether there is a token of this id.
func (t *Tokenizer) known(id int32) bool {
	return id >= 0 && int(id) < len(t.tokens) && t.tokens[id] != ""
}

// TokenBytes returns the bytes of a token, which may be part of a character; nil if
// there is no such token. They are not to be changed.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if !t.known(id) {
		return nil
	}
	from, to := t.offsets[id], t.offsets[id+1]
	return t.bytes[from:to:to]
}

// TokenString returns the token as the vocabulary spells it ("Ġthe", "<|im_end|>"), or
// "" if there is no such token.
func (t *Tokenizer) TokenString(id int32) string {
	if !t.known(id) {
		return ""
	}
	return t.tokens[id]
}

// ID returns the id of a token as the vocabulary spells it.
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// IsSpecial reports whether the token is special: one that controls, such as
// "<|im_end|>", and no text. "<think>" and "<tool_call>" are not.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return t.known(id) && t.flags[id]&flagSpecial != 0
}
