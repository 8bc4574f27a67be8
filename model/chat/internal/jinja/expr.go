package jinja

import "strings"

type expr interface {
	eval(m *machine, s *scope) any
}

// eval evaluates e and counts it.
func (m *machine) eval(s *scope, e expr) any {
	m.enter()
	v := e.eval(m, s)
	m.leave()
	return v
}

func (m *machine) evalAll(s *scope, list []expr) []any {
	m.growItems(len(list) + 2)
	values := make([]any, len(list))
	for i, e := range list {
		values[i] = m.eval(s, e)
	}
	return values
}

type constExpr struct{ value any }

func (e *constExpr) eval(m *machine, s *scope) any { return e.value }

type nameExpr struct{ name string }

func (e *nameExpr) eval(m *machine, s *scope) any { return m.lookup(s, e.name) }

type listExpr struct{ items []expr }

func (e *listExpr) eval(m *machine, s *scope) any { return &List{m.evalAll(s, e.items)} }

type tupleExpr struct{ items []expr }

func (e *tupleExpr) eval(m *machine, s *scope) any { return &Tuple{m.evalAll(s, e.items)} }

type dictExpr struct{ keys, values []expr }

func (e *dictExpr) eval(m *machine, s *scope) any {
	m.grow(100)
	d := NewDict()
	for i, k := range e.keys {
		key := m.eval(s, k)
		m.dictSet(d, key, m.eval(s, e.values[i]))
	}
	return d
}

type condExpr struct{ test, then, otherwise expr }

func (e *condExpr) eval(m *machine, s *scope) any {
	switch {
	case truth(m.eval(s, e.test)):
		return m.eval(s, e.then)
	case e.otherwise != nil:
		return m.eval(s, e.otherwise)
	}
	return &Undefined{message: "the inline if-expression evaluated to false and no else section was defined"}
}

type orExpr struct{ left, right expr }

func (e *orExpr) eval(m *machine, s *scope) any {
	if v := m.eval(s, e.left); truth(v) {
		return v
	}
	return m.eval(s, e.right)
}

type andExpr struct{ left, right expr }

func (e *andExpr) eval(m *machine, s *scope) any {
	if v := m.eval(s, e.left); !truth(v) {
		return v
	}
	return m.eval(s, e.right)
}

type notExpr struct{ of expr }

func (e *notExpr) eval(m *machine, s *scope) any { return !truth(m.eval(s, e.of)) }

type operand struct {
	op string
	e  expr
}

// compareExpr is a chain of comparisons: each pair of neighbours must hold.
type compareExpr struct {
	first expr
	rest  []operand
}

func (e *compareExpr) eval(m *machine, s *scope) any {
	left := m.eval(s, e.first)
	for _, o := range e.rest {
		right := m.eval(s, o.e)
		if !m.holds(o.op, left, right) {
			return false
		}
		left = right
	}
	return true
}

func (m *machine) holds(op string, a, b any) bool {
	switch op {
	case "==":
		return m.equal(a, b)
	case "!=":
		return !m.equal(a, b)
	case "in":
		return m.contains(b, a)
	case "not in":
		return !m.contains(b, a)
	}
	if isNaN(a) || isNaN(b) {
		_, _, _, x := number(a)
		_, _, _, y := number(b)
		if x && y {
			return false
		}
	}
	c := m.compare(a, b, op)
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func isNaN(v any) bool {
	f, ok := v.(float64)
	return ok && f != f
}

type concatExpr struct{ parts []expr }

func (e *concatExpr) eval(m *machine, s *scope) any {
	parts := make([]string, len(e.parts))
	n := 0
	for i, p := range e.parts {
		parts[i] = m.str(m.eval(s, p))
		n += len(parts[i])
	}
	m.grow(n)
	return strings.Join(parts, "")
}

type binaryExpr struct {
	op          string
	left, right expr
}

func (e *binaryExpr) eval(m *machine, s *scope) any {
	left := m.eval(s, e.left)
	return m.binary(e.op, left, m.eval(s, e.right))
}

type signExpr struct {
	of       expr
	negative bool
}

func (e *signExpr) eval(m *machine, s *scope) any {
	v := m.eval(s, e.of)
	m.use(v)
	i, f, isFloat, ok := number(v)
	switch {
	case !ok:
		m.fail("bad operand type for a sign: '%s'", typeName(v))
	case isFloat && e.negative:
		return -f
	case isFloat:
		return f
	case e.negative:
		return m.binary("-", int64(0), i)
	}
	return i
}

type attrExpr struct {
	of   expr
	name string
}

func (e *attrExpr) eval(m *machine, s *scope) any { return m.getAttr(m.eval(s, e.of), e.name) }

type itemExpr struct{ of, index expr }

func (e *itemExpr) eval(m *machine, s *scope) any {
	v := m.eval(s, e.of)
	return m.getItem(v, m.eval(s, e.index))
}

type sliceExpr struct{ of, from, to, step expr } // the last three may be nil

func (e *sliceExpr) eval(m *machine, s *scope) any {
	v := m.eval(s, e.of)
	bound := func(e expr) any {
		if e == nil {
			return nil
		}
		return m.eval(s, e)
	}
	from := bound(e.from)
	to := bound(e.to)
	return m.slice(v, from, to, bound(e.step))
}

type filterExpr struct {
	of   expr // nil for a filter of a block's text
	name string
	fn   filterFunc
	args *argExprs // nil: none
}

func (e *filterExpr) eval(m *machine, s *scope) any { return e.apply(m, s, m.eval(s, e.of)) }

func (e *filterExpr) apply(m *machine, s *scope, v any) any {
	a := e.args.eval(m, s, e.name)
	if !takesMarkup[e.name] {
		v, a = plain(v), a.plain()
	}
	return e.fn(m, v, a)
}

type testExpr struct {
	of   expr
	name string
	fn   testFunc
	args *argExprs // nil: none
}

func (e *testExpr) eval(m *machine, s *scope) any {
	v := m.eval(s, e.of)
	return e.fn(m, v, e.args.eval(m, s, e.name))
}

type callExpr struct {
	of   expr
	args *argExprs
}

func (e *callExpr) eval(m *machine, s *scope) any {
	fn := m.eval(s, e.of)
	return m.call(fn, e.args.eval(m, s, "call"), nil)
}
