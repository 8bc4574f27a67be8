package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxWidth bounds the width and precision of a formatted number.
const maxWidth = 1000

// percent is Python's printf-style `s % v`, for %s, %r, %d, %i, %f, %x, %X and
// %o; others are refused.
func (m *machine) percent(s string, v any) string {
	values := []any{v}
	if t, ok := v.(*Tuple); ok {
		values = t.items
	}
	named, isDict := v.(*Dict)
	optional := false // Python lets what can be subscripted stay unused
	switch v.(type) {
	case *Dict, *List, *rangeValue, *Undefined:
		optional = true
	}
	var b strings.Builder
	used := 0
	for i := 0; i < len(s); {
		at := strings.IndexByte(s[i:], '%')
		if at < 0 {
			at = len(s) - i
		}
		m.grow(at)
		b.WriteString(s[i : i+at])
		i += at
		if i == len(s) {
			break
		}
		i++
		var arg any = absent{}
		if i < len(s) && s[i] == '(' {
			end := strings.IndexByte(s[i:], ')')
			if end < 0 || !isDict {
				m.fail("format requires a mapping")
			}
			var ok bool
			if arg, ok = m.dictGet(named, s[i+1:i+end]); !ok {
				m.fail("the format's key '%s' is missing", s[i+1:i+end])
			}
			used = len(values)
			i += end + 1
		}
		spec := i
		for i < len(s) && strings.IndexByte("#0- +", s[i]) >= 0 {
			i++
		}
		flags := s[spec:i]
		width, n := leadingInt(s[i:])
		i += n
		precision := -1
		if i < len(s) && s[i] == '.' {
			precision, n = leadingInt(s[i+1:])
			i += 1 + n
		}
		if width > maxWidth || precision > maxWidth || i >= len(s) {
			m.fail("incomplete or too wide format")
		}
		verb := s[i]
		i++
		if verb == '%' {
			b.WriteByte('%')
			continue
		}
		if arg == any(absent{}) {
			if used >= len(values) {
				m.fail("not enough arguments for format string")
			}
			arg = values[used]
			used++
		}
		text := m.verb(verb, flags, width, precision, arg)
		m.grow(len(text))
		b.WriteString(text)
	}
	if used < len(values) && !optional {
		m.fail("not all arguments converted during string formatting")
	}
	return b.String()
}

// leadingInt reads the digits at the start of s; a number too large comes back
// as one above maxWidth.
func leadingInt(s string) (value, n int) {
	n = digits(s, decimal)
	if n == 0 {
		return 0, 0
	}
	v, err := strconv.Atoi(s[:n])
	if err != nil {
		v = maxWidth + 1
	}
	return v, n
}

func (m *machine) verb(verb byte, flags string, width, precision int, v any) string {
	if strings.Contains(flags, "#") {
		m.fail("the format flag '#' is not supported")
	}
	switch verb {
	case 's', 'r':
		text := m.str(v)
		if verb == 'r' {
			var b strings.Builder
			m.repr(&b, v)
			text = b.String()
		}
		if precision >= 0 {
			text = m.slice(text, nil, int64(precision), nil).(string)
		}
		fill := width - utf8.RuneCountInString(text)
		switch {
		case fill <= 0:
			return text
		case strings.Contains(flags, "-"):
			return text + strings.Repeat(" ", fill)
		}
		return strings.Repeat(" ", fill) + text
	case 'd', 'i', 'x', 'X', 'o', 'f', 'F':
		i, f, isFloat, ok := number(v)
		if !ok {
			m.use(v)
			m.fail("%%%c format: a number is required, not %s", verb, typeName(v))
		}
		format := "%" + strings.ReplaceAll(flags, "#", "")
		if width > 0 {
			format += strconv.Itoa(width)
		}
		if precision >= 0 {
			format += "." + strconv.Itoa(precision)
		}
		switch {
		case verb == 'f' || verb == 'F':
			return fmt.Sprintf(format+"f", f)
		case isFloat && (verb == 'd' || verb == 'i'):
			i = m.truncate(f)
		case isFloat:
			m.fail("%%%c format: an integer is required, not float", verb)
		}
		if verb == 'i' {
			verb = 'd'
		}
		return fmt.Sprintf(format+string(rune(verb)), i)
	}
	m.fail("the format '%%%c' is not supported", verb)
	return ""
}

// truncate is int(f).
func (m *machine) truncate(f float64) int64 {
	if f != f || f >= 1<<63 || f < -1<<63 {
		m.fail("cannot convert float %s to an integer of 64 bits", floatRepr(f))
	}
	return int64(f)
}

// formatMethod is str.format for fields without a conversion or a format of
// their own: {}, {0}, {name}.
func formatMethod(m *machine, s string, a args) any {
	var b strings.Builder
	next := 0
	for i := 0; i < len(s); {
		at := strings.IndexAny(s[i:], "{}")
		if at < 0 {
			at = len(s) - i
		}
		m.grow(at)
		b.WriteString(s[i : i+at])
		i += at
		if i == len(s) {
			break
		}
		if i+1 < len(s) && s[i+1] == s[i] {
			b.WriteByte(s[i])
			i += 2
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			m.fail("single '%c' encountered in format string", s[i])
		}
		field := s[i+1 : i+end]
		i += end + 1
		text := m.str(a.field(m, field, &next))
		m.grow(len(text))
		b.WriteString(text)
	}
	return b.String()
}

func (a args) field(m *machine, field string, next *int) any {
	if strings.ContainsAny(field, ".[!:{") {
		m.fail("the format field '{%s}' is not supported", field)
	}
	at := *next
	if field == "" {
		*next++
	} else if n, size := leadingInt(field); size == len(field) {
		at = n
	} else {
		for i, name := range a.names {
			if name == field {
				return a.named[i]
			}
		}
		m.fail("format: no argument '%s'", field)
	}
	if at >= len(a.list) {
		m.fail("format: not enough arguments")
	}
	return a.list[at]
}
