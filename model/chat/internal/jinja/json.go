package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds the nesting of JSON that is decoded; Python's decoder
// stops at about a thousand.
const maxJSONDepth = 500

// maxJSONDigits bounds an integer in JSON, as Python does.
const maxJSONDigits = 4300

// DecodeJSON reads one JSON value as Python's json.loads does: objects keep the
// order of their keys, 1 is an int and 1.0 a float.
func DecodeJSON(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decodeValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text follows the JSON value")
	}
	return v, nil
}

func decodeValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("JSON is nested deeper than %d levels", maxJSONDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return decodeNumber(string(t))
	case json.Delim:
		if t == '[' {
			return decodeArray(d, depth)
		}
		return decodeObject(d, depth)
	}
	return t, nil // nil, bool or string
}

func decodeNumber(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		return f, nil
	}
	if len(s) > maxJSONDigits {
		return nil, fmt.Errorf("an integer has more than %d digits", maxJSONDigits)
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("invalid number %q", s)
	}
	return i, nil
}

func decodeArray(d *json.Decoder, depth int) (any, error) {
	l := &List{}
	for d.More() {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := d.Token()
	return l, err
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	o := NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		o.Set(key.(string), v)
	}
	_, err := d.Token()
	return o, err
}

// jsonStyle are the arguments of json.dumps.
type jsonStyle struct {
	ascii          bool
	indent         string
	indented       bool
	item, keyValue string // separators
	sortKeys       bool
}

// tojson is the filter of transformers: json.dumps without HTML escaping, and
// with ensure_ascii off.
func tojson(m *machine, v any, a args) any {
	b := a.bind(m, 0, "ensure_ascii", "indent", "separators", "sort_keys")
	st := jsonStyle{ascii: truth(or(b[0], false)), item: ", ", keyValue: ": ", sortKeys: truth(or(b[3], false))}
	switch in := or(b[1], nil).(type) {
	case nil:
	case string:
		st.indent, st.indented = in, true
	default:
		n := a.intArg(m, in, 0)
		if n > 100 {
			m.fail("an indentation of %d is too much", n)
		}
		st.indent, st.indented = strings.Repeat(" ", int(max(n, 0))), true
	}
	if st.indented {
		st.item = ","
	}
	if sep := or(b[2], nil); sep != nil {
		pair := m.iterate(sep)
		if len(pair) != 2 {
			m.fail("separators must be two strings")
		}
		st.item, st.keyValue = a.strArg(m, pair[0]), a.strArg(m, pair[1])
	}
	var out strings.Builder
	m.dump(&out, &st, v, 0)
	return out.String()
}

func (m *machine) dump(out *strings.Builder, st *jsonStyle, v any, level int) {
	m.enter()
	defer m.leave()
	put := func(s string) {
		m.grow(len(s))
		out.WriteString(s)
	}
	newline := func(level int) {
		if st.indented {
			m.grow(1 + level*len(st.indent))
			out.WriteByte('\n')
			for range level {
				out.WriteString(st.indent)
			}
		}
	}
	array := func(items []any) {
		if len(items) == 0 {
			put("[]")
			return
		}
		put("[")
		for i, v := range items {
			if i > 0 {
				put(st.item)
			}
			newline(level + 1)
			m.dump(out, st, v, level+1)
		}
		newline(level)
		put("]")
	}
	switch v := v.(type) {
	case nil, bool, int64, float64, *big.Int:
		put(jsonScalar(v))
	case string:
		m.quote(out, st, v)
	case markup:
		m.quote(out, st, string(v))
	case *List:
		array(v.items)
	case *Tuple:
		array(v.items)
	case *Dict:
		if len(v.keys) == 0 {
			put("{}")
			return
		}
		put("{")
		for i, at := range m.keyOrder(v, st.sortKeys) {
			if i > 0 {
				put(st.item)
			}
			newline(level + 1)
			switch k := plain(v.keys[at]).(type) {
			case string:
				m.quote(out, st, k)
			default:
				put(`"` + jsonScalar(k) + `"`)
			}
			put(st.keyValue)
			m.dump(out, st, v.values[at], level+1)
		}
		newline(level)
		put("}")
	default:
		m.fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

func (m *machine) keyOrder(d *Dict, sorted bool) []int {
	m.growItems(len(d.keys))
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if sorted {
		return m.order(d.keys, false)
	}
	return order
}

func jsonScalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		if v {
			return "true"
		}
		return "false"
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN"
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
	case *big.Int:
		return v.String()
	}
	return scalar(v)
}

// quote writes a JSON string with the escapes that Python's json uses.
func (m *machine) quote(out *strings.Builder, st *jsonStyle, s string) {
	m.grow(len(s) + 2)
	out.WriteByte('"')
	start := 0
	for i, size := 0, 0; i < len(s); i += size {
		var r rune
		r, size = utf8.DecodeRuneInString(s[i:])
		if r >= 0x20 && r != '"' && r != '\\' && (!st.ascii || r < 0x7f) {
			continue
		}
		out.WriteString(s[start:i])
		start = i + size
		m.grow(12)
		switch r {
		case '"', '\\':
			out.WriteByte('\\')
			out.WriteByte(byte(r))
		case '\n':
			out.WriteString(`\n`)
		case '\r':
			out.WriteString(`\r`)
		case '\t':
			out.WriteString(`\t`)
		case '\f':
			out.WriteString(`\f`)
		case '\b':
			out.WriteString(`\b`)
		default:
			if r > 0xffff {
				r -= 0x10000
				fmt.Fprintf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
			} else {
				fmt.Fprintf(out, `\u%04x`, r)
			}
		}
	}
	out.WriteString(s[start:])
	out.WriteByte('"')
}
