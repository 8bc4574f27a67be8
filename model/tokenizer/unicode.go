package tokenizer

import (
	_ "embed"
	"unicode/utf8"
)

// unicodeTable holds one class byte for each code point, in two levels: 8,704 block
// numbers (code point >> 7), then blocks of 128 bytes. testdata/unicode.py writes it
// by asking the tokenizers package itself. Go's own tables will not do: in that
// package the regular expressions know Unicode 16 and the normalizer Unicode 9, and
// what Go knows depends on the toolchain.
//
//go:embed unicode.bin
var unicodeTable string

const (
	blockBits   = 7
	blockNumber = (utf8.MaxRune + 1) >> blockBits
)

// class is what is known about a code point.
type class uint8

const (
	letter     class = 1 << iota // \p{L}
	number                       // \p{N}
	space                        // \s
	word                         // \w, at the borders of added tokens with single_word
	decomposes                   // has a canonical decomposition
	mark                         // its combining class is not 0, or that of what it decomposes to
	joins                        // may compose with what stands before it
	changes                      // its NFC is not itself

	// What has none of these bits is in NFC wherever it stands, and begins anew.
	unstable = mark | joins | changes
)

func classOf(r rune) class {
	block := int(unicodeTable[r>>blockBits])
	return class(unicodeTable[blockNumber+block<<blockBits+int(r&(1<<blockBits-1))])
}

// classAt returns the class of the character at s[i] and its length in bytes.
// s is valid UTF-8 and i a border of characters in it.
func classAt(s string, i int) (class, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return classOf(rune(c)), 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classOf(r), n
}

// classBefore is classAt for the character that ends at s[i].
func classBefore(s string, i int) (class, int) {
	r, n := utf8.DecodeLastRuneInString(s[:i])
	return classOf(r), n
}
