package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// stringMethods are the methods of Python's str.
var stringMethods = map[string]func(m *machine, s string, a args) any{
	"upper":        func(m *machine, s string, a args) any { a.none(m); return m.upper(s) },
	"lower":        func(m *machine, s string, a args) any { a.none(m); return m.lower(s) },
	"capitalize":   func(m *machine, s string, a args) any { a.none(m); return m.capitalize(s) },
	"title":        func(m *machine, s string, a args) any { a.none(m); return m.titleWords(s) },
	"strip":        strip(strings.TrimFunc),
	"lstrip":       strip(strings.TrimLeftFunc),
	"rstrip":       strip(strings.TrimRightFunc),
	"startswith":   affix(strings.HasPrefix),
	"endswith":     affix(strings.HasSuffix),
	"removeprefix": cut(strings.TrimPrefix),
	"removesuffix": cut(strings.TrimSuffix),
	"split":        splitMethod,
	"rsplit":       rsplitMethod,
	"splitlines":   splitlinesMethod,
	"partition":    partition(strings.Index, false),
	"rpartition":   partition(strings.LastIndex, true),
	"join":         joinMethod,
	"replace":      replaceMethod,
	"find":         find(strings.Index, false),
	"rfind":        find(strings.LastIndex, false),
	"index":        find(strings.Index, true),
	"rindex":       find(strings.LastIndex, true),
	"count":        countMethod,
	"center":       pad(0.5),
	"ljust":        pad(0),
	"rjust":        pad(1),
	"zfill":        zfillMethod,
	"format":       formatMethod,
	"isdigit":      every(unicode.IsDigit),
	"isdecimal":    every(unicode.IsDigit),
	"isnumeric":    every(unicode.IsNumber),
	"isalpha":      every(unicode.IsLetter),
	"isalnum":      every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }),
	"isspace":      every(isSpace),
	"isascii":      func(m *machine, s string, a args) any { a.none(m); return isASCII(s) },
	"isupper":      func(m *machine, s string, a args) any { a.none(m); return m.hasCase(s, unicode.IsUpper) },
	"islower":      func(m *machine, s string, a args) any { a.none(m); return m.hasCase(s, unicode.IsLower) },
}

// otherStringMethods are those that are refused.
var otherStringMethods = []string{"casefold", "encode", "expandtabs", "format_map", "isidentifier",
	"isprintable", "istitle", "maketrans", "swapcase", "translate"}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// upper and lower map as Python does, where one character may become several.
func (m *machine) upper(s string) string {
	m.grow(3 * len(s))
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	m.tick(len(s) / 8)
	return cases.Upper(language.Und).String(s)
}

func (m *machine) lower(s string) string {
	m.grow(3 * len(s))
	if isASCII(s) {
		return strings.ToLower(s)
	}
	m.tick(len(s) / 8)
	return cases.Lower(language.Und).String(s)
}

func (m *machine) titleRune(r rune) string {
	switch {
	case r < utf8.RuneSelf:
		return strings.ToUpper(string(r))
	case !unicode.IsLower(r) && !unicode.IsUpper(r):
		return string(unicode.ToTitle(r))
	}
	m.tick(16)
	return cases.Title(language.Und, cases.NoLower).String(string(r))
}

func (m *machine) capitalize(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return ""
	}
	// Lower the whole: what a letter becomes may depend on the one before it.
	rest := m.lower(s)
	_, first := utf8.DecodeRuneInString(rest)
	if lowerFirst := m.lower(s[:size]); strings.HasPrefix(rest, lowerFirst) {
		first = len(lowerFirst)
	}
	return m.titleRune(r) + rest[first:]
}

// titleWords is str.title: a letter after one that has no case starts a word.
func (m *machine) titleWords(s string) string {
	m.grow(3 * len(s))
	var b strings.Builder
	inWord := false
	for _, r := range s {
		switch {
		case inWord:
			b.WriteString(string(unicode.ToLower(r)))
		default:
			b.WriteString(m.titleRune(r))
		}
		inWord = unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r)
	}
	return b.String()
}

func strip(trim func(string, func(rune) bool) string) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		return m.strip(s, or(a.bind(m, 0, "chars")[0], nil), a, trim)
	}
}

func (m *machine) strip(s string, chars any, a args, trim func(string, func(rune) bool) string) string {
	if chars == nil {
		m.read(len(s))
		return trim(s, isSpace)
	}
	set := a.strArg(m, chars)
	if len(set) > 1024 {
		m.fail("%s takes at most 1024 bytes of characters", a.fn)
	}
	m.tick(1 + (len(s)/64+1)*(len(set)/16+1))
	return trim(s, func(r rune) bool { return strings.ContainsRune(set, r) })
}

