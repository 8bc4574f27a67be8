package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
)

// str is Python's str().
func (m *machine) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *Undefined:
		return ""
	case nil, bool, int64:
		return scalar(v)
	}
	var b strings.Builder
	m.repr(&b, v)
	return b.String()
}

// scalar prints what needs no escaping.
func scalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return floatRepr(v)
	}
	return ""
}

// repr is Python's repr().
func (m *machine) repr(b *strings.Builder, v any) {
	m.enter()
	defer m.leave()
	put := func(s string) {
		m.grow(len(s))
		b.WriteString(s)
	}
	switch v := v.(type) {
	case nil, bool, int64, float64:
		put(scalar(v))
	case *big.Int:
		put(v.String())
	case string:
		m.grow(4 * len(v))
		b.WriteString(stringRepr(v))
	case markup:
		m.grow(4*len(v) + len("Markup()"))
		b.WriteString("Markup(" + stringRepr(string(v)) + ")")
	case *List:
		m.reprItems(b, "[", v.items, "]")
	case *Tuple:
		end := ")"
		if len(v.items) == 1 {
			end = ",)"
		}
		m.reprItems(b, "(", v.items, end)
	case *Dict:
		put("{")
		for i, k := range v.keys {
			if i > 0 {
				put(", ")
			}
			m.repr(b, k)
			put(": ")
			m.repr(b, v.values[i])
		}
		put("}")
	case *dictView:
		m.reprItems(b, "dict_"+v.kind+"([", v.items, "])")
	case *rangeValue:
		put(fmt.Sprintf("range(%d, %d", v.start, v.at(v.n)))
		if v.step != 1 {
			put(fmt.Sprintf(", %d", v.step))
		}
		put(")")
	case *Namespace:
		put("<Namespace ")
		m.repr(b, v.attrs)
		put(">")
	case *Undefined:
		put("Undefined")
	case *Macro:
		put("<Macro '" + v.def.name + "'>")
	case *loop:
		put(fmt.Sprintf("<LoopContext %d/%d>", v.index0+1, len(v.items)))
	default:
		// Python prints an address.
		m.fail("a value of type %s cannot be printed", typeName(v))
	}
}

func (m *machine) reprItems(b *strings.Builder, open string, items []any, end string) {
	m.grow(len(open) + len(end) + 2*len(items))
	b.WriteString(open)
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		m.repr(b, v)
	}
	b.WriteString(end)
}

// floatRepr is Python's repr of a float: the shortest digits that read back the
// same, with an exponent below 1e-4 and from 1e16 on.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64) // exponents have two digits at least in both
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func stringRepr(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	var b strings.Builder
	b.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte(quote)
	return b.String()
}
