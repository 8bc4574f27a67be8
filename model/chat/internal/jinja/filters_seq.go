package jinja

import (
	"sort"
	"strconv"
	"strings"
)

// The filters of sequences and mappings. Where Python returns a lazy iterator,
// the elements are computed at once.

func firstFilter(m *machine, v any, a args) any {
	a.none(m)
	if g, ok := v.(*Generator); ok && len(g.items) > 0 {
		first := g.items[0]
		g.items = g.items[1:]
		return first
	}
	if items := m.iterate(v); len(items) > 0 {
		return items[0]
	}
	return &Undefined{message: "No first item, sequence was empty."}
}

func lastFilter(m *machine, v any, a args) any {
	a.none(m)
	if _, ok := v.(*Generator); ok {
		m.fail("'generator' object is not reversible")
	}
	if items := m.iterate(v); len(items) > 0 {
		return items[len(items)-1]
	}
	return &Undefined{message: "No last item, sequence was empty."}
}

func listFilter(m *machine, v any, a args) any {
	a.none(m)
	return &List{m.iterate(v)}
}

func itemsFilter(m *machine, v any, a args) any {
	a.none(m)
	switch v := v.(type) {
	case *Undefined:
		return &Generator{}
	case *Dict:
		return &Generator{m.pairs(v)}
	}
	m.fail("Can only get item pairs from a mapping.")
	return nil
}

func reverseFilter(m *machine, v any, a args) any {
	a.none(m)
	if s, ok := v.(string); ok {
		return m.slice(s, nil, nil, int64(-1))
	}
	items := m.iterate(v)
	m.growItems(len(items))
	out := make([]any, len(items))
	for i, x := range items {
		out[len(items)-1-i] = x
	}
	if _, ok := v.(*Generator); ok {
		return &List{out}
	}
	return &Generator{out}
}

func joinFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "d", "attribute")
	items := m.iterate(v)
	if attr := or(b[1], nil); attr != nil {
		items = m.mapped(items, m.getter(a, attr, nil))
	}
	return m.join(m.str(or(b[0], "")), items)
}

// getter returns a function that follows a dotted path of attributes and
// indices; fallback, unless nil, stands for what is missing.
func (m *machine) getter(a args, attr, fallback any) func(any) any {
	var path []any
	switch attr := attr.(type) {
	case string:
		m.growItems(strings.Count(attr, ".") + 1)
		for _, p := range strings.Split(attr, ".") {
			if i, err := strconv.ParseInt(p, 10, 64); err == nil && p != "" && decimal(p[0]) {
				path = append(path, i)
			} else {
				path = append(path, p)
			}
		}
	default:
		path = []any{a.intArg(m, attr, 0)}
	}
	return func(v any) any {
		for _, p := range path {
			v = m.getItem(v, p)
			if _, ok := v.(*Undefined); ok && fallback != nil {
				v = fallback
			}
		}
		return v
	}
}

func (m *machine) mapped(items []any, f func(any) any) []any {
	m.growItems(len(items))
	out := make([]any, len(items))
	for i, v := range items {
		m.tick(1)
		out[i] = f(v)
	}
	return out
}

func mapFilter(m *machine, v any, a args) any {
	if !truth(v) {
		return &Generator{}
	}
	if len(a.list) == 0 {
		b := a.bind(m, 0, "attribute", "default")
		attr := or(b[0], nil)
		if attr == nil {
			m.fail("map requires a filter argument")
		}
		return &Generator{m.mapped(m.iterate(v), m.getter(a, attr, or(b[1], nil)))}
	}
	name := a.strArg(m, a.list[0])
	fn, ok := m.filters[name]
	if !ok {
		m.fail("no filter named '%s', or it is not supported", name)
	}
	inner := args{fn: name, list: a.list[1:], names: a.names, named: a.named}
	return &Generator{m.mapped(m.iterate(v), func(v any) any {
		m.enter()
		defer m.leave()
		return fn(m, v, inner)
	})}
}

// selectFilter keeps the elements (or those whose attribute) a test is keep for.
func selectFilter(attribute, keep bool) filterFunc {
	return func(m *machine, v any, a args) any {
		if !truth(v) {
			return &Generator{}
		}
		get := func(v any) any { return v }
		rest := a.list
		if attribute {
			if len(rest) == 0 {
				m.fail("%s needs the name of an attribute", a.fn)
			}
			get = m.getter(a, rest[0], nil)
			rest = rest[1:]
		}
		is := func(v any) bool { return truth(v) }
		if len(rest) > 0 {
			name := a.strArg(m, rest[0])
			fn, ok := m.tests[name]
			if !ok {
				m.fail("no test named '%s', or it is not supported", name)
			}
			inner := args{fn: name, list: rest[1:], names: a.names, named: a.named}
			is = func(v any) bool { return fn(m, v, inner) }
		}
		g := &Generator{}
		for _, v := range m.iterate(v) {
			m.tick(1)
			if is(get(v)) == keep {
				m.growItems(2)
				g.items = append(g.items, v)
			}
		}
		return g
	}
}

