package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// The values of a template are nil (None), bool, int64, *big.Int (from JSON
// only), float64, string, markup, and pointers to the types below. Lists, tuples and
// dicts never change once a template can see them, as in jinja2's immutable
// sandbox, so that they may share their elements.

// List is Python's list.
type List struct{ items []any }

// NewList makes a list of the items, which it keeps.
func NewList(items ...any) *List { return &List{items} }

// Tuple is Python's tuple.
type Tuple struct{ items []any }

// Dict is Python's dict: it keeps the order in which keys were first set.
type Dict struct {
	keys   []any
	values []any
	index  map[any]int // from dictKey(key)
}

// NewDict makes an empty dict.
func NewDict() *Dict { return &Dict{} }

// Set adds or replaces what a key maps to. It is for building a dict that no
// template sees yet.
func (d *Dict) Set(key string, value any) { d.set(key, key, value) }

// smallDict is the size up to which a dict is searched without an index.
const smallDict = 8

func (d *Dict) find(hash any) int {
	if d.index != nil {
		if i, ok := d.index[hash]; ok {
			return i
		}
		return -1
	}
	for i, k := range d.keys {
		if h, _ := dictKey(k); h == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) set(hash, key, value any) {
	if i := d.find(hash); i >= 0 {
		d.values[i] = value
		return
	}
	d.keys = append(d.keys, key)
	d.values = append(d.values, value)
	switch {
	case d.index != nil:
		d.index[hash] = len(d.keys) - 1
	case len(d.keys) > smallDict:
		d.index = make(map[any]int, 2*len(d.keys))
		for i, k := range d.keys {
			h, _ := dictKey(k)
			d.index[h] = i
		}
	}
}

// dictKey maps keys that Python finds equal to one comparable value. It is
// false for what cannot be a key, tuples included, which this package refuses.
func dictKey(v any) (any, bool) {
	switch v := v.(type) {
	case nil:
		return struct{}{}, true
	case bool:
		if v {
			return int64(1), true
		}
		return int64(0), true
	case int64, string:
		return v, true
	case markup:
		return string(v), true
	case float64:
		if i := int64(v); float64(i) == v && math.Abs(v) < 1<<62 {
			return i, true
		}
		return v, true
	}
	return nil, false
}

// hash fails for what Python cannot look up in a dict.
func (m *machine) hash(key any) {
	switch key := key.(type) {
	case *List, *Dict:
		m.fail("unhashable type: '%s'", typeName(key))
	case *Tuple:
		m.enter()
		for _, v := range key.items {
			m.hash(v)
		}
		m.leave()
	}
}

func (m *machine) dictGet(d *Dict, key any) (any, bool) {
	m.tick(1)
	hash, ok := dictKey(key)
	if !ok {
		return nil, false
	}
	if i := d.find(hash); i >= 0 {
		return d.values[i], true
	}
	return nil, false
}

func (m *machine) dictSet(d *Dict, key, value any) {
	hash, ok := dictKey(key)
	if !ok {
		m.fail("a value of type %s as a key of a dict is not supported", typeName(key))
	}
	m.grow(64)
	d.set(hash, key, value)
}

// Undefined is what a missing variable, attribute or element evaluates to. It
// can be printed (as nothing), tested and iterated; other uses fail with its
// message.
type Undefined struct{ message string }

// Namespace is an object whose attributes {% set %} can assign.
type Namespace struct{ attrs *Dict }

// Generator is what Python returns as an iterator: it can be gone through once.
type Generator struct{ items []any }

// dictView is the result of a dict's keys(), values() or items().
type dictView struct {
	kind  string // of those three
	items []any
}

// rangeValue is the result of range().
type rangeValue struct{ start, step, n int64 }

func (r *rangeValue) at(i int64) int64 { return r.start + i*r.step }

// function is a callable of this package: a global or a method of a value.
type function struct {
	name string
	call func(m *machine, a args) any
	raw  bool // takes markup as it is
}

func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return "Undefined"
	case *Namespace:
		return "namespace"
	case *Generator:
		return "generator"
	case *dictView:
		return "dict_" + v.kind
	case *rangeValue:
		return "range"
	case *Macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	}
	return "function"
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case *big.Int:
		return v.Sign() != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *List:
		return len(v.items) > 0
	case *Tuple:
		return len(v.items) > 0
	case *Dict:
		return len(v.keys) > 0
	case *dictView:
		return len(v.items) > 0
	case *rangeValue:
		return v.n > 0
	}
	return true
}

// length is Python's len(); ok is false where that is a TypeError.
func (m *machine) length(v any) (n int, ok bool) {
	switch v := plain(v).(type) {
	case string:
		m.read(len(v))
		return utf8.RuneCountInString(v), true
	case *List:
		return len(v.items), true
	case *Tuple:
		return len(v.items), true
	case *Dict:
		return len(v.keys), true
	case *dictView:
		return len(v.items), true
	case *rangeValue:
		return int(v.n), true
	case *loop:
		return len(v.items), true
	case *Undefined:
		return 0, true
	}
	return 0, false
}

// iterable says whether iterate accepts v.
func iterable(v any) bool {
	switch v.(type) {
	case string, markup, *List, *Tuple, *Dict, *dictView, *rangeValue, *Undefined, *Generator:
		return true
	}
	return false
}

