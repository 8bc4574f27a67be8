package jinja

import "strings"

// markup is a string that a template marked as safe for HTML. It is a string in
// all but this: `+` escapes the other operand. (`~` does not, as transformers
// does not escape by default.)
type markup string

// plain turns markup into an ordinary string and leaves other values.
func plain(v any) any {
	if s, ok := v.(markup); ok {
		return string(s)
	}
	return v
}

func plainAll(list []any) []any {
	for i, v := range list {
		if _, ok := v.(markup); ok {
			out := append([]any(nil), list...)
			for j := i; j < len(out); j++ {
				out[j] = plain(out[j])
			}
			return out
		}
	}
	return list
}

// plain does not look into the arguments, as what compares and prints lists
// knows markup too.
func (a args) plain() args {
	a.list, a.named = plainAll(a.list), plainAll(a.named)
	return a
}

func (m *machine) escape(v any) markup {
	if s, ok := v.(markup); ok {
		return s
	}
	s := m.str(v)
	m.grow(6 * len(s))
	return markup(htmlEscaper.Replace(s))
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// addMarkup is a + b where one is markup.
func (m *machine) addMarkup(a, b any) any {
	for _, v := range []any{a, b} {
		switch v.(type) {
		case string, markup:
		default:
			m.use(v)
			m.fail("unsupported operand types for +: '%s' and '%s'", typeName(a), typeName(b))
		}
	}
	x, y := m.escape(a), m.escape(b)
	m.grow(len(x) + len(y))
	return x + y
}

func safeFilter(m *machine, v any, a args) any {
	a.none(m)
	if s, ok := v.(markup); ok {
		return s
	}
	return markup(m.str(v))
}

func escapeFilter(m *machine, v any, a args) any {
	a.none(m)
	return m.escape(v)
}

func forceEscapeFilter(m *machine, v any, a args) any {
	a.none(m)
	return m.escape(plain(v))
}

// takesMarkup are the filters that tell markup from strings.
var takesMarkup = map[string]bool{
	"capitalize": true, "d": true, "default": true, "e": true, "escape": true, "first": true, "forceescape": true,
	"last": true, "list": true, "lower": true, "safe": true, "string": true, "title": true, "trim": true, "upper": true,
}

// keepMarkup makes a filter of text give markup for markup.
func keepMarkup(f filterFunc) filterFunc {
	return func(m *machine, v any, a args) any {
		s, ok := v.(markup)
		if !ok {
			return f(m, v, a.plain())
		}
		return markup(m.str(f(m, string(s), a.plain())))
	}
}

// markupMethods are the string methods that work on markup as on strings; what
// the first map to true return is markup again.
var markupMethods = map[string]bool{
	"strip": true, "lstrip": true, "rstrip": true, "upper": true, "lower": true, "capitalize": true, "title": true,
	"startswith": false, "endswith": false, "find": false, "rfind": false, "index": false, "rindex": false,
	"count": false, "isdigit": false, "isdecimal": false, "isnumeric": false, "isalpha": false, "isalnum": false,
	"isspace": false, "isascii": false, "isupper": false, "islower": false,
}

func (m *machine) markupAttribute(s markup, name string) (any, bool) {
	keeps, known := markupMethods[name]
	_, method := stringMethods[name]
	switch {
	case !known && method:
		m.fail("'%s' of a string that is marked as safe is not supported", name)
	case !known:
		return m.attribute(string(s), name)
	}
	fn, _ := m.attribute(string(s), name)
	if !keeps {
		return fn, true
	}
	return bound("str."+name, func(m *machine, a args) any { return markup(m.str(m.call(fn, a, nil))) }), true
}