// order returns the stable order in which keys ascend (or descend).
func (m *machine) order(keys []any, reverse bool) []int {
	m.growItems(len(keys))
	at := make([]int, len(keys))
	for i := range at {
		at[i] = i
	}
	sort.SliceStable(at, func(i, j int) bool {
		a, b := keys[at[i]], keys[at[j]]
		if reverse {
			a, b = b, a
		}
		return m.compare(a, b, "<") < 0
	})
	return at
}

func (m *machine) sorted(items, keys []any, reverse bool) []any {
	out := make([]any, len(items))
	for i, at := range m.order(keys, reverse) {
		out[i] = items[at]
	}
	return out
}

// foldCase makes a key ignore the case of strings.
func (m *machine) foldCase(v any) any {
	if s, ok := v.(string); ok {
		return m.lower(s)
	}
	return v
}

func sortFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "reverse", "case_sensitive", "attribute")
	items := m.iterate(v)
	fold := m.foldCase
	if truth(or(b[1], false)) {
		fold = func(v any) any { return v }
	}
	get := fold
	if s, ok := or(b[2], nil).(string); ok && strings.Contains(s, ",") {
		var getters []func(any) any
		for _, attr := range strings.Split(s, ",") {
			m.growItems(1)
			getters = append(getters, m.getter(a, attr, nil))
		}
		get = func(v any) any {
			key := &List{}
			for _, g := range getters {
				key.items = append(key.items, fold(g(v)))
			}
			return key
		}
	} else if attr := or(b[2], nil); attr != nil {
		g := m.getter(a, attr, nil)
		get = func(v any) any { return fold(g(v)) }
	}
	m.growItems(len(items))
	return &List{m.sorted(items, m.mapped(items, get), truth(or(b[0], false)))}
}

func dictsortFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "case_sensitive", "by", "reverse")
	d, ok := v.(*Dict)
	if !ok {
		m.use(v)
		m.fail("dictsort needs a mapping, got '%s'", typeName(v))
	}
	keys := d.keys
	switch by := a.strArg(m, or(b[1], "key")); by {
	case "key":
	case "value":
		keys = d.values
	default:
		m.fail(`dictsort sorts by "key" or "value", not by "%s"`, by)
	}
	if !truth(or(b[0], false)) {
		keys = m.mapped(keys, m.foldCase)
	}
	return &List{m.sorted(m.pairs(d), keys, truth(or(b[2], false)))}
}

func uniqueFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "case_sensitive", "attribute")
	get := m.keyGetter(a, b[0], b[1])
	seen := NewDict()
	g := &Generator{}
	for _, v := range m.iterate(v) {
		key := get(v)
		if _, ok := m.dictGet(seen, key); ok {
			continue
		}
		m.dictSet(seen, key, nil)
		g.items = append(g.items, v)
	}
	return g
}

func (m *machine) keyGetter(a args, caseSensitive, attribute any) func(any) any {
	get := func(v any) any { return v }
	if attr := or(attribute, nil); attr != nil {
		get = m.getter(a, attr, nil)
	}
	if truth(or(caseSensitive, false)) {
		return get
	}
	return func(v any) any { return m.foldCase(get(v)) }
}

// extremeFilter is max for sign 1 and min for -1.
func extremeFilter(sign int) filterFunc {
	return func(m *machine, v any, a args) any {
		b := a.bind(m, 0, "case_sensitive", "attribute")
		get := m.keyGetter(a, b[0], b[1])
		items := m.iterate(v)
		if len(items) == 0 {
			return &Undefined{message: "No aggregated item, sequence was empty."}
		}
		best := items[0]
		key := get(best)
		op := "<"
		if sign > 0 {
			op = ">"
		}
		for _, v := range items[1:] {
			if k := get(v); m.compare(k, key, op)*sign > 0 {
				best, key = v, k
			}
		}
		return best
	}
}

func sumFilter(m *machine, v any, a args) any {
	b := a.bind(m, 0, "attribute", "start")
	items := m.iterate(v)
	if attr := or(b[0], nil); attr != nil {
		items = m.mapped(items, m.getter(a, attr, nil))
	}
	sum := or(b[1], int64(0))
	if _, ok := sum.(string); ok {
		m.fail("sum() can't sum strings")
	}
	for _, v := range items {
		sum = m.binary("+", sum, v)
	}
	return sum
}