// iterate returns the elements of v, which the caller must not change, and uses
// up a generator.
func (m *machine) iterate(v any) []any {
	switch v := plain(v).(type) {
	case string:
		m.growItems(2 * len(v))
		chars := make([]any, 0, utf8.RuneCountInString(v))
		for i := 0; i < len(v); {
			_, size := utf8.DecodeRuneInString(v[i:])
			chars = append(chars, v[i:i+size])
			i += size
		}
		return chars
	case *List:
		return v.items
	case *Tuple:
		return v.items
	case *Dict:
		return v.keys
	case *dictView:
		return v.items
	case *rangeValue:
		m.growItems(2 * int(v.n))
		items := make([]any, v.n)
		for i := range items {
			items[i] = v.at(int64(i))
		}
		return items
	case *Generator:
		items := v.items
		v.items = nil
		return items
	case *Undefined:
		return nil
	}
	m.fail("'%s' object is not iterable", typeName(v))
	return nil
}

// number returns v as an int64 (bools too) or a float64.
func number(v any) (i int64, f float64, isFloat, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, false, true
		}
		return 0, 0, false, true
	case int64:
		return v, float64(v), false, true
	case float64:
		return 0, v, true, true
	}
	return 0, 0, false, false
}

// integer is number for what Python takes as an index or a count.
func integer(v any) (int64, bool) {
	i, _, isFloat, ok := number(v)
	return i, ok && !isFloat
}

// equal is Python's ==.
func (m *machine) equal(a, b any) bool {
	m.enter()
	defer m.leave()
	a, b = plain(a), plain(b)
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		y, ok := b.(string)
		if ok && len(x) == len(y) {
			m.read(len(x))
			return x == y
		}
		return false
	case bool, int64, float64, *big.Int:
		c, ok := compareNumbers(a, b)
		return ok && c == 0
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok
	case *List:
		y, ok := b.(*List)
		return ok && m.equalItems(x.items, y.items)
	case *Tuple:
		y, ok := b.(*Tuple)
		return ok && m.equalItems(x.items, y.items)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for i, k := range x.keys {
			v, ok := m.dictGet(y, k)
			if !ok || !m.equal(x.values[i], v) {
				return false
			}
		}
		return true
	case *rangeValue:
		y, ok := b.(*rangeValue)
		return ok && m.equalItems(m.iterate(x), m.iterate(y))
	}
	return a == b
}

func (m *machine) equalItems(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !m.equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// compareNumbers orders two numbers by their exact values. It is false when one
// is no number, or not a number.
func compareNumbers(a, b any) (int, bool) {
	x, ok := exact(a)
	if !ok {
		return 0, false
	}
	y, ok := exact(b)
	if !ok {
		return 0, false
	}
	xi, xIsInt := x.(int64)
	yi, yIsInt := y.(int64)
	if xIsInt && yIsInt {
		switch {
		case xi < yi:
			return -1, true
		case xi > yi:
			return 1, true
		}
		return 0, true
	}
	return bigFloat(x).Cmp(bigFloat(y)), true
}

func exact(v any) (any, bool) {
	switch v := v.(type) {
	case bool:
		i, _ := integer(v)
		return i, true
	case int64, *big.Int:
		return v, true
	case float64:
		return v, !math.IsNaN(v)
	}
	return nil, false
}

func bigFloat(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case float64:
		return new(big.Float).SetFloat64(v)
	case *big.Int:
		return new(big.Float).SetInt(v)
	}
	return nil
}

// compare is Python's ordering: negative, zero or positive.
func (m *machine) compare(a, b any, op string) int {
	m.enter()
	defer m.leave()
	m.useBoth(a, b)
	a, b = plain(a), plain(b)
	if c, ok := compareNumbers(a, b); ok {
		return c
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			m.read(min(len(x), len(y)))
			return strings.Compare(x, y)
		}
	case *List:
		if y, ok := b.(*List); ok {
			return m.compareItems(x.items, y.items, op)
		}
	case *Tuple:
		if y, ok := b.(*Tuple); ok {
			return m.compareItems(x.items, y.items, op)
		}
	}
	m.fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	return 0
}

func (m *machine) compareItems(a, b []any, op string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if !m.equal(a[i], b[i]) {
			return m.compare(a[i], b[i], op)
		}
	}
	return len(a) - len(b)
}

// use fails if v is undefined.
func (m *machine) use(v any) {
	if u, ok := v.(*Undefined); ok {
		m.fail("%s", u.message)
	}
}

func (m *machine) useBoth(a, b any) { m.use(a); m.use(b) }

// contains is Python's `item in of`.
func (m *machine) contains(of, item any) bool {
	item = plain(item)
	switch of := plain(of).(type) {
	case string:
		s, ok := item.(string)
		if !ok {
			m.fail("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		m.read(len(of))
		return strings.Contains(of, s)
	case *Dict:
		m.hash(item)
		_, found := m.dictGet(of, item)
		return found
	}
	if !iterable(of) {
		m.fail("argument of type '%s' is not iterable", typeName(of))
	}
	for _, v := range m.iterate(of) {
		if m.equal(v, item) {
			return true
		}
	}
	return false
}
