package jinja

import (
	"fmt"
	"unicode/utf8"
)

// getAttr is v.name: an attribute of Python's object before an element.
func (m *machine) getAttr(v any, name string) any {
	m.use(v)
	if a, ok := m.attribute(v, name); ok {
		return a
	}
	if d, ok := v.(*Dict); ok {
		if a, ok := m.dictGet(d, name); ok {
			return a
		}
	}
	return missing(v, name)
}

// getItem is v[index]: an element before an attribute.
func (m *machine) getItem(v, index any) any {
	m.use(v)
	index = plain(index)
	if s, ok := v.(markup); ok {
		if c, ok := m.getItem(string(s), index).(string); ok {
			return markup(c)
		}
	}
	switch v := v.(type) {
	case *Dict:
		if a, ok := m.dictGet(v, index); ok {
			return a
		}
	case *List:
		if i, ok := position(index, len(v.items)); ok {
			return v.items[i]
		}
	case *Tuple:
		if i, ok := position(index, len(v.items)); ok {
			return v.items[i]
		}
	case *rangeValue:
		if i, ok := position(index, int(v.n)); ok {
			return v.at(int64(i))
		}
	case string:
		m.read(len(v))
		n := utf8.RuneCountInString(v)
		if i, ok := position(index, n); ok {
			if n == len(v) {
				return v[i : i+1]
			}
			for at := range v {
				if i == 0 {
					_, size := utf8.DecodeRuneInString(v[at:])
					return v[at : at+size]
				}
				i--
			}
		}
	}
	if name, ok := index.(string); ok {
		if a, ok := m.attribute(v, name); ok {
			return a
		}
		return missing(v, name)
	}
	m.use(index)
	return &Undefined{message: fmt.Sprintf("%s object has no element %s", typeName(v), m.describe(index))}
}

// describe prints a value for an error.
func (m *machine) describe(v any) string {
	switch v.(type) {
	case nil, bool, int64, float64:
		return scalar(v)
	}
	return "of type " + typeName(v)
}

func missing(v any, name string) *Undefined {
	return &Undefined{message: fmt.Sprintf("'%s object' has no attribute '%s'", typeName(v), name)}
}

