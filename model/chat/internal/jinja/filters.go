package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type filterFunc func(m *machine, v any, a args) any

// filters are those of jinja2, with transformers' tojson.
var filters = map[string]filterFunc{
	"abs":         absFilter,
	"attr":        attrFilter,
	"capitalize":  keepMarkup(text(func(m *machine, s string) any { return m.capitalize(s) })),
	"center":      centerFilter,
	"count":       lengthFilter,
	"d":           defaultFilter,
	"default":     defaultFilter,
	"dictsort":    dictsortFilter,
	"e":           escapeFilter,
	"escape":      escapeFilter,
	"first":       firstFilter,
	"forceescape": forceEscapeFilter,
	"safe":        safeFilter,
	"float":       floatFilter,
	"format":      formatFilter,
	"indent":      indentFilter,
	"int":         intFilter,
	"items":       itemsFilter,
	"join":        joinFilter,
	"last":        lastFilter,
	"length":      lengthFilter,
	"list":        listFilter,
	"lower":       keepMarkup(text(func(m *machine, s string) any { return m.lower(s) })),
	"map":         mapFilter,
	"max":         extremeFilter(1),
	"min":         extremeFilter(-1),
	"reject":      selectFilter(false, false),
	"rejectattr":  selectFilter(true, false),
	"replace":     replaceFilter,
	"reverse":     reverseFilter,
	"round":       roundFilter,
	"select":      selectFilter(false, true),
	"selectattr":  selectFilter(true, true),
	"sort":        sortFilter,
	"string":      keepMarkup(text(func(m *machine, s string) any { return s })),
	"sum":         sumFilter,
	"title":       keepMarkup(text(func(m *machine, s string) any { return m.titleFilter(s) })),
	"tojson":      tojson,
	"trim":        keepMarkup(trimFilter),
	"unique":      uniqueFilter,
	"upper":       keepMarkup(text(func(m *machine, s string) any { return m.upper(s) })),
	"wordcount":   text(func(m *machine, s string) any { return m.wordCount(s) }),
}

// unsupportedFilters are jinja2's others.
var unsupportedFilters = map[string]bool{
	"batch": true, "filesizeformat": true, "groupby": true,
	"pprint": true, "random": true, "slice": true, "striptags": true, "truncate": true,
	"urlencode": true, "urlize": true, "wordwrap": true, "xmlattr": true,
}

// text makes a filter of a function of the printed value.
func text(f func(m *machine, s string) any) filterFunc {
	return func(m *machine, v any, a args) any {
		a.none(m)
		return f(m, m.str(v))
	}
}

func absFilter(m *machine, v any, a args) any {
	a.none(m)
	m.use(v)
	i, f, isFloat, ok := number(v)
	switch {
	case !ok:
		m.fail("bad operand type for abs(): '%s'", typeName(v))
	case isFloat:
		return math.Abs(f)
	case i < 0:
		return m.binary("-", int64(0), i)
	}
	return i
}

func attrFilter(m *machine, v any, a args) any {
	name := a.strArg(m, a.bind(m, 1, "name")[0])
	m.use(v)
	if got, ok := m.attribute(v, name); ok {
		return got
	}
	return missing(v, name)
}

func centerFilter(m *machine, v any, a args) any {
	return m.pad(m.str(v), a.intArg(m, a.bind(m, 0, "width")[0], 80), " ", 0.5)
}

func lengthFilter(m *machine, v any, a args) any {
	a.none(m)
	n, ok := m.length(v)
	if !ok {
		m.fail("object of type '%s' has no len()", typeName(v))
	}
	return int64(n)
}

func defaultFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "default_value", "boolean")
	_, undefined := v.(*Undefined)
	if undefined || truth(or(b[1], false)) && !truth(v) {
		return or(b[0], "")
	}
	return v
}

func floatFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "default")
	m.use(v)
	if _, f, _, ok := number(v); ok {
		return f
	}
	switch v := v.(type) {
	case string:
		m.tick(len(v)) // it takes longer than reading
		if f, ok := parseFloat(v); ok {
			return f
		}
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	return or(b[0], 0.0)
}

// parseFloat is Python's float(s).
func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if strings.ContainsAny(s, "xXpP") { // Go reads hexadecimal floats
		return 0, false
	}
	clean := s
	if strings.Contains(s, "_") {
		for i := range len(s) {
			if s[i] == '_' && (i == 0 || i+1 == len(s) || !decimal(s[i-1]) || !decimal(s[i+1])) {
				return 0, false
			}
		}
		clean = strings.ReplaceAll(s, "_", "")
	}
	f, err := strconv.ParseFloat(clean, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func intFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "default", "base")
	base := a.intArg(m, b[1], 10)
	m.use(v)
	if _, ok := v.(*big.Int); ok {
		return v
	}
	if i, f, isFloat, ok := number(v); ok {
		if isFloat {
			if math.IsNaN(f) || math.IsInf(f, 0) {
				return or(b[0], int64(0))
			}
			return m.truncate(f)
		}
		return i
	}
	s, ok := v.(string)
	if !ok {
		return or(b[0], int64(0))
	}
	m.tick(len(s))
	if i, ok := m.parseInt(s, base); ok {
		return i
	}
	if f, ok := parseFloat(s); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return m.truncate(f)
	}
	return or(b[0], int64(0))
}

