package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokEOF tokenKind = iota
	tokData
	tokVarBegin
	tokVarEnd
	tokBlockBegin
	tokBlockEnd
	tokName
	tokConst // a string or number; its value is in token.value
	tokOp
)

type token struct {
	kind  tokenKind
	text  string // data, name or operator
	value any    // of a tokConst
	line  int
}

func (t token) String() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokData:
		return "template text"
	case tokVarBegin:
		return "{{"
	case tokVarEnd:
		return "}}"
	case tokBlockBegin:
		return "{%"
	case tokBlockEnd:
		return "%}"
	case tokConst:
		return "a literal"
	}
	return "'" + t.text + "'"
}

func (t token) isOp(op string) bool     { return t.kind == tokOp && t.text == op }
func (t token) isName(name string) bool { return t.kind == tokName && t.text == name }

// lexer splits a source as jinja2 does under trim_blocks and lstrip_blocks.
type lexer struct {
	src    string
	pos    int
	line   int // of pos
	tokens []token
	// lineStart: what was matched last ended in a line feed, so that the text
	// that follows begins a line (and may be stripped before a block).
	lineStart bool
}

func failSyntax(line int, format string, args ...any) {
	panic(&SyntaxError{Line: line, Message: fmt.Sprintf(format, args...)})
}

func lex(source string) []token {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	l := &lexer{src: source, line: 1, lineStart: true}
	for l.pos < len(l.src) {
		l.root()
	}
	l.emit(tokEOF, "", nil)
	return l.tokens
}

func (l *lexer) emit(kind tokenKind, text string, value any) {
	l.tokens = append(l.tokens, token{kind: kind, text: text, value: value, line: l.line})
}

// advance moves past n bytes that were matched as one.
func (l *lexer) advance(n int) {
	matched := l.src[l.pos : l.pos+n]
	l.line += strings.Count(matched, "\n")
	l.lineStart = strings.HasSuffix(matched, "\n")
	l.pos += n
}

func (l *lexer) rest() string { return l.src[l.pos:] }

// root reads text up to a tag, and the tag.
func (l *lexer) root() {
	rest := l.rest()
	at := 0
	for {
		i := strings.IndexByte(rest[at:], '{')
		if i < 0 || at+i+1 >= len(rest) {
			l.emit(tokData, rest, nil)
			l.advance(len(rest))
			return
		}
		at += i
		if c := rest[at+1]; c == '{' || c == '%' || c == '#' {
			break
		}
		at++
	}
	text, tag := rest[:at], rest[at:]
	raw := rawBegin(tag)
	sign := byte(0)
	if len(tag) > 2 && (tag[2] == '-' || tag[2] == '+') {
		sign = tag[2]
	}
	kept := l.stripBefore(text, sign, tag[1] == '{')
	if kept != "" {
		l.emit(tokData, kept, nil)
	}
	open := 2
	if sign != 0 {
		open = 3
	}
	switch {
	case raw > 0:
		l.advance(at + raw)
		l.raw()
	case tag[1] == '#':
		l.advance(at + open)
		l.comment()
	case tag[1] == '{':
		l.advance(at + open)
		l.emit(tokVarBegin, "", nil)
		l.tag(tokVarEnd)
	default:
		l.advance(at + open)
		l.emit(tokBlockBegin, "", nil)
		l.tag(tokBlockEnd)
	}
}

