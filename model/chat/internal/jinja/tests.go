package jinja

import (
	"math/big"
	"unicode"
)

type testFunc func(m *machine, v any, a args) bool

// tests are those of jinja2.
var tests = map[string]testFunc{
	"boolean":     isType(func(v any) bool { _, ok := v.(bool); return ok }),
	"callable":    isType(isCallable),
	"defined":     isType(func(v any) bool { return !isUndefined(v) }),
	"undefined":   isType(isUndefined),
	"none":        isType(func(v any) bool { return v == nil }),
	"true":        isType(func(v any) bool { return v == true }),
	"false":       isType(func(v any) bool { return v == false }),
	"integer":     isType(isInteger),
	"float":       isType(func(v any) bool { _, ok := v.(float64); return ok }),
	"number":      isType(isNumber),
	"string":      isType(func(v any) bool { _, ok := plain(v).(string); return ok }),
	"escaped":     isType(func(v any) bool { _, ok := v.(markup); return ok }),
	"mapping":     isType(func(v any) bool { _, ok := v.(*Dict); return ok }),
	"iterable":    isType(func(v any) bool { _, isLoop := v.(*loop); return isLoop || iterable(v) }),
	"sequence":    isType(isSequence),
	"odd":         func(m *machine, v any, a args) bool { a.none(m); return m.modulo(v, int64(2)) == 1 },
	"even":        func(m *machine, v any, a args) bool { a.none(m); return m.modulo(v, int64(2)) == 0 },
	"divisibleby": func(m *machine, v any, a args) bool { return m.modulo(v, a.bind(m, 1, "num")[0]) == 0 },
	"lower":       func(m *machine, v any, a args) bool { a.none(m); return m.hasCase(m.str(v), unicode.IsLower) },
	"upper":       func(m *machine, v any, a args) bool { a.none(m); return m.hasCase(m.str(v), unicode.IsUpper) },
	"in":          func(m *machine, v any, a args) bool { return m.contains(a.bind(m, 1, "seq")[0], v) },
	"sameas":      sameAs,
	"filter":      func(m *machine, v any, a args) bool { a.none(m); s, _ := v.(string); return m.filters[s] != nil },
	"test":        func(m *machine, v any, a args) bool { a.none(m); s, _ := v.(string); return m.tests[s] != nil },

	"==": comparison("=="), "eq": comparison("=="), "equalto": comparison("=="),
	"!=": comparison("!="), "ne": comparison("!="),
	"<": comparison("<"), "lt": comparison("<"), "lessthan": comparison("<"),
	"<=": comparison("<="), "le": comparison("<="),
	">": comparison(">"), "gt": comparison(">"), "greaterthan": comparison(">"),
	">=": comparison(">="), "ge": comparison(">="),
}

func comparison(op string) testFunc {
	return func(m *machine, v any, a args) bool { return m.holds(op, v, a.bind(m, 1, "other")[0]) }
}

func isType(is func(any) bool) testFunc {
	return func(m *machine, v any, a args) bool {
		a.none(m)
		return is(v)
	}
}

func isUndefined(v any) bool {
	_, ok := v.(*Undefined)
	return ok
}

func isInteger(v any) bool {
	switch v.(type) {
	case int64, *big.Int:
		return true
	}
	return false
}

func isNumber(v any) bool {
	switch v.(type) {
	case bool, int64, float64, *big.Int:
		return true
	}
	return false
}

// isCallable: an undefined value has a __call__ in jinja2, though it only raises.
func isCallable(v any) bool {
	switch v.(type) {
	case *Macro, *function, *loop, *Undefined:
		return true
	}
	return false
}

func isSequence(v any) bool {
	switch v.(type) {
	case string, markup, *List, *Tuple, *Dict, *rangeValue, *Undefined:
		return true
	}
	return false
}

// modulo is v % n, or -1 where that is no integer.
func (m *machine) modulo(v, n any) int64 {
	switch r := m.binary("%", v, n).(type) {
	case int64:
		return r
	case float64:
		if r == float64(int64(r)) {
			return int64(r)
		}
	}
	return -1
}

// sameAs is Python's `is`, under which equal constants of one type are the same.
func sameAs(m *machine, v any, a args) bool {
	return v == a.bind(m, 1, "other")[0]
}
