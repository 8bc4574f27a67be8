package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Byte-level BPE writes each byte as one printable character, so that a vocabulary is
// text: bytes that are printable in Latin-1 stand for themselves, the 68 others are
// U+0100 onwards in their order. (OpenAI's GPT-2, encoder.py, bytes_to_unicode.)

// printable says whether a byte stands for itself.
func printable(b byte) bool {
	return b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE
}

// byteChars returns the character of each byte.
func byteChars() [256]rune {
	var chars [256]rune
	next := rune(0x100)
	for b := range chars {
		if printable(byte(b)) {
			chars[b] = rune(b)
		} else {
			chars[b] = next
			next++
		}
	}
	return chars
}

// charBytes is the inverse of byteChars, for characters below its length; -1 where
// there is no byte.
type charBytes [0x100 + 68]int16

func newCharBytes() *charBytes {
	var t charBytes
	for i := range t {
		t[i] = -1
	}
	for b, r := range byteChars() {
		t[r] = int16(b)
	}
	return &t
}

// appendToken appends the bytes that a token stands for. As in Hugging Face, a token
// with even one character outside the alphabet stands for its own UTF-8.
func (t *charBytes) appendToken(dst []byte, token string) []byte {
	start := len(dst)
	for _, r := range token {
		if int(r) >= len(t) || t[r] < 0 {
			return append(dst[:start], token...)
		}
		dst = append(dst, byte(t[r]))
	}
	return dst
}

const replacement = "\uFFFD"

// sequence looks at the UTF-8 sequence that b begins with. n is its length in bytes,
// where it is valid; else that of its longest prefix of a valid one, at least 1
// (Unicode, chapter 3, "maximal subpart": what one U+FFFD replaces, in Python and Rust
// too). open means that b ends before the sequence does.
func sequence(b []byte) (n int, valid, open bool) {
	first := b[0]
	if first < utf8.RuneSelf {
		return 1, true, false
	}
	low, high := byte(0x80), byte(0xBF) // of the second byte
	var length int
	switch {
	case first >= 0xC2 && first <= 0xDF:
		length = 2
	case first >= 0xE0 && first <= 0xEF:
		length = 3
		if first == 0xE0 {
			low = 0xA0 // no overlong forms
		} else if first == 0xED {
			high = 0x9F // no surrogates
		}
	case first >= 0xF0 && first <= 0xF4:
		length = 4
		if first == 0xF0 {
			low = 0x90
		} else if first == 0xF4 {
			high = 0x8F // U+10FFFF is the last
		}
	default:
		return 1, false, false
	}
	for n = 1; n < length; n++ {
		if n == len(b) {
			return n, false, true
		}
		if b[n] < low || b[n] > high {
			return n, false, false
		}
		low, high = 0x80, 0xBF
	}
	return length, true, false
}

// appendLossy appends src to dst with U+FFFD for each maximal subpart that is not
// UTF-8. It stops before a sequence that the end of src cuts off, and returns how many
// bytes it took.
func appendLossy(dst, src []byte) ([]byte, int) {
	i := 0
	for i < len(src) {
		n, valid, open := sequence(src[i:])
		switch {
		case valid:
			dst = append(dst, src[i:i+n]...)
		case open:
			return dst, i
		default:
			dst = append(dst, replacement...)
		}
		i += n
	}
	return dst, i
}

// lossy returns b as valid UTF-8, as Python's errors="replace" does.
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	out, n := appendLossy(make([]byte, 0, len(b)+len(b)/2), b)
	if n < len(b) {
		out = append(out, replacement...)
	}
	return string(out)
}

// validText returns s, or its lossy form where it is not UTF-8.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return lossy([]byte(s))
}

// byteToken returns the token of a byte sequence, in the alphabet of byteChars.
func byteToken(chars *[256]rune, b string) string {
	var s strings.Builder
	for i := range len(b) {
		s.WriteRune(chars[b[i]])
	}
	return s.String()
}