// affix is startswith or endswith, of a string or any of a tuple.
func affix(has func(s, affix string) bool) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		b := a.bind(m, 1, "prefix", "start", "end")
		s, ok := m.part(s, b[1], b[2], a)
		t, isTuple := b[0].(*Tuple)
		if !isTuple {
			p := a.strArg(m, b[0])
			m.read(len(p))
			return ok && has(s, p)
		}
		for _, v := range t.items {
			p := a.strArg(m, v)
			m.read(len(p))
			if ok && has(s, p) {
				return true
			}
		}
		return false
	}
}

// part is the slice of a string to which start and end restrict a method. It is
// false where even the empty string is not found in it.
func (m *machine) part(s string, start, end any, a args) (string, bool) {
	from, to := or(start, nil), or(end, nil)
	if from == nil && to == nil {
		return s, true
	}
	m.read(len(s))
	if i, ok := integer(from); ok && i > int64(utf8.RuneCountInString(s)) {
		return "", false
	}
	return m.slice(s, from, to, nil).(string), true
}

func cut(trim func(s, affix string) string) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		return trim(s, a.strArg(m, a.bind(m, 1, "affix")[0]))
	}
}

// fields splits at white space, at most `most` times (negative: everywhere).
func fields(s string, most int64) []string {
	var out []string
	for {
		s = strings.TrimLeftFunc(s, isSpace)
		if s == "" {
			return out
		}
		i := strings.IndexFunc(s, isSpace)
		if most == 0 || i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = s[i:]
		most--
	}
}

// rfields is fields from the end.
func rfields(s string, most int64) []string {
	var out []string
	for {
		s = strings.TrimRightFunc(s, isSpace)
		if s == "" {
			break
		}
		i := strings.LastIndexFunc(s, isSpace)
		if most == 0 || i < 0 {
			out = append(out, s)
			break
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		out = append(out, s[i+size:])
		s = s[:i]
		most--
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func (m *machine) stringList(parts []string) *List {
	m.growItems(2 * len(parts))
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return &List{items}
}

// splitArgs reads the arguments of split, and charges for the pieces.
func splitArgs(m *machine, s string, a args) (sep string, space bool, most int64) {
	b := a.bind(m, 0, "sep", "maxsplit")
	most = a.intArg(m, b[1], -1)
	v := or(b[0], nil)
	if v == nil {
		m.growItems(len(s)/2 + 1)
		return "", true, most
	}
	sep = a.strArg(m, v)
	if sep == "" {
		m.fail("empty separator")
	}
	m.read(len(s))
	m.growItems(strings.Count(s, sep) + 1)
	return sep, false, most
}

func splitMethod(m *machine, s string, a args) any {
	sep, space, most := splitArgs(m, s, a)
	if space {
		return m.stringList(fields(s, most))
	}
	pieces := strings.Count(s, sep) + 1
	if most >= 0 && most < int64(pieces) {
		pieces = int(most) + 1
	}
	return m.stringList(strings.SplitN(s, sep, pieces))
}

func rsplitMethod(m *machine, s string, a args) any {
	sep, space, most := splitArgs(m, s, a)
	if space {
		return m.stringList(rfields(s, most))
	}
	var out []string
	for ; most != 0; most-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		out = append(out, s[i+len(sep):])
		s = s[:i]
	}
	out = append(out, s)
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return m.stringList(out)
}

func splitlinesMethod(m *machine, s string, a args) any {
	keep := truth(or(a.bind(m, 0, "keepends")[0], false))
	m.growItems(len(s)/16 + 1)
	return m.stringList(m.splitLines(s, keep))
}

// splitLines splits at every line boundary that Python knows.
func (m *machine) splitLines(s string, keep bool) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		end := i
		i += size
		switch r {
		case '\r':
			if i < len(s) && s[i] == '\n' {
				i++
			}
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		if keep {
			end = i
		}
		m.growItems(2)
		out = append(out, s[start:end])
		start = i
	}
	if start < len(s) {
		out = append(out, s[start:])
	}
	return out
}

func partition(index func(s, sep string) int, fromRight bool) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		sep := a.strArg(m, a.bind(m, 1, "sep")[0])
		if sep == "" {
			m.fail("empty separator")
		}
		m.read(len(s))
		i := index(s, sep)
		switch {
		case i >= 0:
			return &Tuple{[]any{s[:i], sep, s[i+len(sep):]}}
		case fromRight:
			return &Tuple{[]any{"", "", s}}
		}
		return &Tuple{[]any{s, "", ""}}
	}
}