// stripBefore takes from a text the white space that the tag after it removes:
// all with a minus sign, and before a block or comment that is alone on its
// line the line's indentation.
func (l *lexer) stripBefore(text string, sign byte, variable bool) string {
	switch {
	case sign == '-':
		return strings.TrimRightFunc(text, isSpace)
	case sign == '+' || variable:
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && strings.TrimLeftFunc(text[start:], isSpace) == "" {
		return text[:start]
	}
	return text
}

// spaceLen counts the bytes of white space at the start of s.
func spaceLen(s string) int { return len(s) - len(strings.TrimLeftFunc(s, isSpace)) }

// rawBegin returns the length of a {% raw %} tag at the start of s, or 0.
func rawBegin(s string) int {
	if !strings.HasPrefix(s, "{%") {
		return 0
	}
	i := 2
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	i += spaceLen(s[i:])
	if !strings.HasPrefix(s[i:], "raw") {
		return 0
	}
	i += 3
	i += spaceLen(s[i:])
	switch {
	case strings.HasPrefix(s[i:], "-%}"):
		return i + 3 + spaceLen(s[i+3:])
	case strings.HasPrefix(s[i:], "%}"):
		return i + 2
	}
	return 0
}

// tagEnd returns the length of the tag end `closing` at the start of s with the
// white space that it removes, or 0.
func tagEnd(s, closing string) int {
	switch {
	case strings.HasPrefix(s, "-"+closing):
		n := 1 + len(closing)
		return n + spaceLen(s[n:])
	case closing == "}}":
		if strings.HasPrefix(s, closing) {
			return len(closing)
		}
	case strings.HasPrefix(s, "+"+closing):
		return 1 + len(closing)
	case strings.HasPrefix(s, closing):
		n := len(closing)
		if strings.HasPrefix(s[n:], "\n") {
			n++
		}
		return n
	}
	return 0
}

func (l *lexer) raw() {
	rest := l.rest()
	for at := 0; at < len(rest); at++ {
		i := strings.Index(rest[at:], "{%")
		if i < 0 {
			break
		}
		at += i
		j := at + 2
		sign := byte(0)
		if j < len(rest) && (rest[j] == '-' || rest[j] == '+') {
			sign = rest[j]
			j++
		}
		j += spaceLen(rest[j:])
		if !strings.HasPrefix(rest[j:], "endraw") {
			continue
		}
		j += len("endraw")
		j += spaceLen(rest[j:])
		n := tagEnd(rest[j:], "%}")
		if n == 0 {
			continue
		}
		if text := l.stripBefore(rest[:at], sign, false); text != "" {
			l.emit(tokData, text, nil)
		}
		l.advance(j + n)
		return
	}
	failSyntax(l.line, "missing end of raw block")
}

func (l *lexer) comment() {
	rest := l.rest()
	i := strings.Index(rest, "#}")
	if i < 0 {
		failSyntax(l.line, "missing end of comment")
	}
	if i > 0 && (rest[i-1] == '-' || rest[i-1] == '+') {
		i--
	}
	l.advance(i + tagEnd(rest[i:], "#}"))
}

// tag reads the tokens inside a tag and its end.
func (l *lexer) tag(end tokenKind) {
	closing := "%}"
	if end == tokVarEnd {
		closing = "}}"
	}
	var open []byte // the brackets that wait to be closed; inside them an end of tag is two operators
	for l.pos < len(l.src) {
		rest := l.rest()
		if len(open) == 0 {
			if n := tagEnd(rest, closing); n > 0 {
				l.emit(end, "", nil)
				l.advance(n)
				return
			}
		}
		if n := spaceLen(rest); n > 0 {
			l.advance(n)
			continue
		}
		c, size := utf8.DecodeRuneInString(rest)
		switch {
		case c >= '0' && c <= '9':
			l.number(l.pos > 0 && l.src[l.pos-1] == '.')
		case c == '"' || c == '\'':
			l.str(byte(c))
		case isNameRune(c):
			n := len(rest) - len(strings.TrimLeftFunc(rest, isNameRune))
			if !unicode.IsLetter(c) && c != '_' {
				failSyntax(l.line, "invalid character in identifier")
			}
			l.emit(tokName, rest[:n], nil)
			l.advance(n)
		default:
			op := operatorAt(rest)
			if op == "" {
				failSyntax(l.line, "unexpected character %q", rest[:size])
			}
			switch op {
			case "(":
				open = append(open, ')')
			case "[":
				open = append(open, ']')
			case "{":
				open = append(open, '}')
			case ")", "]", "}":
				if len(open) == 0 || open[len(open)-1] != op[0] {
					failSyntax(l.line, "unexpected '%s'", op)
				}
				open = open[:len(open)-1]
			}
			l.emit(tokOp, op, nil)
			l.advance(len(op))
		}
	}
}

func isNameRune(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func operatorAt(s string) string {
	if len(s) >= 2 {
		switch s[:2] {
		case "//", "**", "==", "!=", ">=", "<=":
			return s[:2]
		}
	}
	if strings.IndexByte("+-/*%~[](){}><=.:|,;", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

// number reads an integer or a float. After a dot (a.1.2) only integers exist.
func (l *lexer) number(afterDot bool) {
	rest := l.rest()
	if !afterDot {
		if n := floatLen(rest); n > 0 {
			f, err := strconv.ParseFloat(strings.ReplaceAll(rest[:n], "_", ""), 64)
			if err != nil && !math.IsInf(f, 0) {
				failSyntax(l.line, "invalid number %s", rest[:n])
			}
			l.emit(tokConst, "", f)
			l.advance(n)
			return
		}
	}
	n := integerLen(rest)
	i, ok := new(big.Int).SetString(strings.ReplaceAll(rest[:n], "_", ""), 0)
	if !ok || !i.IsInt64() {
		failSyntax(l.line, "integers of more than 64 bits are not supported")
	}
	l.emit(tokConst, "", i.Int64())
	l.advance(n)
}

// digits returns the length of digits with single underscores between them.
func digits(s string, valid func(byte) bool) int {
	n := 0
	for n < len(s) {
		switch {
		case valid(s[n]):
			n++
		case s[n] == '_' && n > 0 && n+1 < len(s) && valid(s[n+1]):
			n += 2
		default:
			return n
		}
	}
	return n
}

func decimal(c byte) bool { return c >= '0' && c <= '9' }

func floatLen(s string) int {
	n := digits(s, decimal)
	fraction := 0
	if n < len(s) && s[n] == '.' {
		if d := digits(s[n+1:], decimal); d > 0 {
			fraction = 1 + d
		}
	}
	exponent := 0
	if e := s[n+fraction:]; e != "" && (e[0] == 'e' || e[0] == 'E') {
		i := 1
		if i < len(e) && (e[i] == '+' || e[i] == '-') {
			i++
		}
		if d := digits(e[i:], decimal); d > 0 {
			exponent = i + d
		}
	}
	if fraction+exponent == 0 {
		return 0
	}
	return n + fraction + exponent
}

func integerLen(s string) int {
	if s[0] != '0' {
		return digits(s, decimal)
	}
	if len(s) > 2 {
		var valid func(byte) bool
		switch s[1] {
		case 'x', 'X':
			valid = func(c byte) bool {
				return decimal(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
			}
		case 'o', 'O':
			valid = func(c byte) bool { return c >= '0' && c <= '7' }
		case 'b', 'B':
			valid = func(c byte) bool { return c == '0' || c == '1' }
		}
		if valid != nil {
			from := 2
			if s[2] == '_' && len(s) > 3 && valid(s[3]) {
				from = 3
			}
			if n := digits(s[from:], valid); n > 0 {
				return from + n
			}
		}
	}
	return digits(s, func(c byte) bool { return c == '0' })
}

// str reads a string literal.
func (l *lexer) str(quote byte) {
	rest := l.rest()
	for i := 1; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case quote:
			l.emit(tokConst, "", l.unescape(rest[1:i]))
			l.advance(i + 1)
			return
		}
	}
	failSyntax(l.line, "string without an end")
}

// unescape decodes a literal's backslash escapes as Python does: an unknown one
// stays as it is written.
func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		c, size := utf8.DecodeRuneInString(s[i+1:])
		i += 1 + size
		switch c {
		case '\n':
		case '\\', '\'', '"':
			b.WriteRune(c)
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case 'x', 'u', 'U':
			n := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+n > len(s) {
				failSyntax(l.line, "truncated \\%c escape", c)
			}
			v, err := strconv.ParseUint(s[i:i+n], 16, 32)
			if err != nil || !utf8.ValidRune(rune(v)) || v > utf8.MaxRune {
				failSyntax(l.line, "invalid escape \\%c%s", c, s[i:i+n])
			}
			b.WriteRune(rune(v))
			i += n
		case 'N':
			failSyntax(l.line, "\\N escapes are not supported")
		case '0', '1', '2', '3', '4', '5', '6', '7':
			v := c - '0'
			for n := 1; n < 3 && i < len(s) && s[i] >= '0' && s[i] <= '7'; n++ {
				v = v*8 + rune(s[i]-'0')
				i++
			}
			b.WriteRune(v)
		default:
			b.WriteByte('\\')
			switch {
			// jinja2 writes non-ASCII characters as escapes before it decodes
			// escapes, and a backslash before one escapes that escape.
			case c > 0xffff:
				fmt.Fprintf(&b, "U%08x", c)
			case c > 0xff:
				fmt.Fprintf(&b, "u%04x", c)
			case c > 0x7f:
				fmt.Fprintf(&b, "x%02x", c)
			default:
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}