// position resolves an index into n elements; negative ones count from the end.
func position(index any, n int) (int, bool) {
	i, ok := integer(index)
	if !ok {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// unsafe is what the sandbox gives for an attribute that must not be used.
func unsafe(v any, name string) *Undefined {
	return &Undefined{message: fmt.Sprintf("access to attribute '%s' of '%s' object is unsafe", name, typeName(v))}
}

// attribute finds an attribute that Python's object has by itself.
func (m *machine) attribute(v any, name string) (any, bool) {
	if len(name) > 1 && name[0] == '_' && name[1] == '_' {
		switch v.(type) {
		case *Namespace, *Dict:
		default:
			return unsafe(v, name), true
		}
	}
	switch v := v.(type) {
	case string:
		if fn, ok := stringMethods[name]; ok {
			return bound("str."+name, func(m *machine, a args) any { return fn(m, v, a) }), true
		}
		m.refuse(v, name, otherStringMethods...)
	case markup:
		return m.markupAttribute(v, name)
	case *Dict:
		return m.dictAttribute(v, name)
	case *List:
		switch name {
		case "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort":
			return unsafe(v, name), true
		case "count", "index":
			return itemsMethod("list."+name, name, v.items), true
		}
		m.refuse(v, name, "copy")
	case *Tuple:
		if name == "count" || name == "index" {
			return itemsMethod("tuple."+name, name, v.items), true
		}
	case *Namespace:
		return m.dictGet(v.attrs, name)
	case *loop:
		return m.loopAttribute(v, name)
	case *Macro:
		switch name {
		case "name":
			return v.def.name, true
		case "arguments":
			t := &Tuple{}
			for _, p := range v.def.params {
				t.items = append(t.items, p.name)
			}
			return t, true
		}
		m.refuse(v, name, "catch_kwargs", "catch_varargs", "caller")
	case bool, int64:
		m.refuse(v, name, "real", "imag", "numerator", "denominator", "bit_length", "bit_count",
			"conjugate", "to_bytes", "from_bytes", "as_integer_ratio", "is_integer")
	case float64:
		m.refuse(v, name, "real", "imag", "conjugate", "as_integer_ratio", "is_integer", "hex", "fromhex")
	case *rangeValue:
		if name == "count" || name == "index" {
			return itemsMethod("range."+name, name, m.iterate(v)), true
		}
		m.refuse(v, name, "start", "stop", "step")
	case *dictView:
		m.refuse(v, name, "mapping", "isdisjoint")
	}
	return nil, false
}

// refuse fails on attributes that Python has and this package does not: to call
// them undefined would silently change what a template does.
func (m *machine) refuse(v any, name string, list ...string) {
	for _, n := range list {
		if n == name {
			m.fail("'%s' of a value of type %s is not supported", name, typeName(v))
		}
	}
}

func bound(name string, call func(m *machine, a args) any) *function {
	return &function{name: name, call: call}
}

func (m *machine) dictAttribute(d *Dict, name string) (any, bool) {
	switch name {
	case "clear", "pop", "popitem", "setdefault", "update":
		return unsafe(d, name), true
	case "keys", "values", "items":
		return bound("dict."+name, func(m *machine, a args) any {
			a.none(m)
			switch name {
			case "keys":
				return &dictView{name, d.keys}
			case "values":
				return &dictView{name, d.values}
			}
			return &dictView{name, m.pairs(d)}
		}), true
	case "get":
		return bound("dict.get", func(m *machine, a args) any {
			b := a.bind(m, 1, "key", "default")
			m.hash(b[0])
			if v, ok := m.dictGet(d, b[0]); ok {
				return v
			}
			return or(b[1], nil)
		}), true
	}
	m.refuse(d, name, "copy", "fromkeys")
	return nil, false
}

// pairs returns the (key, value) tuples of a dict.
func (m *machine) pairs(d *Dict) []any {
	m.growItems(4 * len(d.keys))
	items := make([]any, len(d.keys))
	for i, k := range d.keys {
		items[i] = &Tuple{[]any{k, d.values[i]}}
	}
	return items
}

func itemsMethod(full, name string, items []any) *function {
	return bound(full, func(m *machine, a args) any {
		want := a.bind(m, 1, "value")[0]
		n := int64(0)
		for i, v := range items {
			if m.equal(v, want) {
				if name == "index" {
					return int64(i)
				}
				n++
			}
		}
		if name == "index" {
			m.fail("%s: the value is not there", full)
		}
		return n
	})
}

func (m *machine) loopAttribute(l *loop, name string) (any, bool) {
	n := int64(len(l.items))
	i := int64(l.index0)
	switch name {
	case "index":
		return i + 1, true
	case "index0":
		return i, true
	case "revindex":
		return n - i, true
	case "revindex0":
		return n - i - 1, true
	case "first":
		return i == 0, true
	case "last":
		return i == n-1, true
	case "length":
		return n, true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if i == 0 {
			return &Undefined{message: "there is no previous item"}, true
		}
		return l.items[i-1], true
	case "nextitem":
		if i == n-1 {
			return &Undefined{message: "there is no next item"}, true
		}
		return l.items[i+1], true
	case "cycle":
		return bound("loop.cycle", func(m *machine, a args) any {
			if len(a.list) == 0 {
				m.fail("no items for cycling given")
			}
			return a.list[l.index0%len(a.list)]
		}), true
	case "changed":
		return bound("loop.changed", func(m *machine, a args) any {
			now := &Tuple{a.list}
			if l.changed != nil && m.equal(l.changed, now) {
				return false
			}
			l.changed = now
			return true
		}), true
	}
	return nil, false
}
