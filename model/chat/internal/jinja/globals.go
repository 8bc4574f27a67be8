package jinja

import (
	"strings"
)

// globals are the names that every template knows.
var globals = map[string]any{
	"range":           &function{name: "range", call: rangeFunc},
	"dict":            &function{name: "dict", call: dictFunc, raw: true},
	"namespace":       &function{name: "namespace", call: namespaceFunc, raw: true},
	"raise_exception": &function{name: "raise_exception", call: raiseFunc},
	"strftime_now":    &function{name: "strftime_now", call: strftimeFunc},
	"cycler":          &function{name: "cycler", call: unsupportedFunc},
	"joiner":          &function{name: "joiner", call: unsupportedFunc},
	"lipsum":          &function{name: "lipsum", call: unsupportedFunc},
}

// unsupportedGlobals are those that Parse refuses to call.
var unsupportedGlobals = map[string]bool{"cycler": true, "joiner": true, "lipsum": true}

func unsupportedFunc(m *machine, a args) any {
	m.fail("the function '%s' is not supported", a.fn)
	return nil
}

func rangeFunc(m *machine, a args) any {
	if len(a.names) > 0 || len(a.list) == 0 || len(a.list) > 3 {
		m.fail("range takes one to three arguments")
	}
	r := &rangeValue{step: 1}
	stop := a.intArg(m, a.list[0], 0)
	if len(a.list) > 1 {
		r.start, stop = stop, a.intArg(m, a.list[1], 0)
	}
	if len(a.list) > 2 {
		r.step = a.intArg(m, a.list[2], 1)
	}
	// The span is unsigned, as it may not fit a signed integer.
	var span, step uint64
	switch {
	case r.step == 0:
		m.fail("range() arg 3 must not be zero")
	case r.step > 0 && stop > r.start:
		span, step = uint64(stop)-uint64(r.start), uint64(r.step)
	case r.step < 0 && stop < r.start:
		span, step = uint64(r.start)-uint64(stop), -uint64(r.step)
	default:
		return r
	}
	n := (span-1)/step + 1
	if n > maxRange {
		m.failLimit("elements of a range", maxRange)
	}
	r.n = int64(n)
	return r
}

func dictFunc(m *machine, a args) any {
	d := NewDict()
	m.fillDict(d, a)
	return d
}

// fillDict sets what dict(...) takes: a mapping or pairs, and keywords.
func (m *machine) fillDict(d *Dict, a args) {
	if len(a.list) > 1 {
		m.fail("%s expected at most 1 argument, got %d", a.fn, len(a.list))
	}
	if len(a.list) == 1 {
		if from, ok := a.list[0].(*Dict); ok {
			for i, k := range from.keys {
				m.dictSet(d, k, from.values[i])
			}
		} else {
			for _, v := range m.iterate(a.list[0]) {
				pair := m.iterate(v)
				if len(pair) != 2 {
					m.fail("%s: an element has length %d; 2 is required", a.fn, len(pair))
				}
				m.dictSet(d, pair[0], pair[1])
			}
		}
	}
	for i, name := range a.names {
		m.dictSet(d, name, a.named[i])
	}
}

func namespaceFunc(m *machine, a args) any {
	d := NewDict()
	m.fillDict(d, a)
	for _, k := range d.keys {
		m.checkNamespaceName(k)
	}
	return &Namespace{d}
}

// checkNamespaceName refuses what transformers' namespace refuses.
func (m *machine) checkNamespaceName(k any) {
	if s, ok := k.(string); ok && strings.HasPrefix(s, "_") {
		m.fail("chat templates cannot store underscore-prefixed attributes on a namespace, but got '%s'", s)
	}
}

func (m *machine) setNamespace(ns *Namespace, name string, v any) {
	m.checkNamespaceName(name)
	m.dictSet(ns.attrs, name, v)
}

func raiseFunc(m *machine, a args) any {
	m.failWith(&Raised{Message: m.str(a.bind(m, 1, "message")[0])})
	return nil
}

func strftimeFunc(m *machine, a args) any {
	format := a.strArg(m, a.bind(m, 1, "format")[0])
	if len(format) > 1000 {
		m.fail("strftime_now: a format of %d bytes is not supported", len(format))
	}
	text, bad := strftime(m.now, format)
	if bad != "" {
		m.fail("strftime_now: the directive '%s' is not supported", bad)
	}
	m.grow(len(text))
	return text
}