func joinMethod(m *machine, s string, a args) any {
	items := m.iterate(a.bind(m, 1, "iterable")[0])
	for i, v := range items {
		if _, ok := v.(string); !ok {
			m.fail("sequence item %d: expected str instance, %s found", i, typeName(v))
		}
	}
	return m.join(s, items)
}

// join puts s between the printed items.
func (m *machine) join(s string, items []any) string {
	m.growItems(len(items))
	parts := make([]string, len(items))
	for i, v := range items {
		parts[i] = m.str(v)
		m.grow(len(parts[i]) + len(s))
	}
	return strings.Join(parts, s)
}

func replaceMethod(m *machine, s string, a args) any {
	b := a.bind(m, 2, "old", "new", "count")
	return m.replace(s, a.strArg(m, b[0]), a.strArg(m, b[1]), a.intArg(m, b[2], -1))
}

func (m *machine) replace(s, old, by string, most int64) string {
	m.read(len(s))
	n := int64(strings.Count(s, old))
	if most >= 0 && most < n {
		n = most
	}
	if d := int64(len(by) - len(old)); d > 0 && n > m.limits.Bytes/d {
		m.failLimit("bytes of memory", m.limits.Bytes)
	}
	m.grow(len(s) + int(n)*max(len(by)-len(old), 0))
	return strings.Replace(s, old, by, int(n))
}

func find(index func(s, sub string) int, must bool) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		b := a.bind(m, 1, "sub", "start", "end")
		sub := a.strArg(m, b[0])
		m.read(len(s))
		part, ok := m.part(s, b[1], b[2], a)
		i := -1
		if ok {
			i = index(part, sub)
		}
		if i < 0 {
			if must {
				m.fail("substring not found")
			}
			return int64(-1)
		}
		n := int64(utf8.RuneCountInString(part[:i]))
		if from, ok := integer(or(b[1], nil)); ok {
			if from < 0 {
				from = max(0, from+int64(utf8.RuneCountInString(s)))
			}
			n += from
		}
		return n
	}
}

func countMethod(m *machine, s string, a args) any {
	b := a.bind(m, 1, "sub", "start", "end")
	sub := a.strArg(m, b[0])
	m.read(len(s))
	part, ok := m.part(s, b[1], b[2], a)
	if !ok {
		return int64(0)
	}
	return int64(strings.Count(part, sub))
}

// pad fills to a width; left is the share of the fill that goes before.
func pad(left float64) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		b := a.bind(m, 1, "width", "fillchar")
		fill := a.strArg(m, or(b[1], " "))
		if utf8.RuneCountInString(fill) != 1 {
			m.fail("the fill character must be exactly one character long")
		}
		return m.pad(s, a.intArg(m, b[0], 0), fill, left)
	}
}

func (m *machine) pad(s string, width int64, fill string, left float64) string {
	m.read(len(s))
	n := width - int64(utf8.RuneCountInString(s))
	if n <= 0 {
		return s
	}
	before := int64(float64(n) * left)
	if left == 0.5 && n%2 == 1 && width%2 == 1 {
		before++ // Python centers odd on odd so
	}
	return m.repeat(fill, before) + s + m.repeat(fill, n-before)
}

func zfillMethod(m *machine, s string, a args) any {
	width := a.intArg(m, a.bind(m, 1, "width")[0], 0)
	n := width - int64(utf8.RuneCountInString(s))
	if n <= 0 {
		return s
	}
	zeros := m.repeat("0", n)
	m.grow(len(s) + len(zeros))
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[:1] + zeros + s[1:]
	}
	return zeros + s
}

func every(is func(rune) bool) func(m *machine, s string, a args) any {
	return func(m *machine, s string, a args) any {
		a.none(m)
		m.read(len(s))
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
	}
}

// hasCase says whether every letter that has a case has the one of is, and
// there is one.
func (m *machine) hasCase(s string, is func(rune) bool) bool {
	m.read(len(s))
	found := false
	for _, r := range s {
		switch {
		case is(r):
			found = true
		case unicode.IsUpper(r), unicode.IsLower(r), unicode.IsTitle(r):
			return false
		}
	}
	return found
}