// parseInt is Python's int(s, base).
func (m *machine) parseInt(s string, base int64) (int64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if base != 0 && (base < 2 || base > 36) || len(s) > maxJSONDigits {
		return 0, false
	}
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	if len(s) > 2 && s[0] == '0' {
		prefix := map[byte]int64{'x': 16, 'o': 8, 'b': 2}[s[1]|0x20]
		if prefix != 0 && (prefix == base || base == 0) {
			s, base = strings.TrimPrefix(s[2:], "_"), prefix
		}
	}
	if base == 0 {
		if strings.TrimLeft(s, "0_") != "" && s[0] == '0' {
			return 0, false
		}
		base = 10
	}
	if strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") || strings.Contains(s, "__") || strings.ContainsAny(s, "+-") {
		return 0, false
	}
	i, ok := new(big.Int).SetString(sign+strings.ReplaceAll(s, "_", ""), int(base))
	if !ok {
		return 0, false
	}
	if !i.IsInt64() {
		m.fail("integers of more than 64 bits are not supported")
	}
	return i.Int64(), true
}

func formatFilter(m *machine, v any, a args) any {
	if len(a.names) > 0 {
		if len(a.list) > 0 {
			m.fail("format cannot handle positional and keyword arguments at the same time")
		}
		d := NewDict()
		for i, n := range a.names {
			d.Set(n, a.named[i])
		}
		return m.percent(m.str(v), d)
	}
	return m.percent(m.str(v), &Tuple{a.list})
}

func indentFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "width", "first", "blank")
	indent, ok := or(b[0], nil).(string)
	if !ok {
		indent = m.repeat(" ", a.intArg(m, b[0], 4))
	}
	s := a.strArg(m, v)
	m.grow(2 * len(s))
	lines := m.splitLines(s+"\n", false)
	var out strings.Builder
	for i, line := range lines {
		if i > 0 {
			out.WriteByte('\n')
		}
		if i == 0 && truth(or(b[1], false)) || i > 0 && (line != "" || truth(or(b[2], false))) {
			m.grow(len(indent))
			out.WriteString(indent)
		}
		out.WriteString(line)
	}
	return out.String()
}

func replaceFilter(m *machine, v any, a args) any {
	b := a.bind(m, 2, "old", "new", "count")
	count := int64(-1)
	if or(b[2], nil) != nil {
		count = a.intArg(m, b[2], -1)
	}
	return m.replace(m.str(v), m.str(b[0]), m.str(b[1]), count)
}

func roundFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "precision", "method")
	precision := a.intArg(m, b[0], 0)
	method := a.strArg(m, or(b[1], "common"))
	m.use(v)
	i, f, isFloat, ok := number(v)
	if !ok {
		m.fail("a value of type %s cannot be rounded", typeName(v))
	}
	if precision < -300 || precision > 300 {
		m.fail("precision %d is not supported", precision)
	}
	switch method {
	case "common":
		if !isFloat {
			if precision < 0 {
				m.fail("rounding integers to a negative precision is not supported")
			}
			return i
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return f
		}
		if precision < 0 {
			p := math.Pow(10, float64(-precision))
			return math.RoundToEven(f/p) * p
		}
		// Rounding the decimal expansion, half to even, as Python does.
		r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(precision), 64), 64)
		return r
	case "ceil", "floor":
		// 10**precision is an int for a precision that is not negative, and a
		// float divided by it is a float.
		p := math.Pow(10, float64(precision))
		if method == "ceil" {
			return math.Ceil(f*p) / p
		}
		return math.Floor(f*p) / p
	}
	m.fail("method must be common, ceil or floor")
	return nil
}

func trimFilter(m *machine, v any, a args) any {
	return m.strip(m.str(v), or(a.bind(m, 0, "chars")[0], nil), a, strings.TrimFunc)
}

// titleFilter is jinja2's title: words start after white space, brackets and
// hyphens.
func (m *machine) titleFilter(s string) string {
	m.grow(3 * len(s))
	var b strings.Builder
	boundary := func(r rune) bool { return isSpace(r) || strings.ContainsRune("-({[<", r) }
	for s != "" {
		i := strings.IndexFunc(s, boundary)
		if i == 0 {
			n := len(s) - len(strings.TrimLeftFunc(s, boundary))
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		if i < 0 {
			i = len(s)
		}
		_, size := utf8.DecodeRuneInString(s)
		b.WriteString(m.upper(s[:size]))
		b.WriteString(m.lower(s[size:i]))
		s = s[i:]
	}
	return b.String()
}

func (m *machine) wordCount(s string) any {
	m.read(len(s))
	n := int64(0)
	inWord := false
	for _, r := range s {
		word := r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
		if word && !inWord {
			n++
		}
		inWord = word
	}
	return n
}
