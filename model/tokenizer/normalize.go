package tokenizer

import (
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// nfc returns s in Normalization Form C, as Hugging Face's normalizer does it: by the
// tables of Unicode 9, so that whatever came later is left alone. (A code point's
// decomposition and class never change once it is assigned, so the tables of
// x/text serve for those that were known then; the class bits say which they are.)
// norm.NFC itself would not do either: after 30 marks it inserts U+034F.
//
// s is valid UTF-8. Only the stretches around unstable characters are worked on.
func nfc(s string) string {
	at := nextUnstable(s, 0)
	if at == len(s) {
		return s
	}
	var c composer
	out := make([]byte, 0, len(s)+len(s)/8)
	done := 0
	for at < len(s) {
		start, end := at, at
		if start > done { // what the first unstable character may compose with
			_, n := classBefore(s, start)
			start -= n
		}
		for end < len(s) {
			k, n := classAt(s, end)
			if k&unstable == 0 {
				break
			}
			end += n
		}
		out = append(out, s[done:start]...)
		out = c.append(out, s[start:end])
		done = end
		at = nextUnstable(s, end)
	}
	return string(append(out, s[done:]...))
}

// nextUnstable returns the index of the first unstable character at or after s[i:],
// or len(s).
func nextUnstable(s string, i int) int {
	for i < len(s) {
		if s[i] < utf8.RuneSelf {
			i++
			continue
		}
		k, n := classAt(s, i)
		if k&unstable != 0 {
			return i
		}
		i += n
	}
	return i
}

// part is a character of a fully decomposed string.
type part struct {
	r   rune
	ccc uint8 // canonical combining class
}

type composer struct {
	parts []part
	buf   []byte
	in    [2 * utf8.UTFMax]byte // what x/text is asked about
}

// append appends the NFC of s to out: decompose, order, compose (UAX #15).
func (c *composer) append(out []byte, s string) []byte {
	c.parts = c.parts[:0]
	for i, r := range s {
		if classOf(r)&decomposes == 0 {
			c.add(r)
			continue
		}
		c.buf = norm.NFD.AppendString(c.buf[:0], s[i:i+utf8.RuneLen(r)])
		for b := c.buf; len(b) > 0; {
			d, n := utf8.DecodeRune(b)
			c.add(d)
			b = b[n:]
		}
	}

	for i := 0; i < len(c.parts); i++ {
		j := i
		for j < len(c.parts) && c.parts[j].ccc != 0 {
			j++
		}
		if j-i > 1 {
			slices.SortStableFunc(c.parts[i:j], func(a, b part) int { return int(a.ccc) - int(b.ccc) })
		}
		i = max(i, j-1)
	}

	kept := c.parts[:0] // overwrites what was read already
	starter := -1
	for _, p := range c.parts {
		if starter >= 0 && classOf(p.r)&joins != 0 {
			adjacent := len(kept) == starter+1
			if adjacent || kept[len(kept)-1].ccc < p.ccc {
				if r, ok := c.compose(kept[starter].r, p.r); ok {
					kept[starter].r = r
					continue
				}
			}
		}
		if p.ccc == 0 {
			starter = len(kept)
		}
		kept = append(kept, p)
	}
	for _, p := range kept {
		out = utf8.AppendRune(out, p.r)
	}
	return out
}

func (c *composer) add(r rune) {
	p := part{r: r}
	if classOf(r)&mark != 0 {
		p.ccc = norm.NFD.Properties(c.in[:utf8.EncodeRune(c.in[:], r)]).CCC()
	}
	c.parts = append(c.parts, p)
}

// compose returns the primary composite of a and b, if there is one.
func (c *composer) compose(a, b rune) (rune, bool) {
	n := utf8.EncodeRune(c.in[:], a)
	n += utf8.EncodeRune(c.in[n:], b)
	c.buf = norm.NFC.Append(c.buf[:0], c.in[:n]...)
	r, n := utf8.DecodeRune(c.buf)
	// A composite that Unicode 9 did not know does not decompose in our table.
	return r, n == len(c.buf) && classOf(r)&decomposes != 0
}
