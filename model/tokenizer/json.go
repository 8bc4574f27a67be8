package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// reader reads JSON from memory, one value after the other. A tokenizer.json is some
// ten megabytes of short strings, which encoding/json takes 0.3 s to read: three times
// what all of FromJSON takes. About strings it is as strict as Rust's serde: UTF-8 only,
// no surrogate without its other half.
type reader struct {
	b []byte
	i int
}

// maxDepth bounds the nesting of a value that is passed over.
const maxDepth = 64

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", r.i, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (r *reader) peek() byte {
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\n', '\t', '\r':
			r.i++
		default:
			return c
		}
	}
	return 0
}

func (r *reader) expect(c byte) error {
	if got := r.peek(); got != c {
		if r.i == len(r.b) {
			return r.errorf("unexpected end of file")
		}
		return r.errorf("found %q where %q should be", got, c)
	}
	r.i++
	return nil
}

// list calls item for each item between the brackets open and close.
func (r *reader) list(open, close byte, item func() error) error {
	if err := r.expect(open); err != nil {
		return err
	}
	if r.peek() == close {
		r.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if r.peek() == close {
			r.i++
			return nil
		}
		if err := r.expect(','); err != nil {
			return err
		}
	}
}

// array calls item at each value of an array; item reads it.
func (r *reader) array(item func() error) error { return r.list('[', ']', item) }

// object calls field with the name of each field of an object, valid until the next;
// field reads the value.
func (r *reader) object(field func(name []byte) error) error {
	var name []byte
	return r.list('{', '}', func() (err error) {
		if name, err = r.string(name[:0]); err != nil {
			return err
		}
		if err = r.expect(':'); err != nil {
			return err
		}
		return field(name)
	})
}

// string appends the next string to dst.
func (r *reader) string(dst []byte) ([]byte, error) {
	if err := r.expect('"'); err != nil {
		return dst, err
	}
	start := len(dst)
	ascii := true
	for r.i < len(r.b) {
		from := r.i
		for r.i < len(r.b) {
			c := r.b[r.i]
			if c == '"' || c == '\\' || c < ' ' {
				break
			}
			if c >= utf8.RuneSelf {
				ascii = false
			}
			r.i++
		}
		dst = append(dst, r.b[from:r.i]...)
		if r.i == len(r.b) {
			break
		}
		switch c := r.b[r.i]; c {
		case '"':
			if !ascii && !utf8.Valid(dst[start:]) {
				return dst, r.errorf("a string that is not UTF-8")
			}
			r.i++
			return dst, nil
		case '\\':
			var err error
			if dst, err = r.escape(dst); err != nil {
				return dst, err
			}
		default:
			return dst, r.errorf("control character %#02x in a string", c)
		}
	}
	return dst, r.errorf("a string without an end")
}

// escape appends the character of the escape sequence that begins here.
func (r *reader) escape(dst []byte) ([]byte, error) {
	if r.i+1 >= len(r.b) {
		return dst, r.errorf("a string without an end")
	}
	c := r.b[r.i+1]
	if c == 'u' {
		return r.unicodeEscape(dst)
	}
	const codes, chars = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	k := bytes.IndexByte([]byte(codes), c)
	if k < 0 {
		return dst, r.errorf("unknown escape \\%c", c)
	}
	r.i += 2
	return append(dst, chars[k]), nil
}

// unicodeEscape is escape for \uXXXX, and for the pair of them that stands for a
// character beyond U+FFFF.
func (r *reader) unicodeEscape(dst []byte) ([]byte, error) {
	c, ok := r.hex4()
	if ok && utf16.IsSurrogate(c) {
		var low rune
		low, ok = r.hex4()
		c = utf16.DecodeRune(c, low) // U+FFFD if they are no pair
		ok = ok && c != utf8.RuneError
	}
	if !ok {
		return dst, r.errorf("a broken \\u escape or half a surrogate pair")
	}
	return utf8.AppendRune(dst, c), nil
}

// hex4 reads \uXXXX.
func (r *reader) hex4() (rune, bool) {
	if r.i+6 > len(r.b) || r.b[r.i] != '\\' || r.b[r.i+1] != 'u' {
		return 0, false
	}
	var v rune
	for _, c := range r.b[r.i+2 : r.i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	r.i += 6
	return v, true
}

// id reads a token id.
func (r *reader) id() (int32, error) {
	r.peek()
	start, v := r.i, int32(0)
	for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' && v < maxTokens {
		v = v*10 + int32(r.b[r.i]-'0')
		r.i++
	}
	switch {
	case r.i == start || r.i-start > 1 && r.b[start] == '0':
		return 0, r.errorf("a token id should be here: a number from 0")
	case v >= maxTokens:
		return 0, r.errorf("a token id of more than %d", maxTokens-1)
	}
	return v, nil
}

// skip passes over a value and returns its bytes. Only strings and the pairing of
// brackets are checked; decode checks the rest of the values that are used.
func (r *reader) skip() ([]byte, error) {
	r.peek()
	start := r.i
	var scratch []byte
	var open []byte // the closing brackets to come
	for {
		c := r.peek()
		var err error
		switch {
		case r.i == len(r.b):
			return nil, r.errorf("unexpected end of file")
		case c == '"':
			scratch, err = r.string(scratch[:0])
		case c == '{' || c == '[':
			if len(open) == maxDepth {
				return nil, r.errorf("values nested deeper than %d", maxDepth)
			}
			open = append(open, c+2) // '{'+2 is '}', '['+2 is ']'
			r.i++
		case c == '}' || c == ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return nil, r.errorf("unexpected %q", c)
			}
			open = open[:len(open)-1]
			r.i++
		case (c == ',' || c == ':') && len(open) > 0:
			r.i++
			continue
		default:
			from := r.i
			for r.i < len(r.b) && bytes.IndexByte([]byte(" \t\r\n,:[]{}\""), r.b[r.i]) < 0 {
				r.i++
			}
			if r.i == from {
				return nil, r.errorf("unexpected %q", c)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(open) == 0 {
			return r.b[start:r.i], nil
		}
	}
}

// decode reads a value by encoding/json.
func (r *reader) decode(into any) error {
	raw, err := r.skip()
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// end checks that nothing follows.
func (r *reader) end() error {
	if r.peek(); r.i < len(r.b) {
		return r.errorf("unexpected %q behind the value", r.b[r.i])
	}
	return nil
}
