package jinja

// signal says how a statement ended.
type signal int

const (
	signalNone signal = iota
	signalBreak
	signalContinue
)

type stmt interface {
	exec(m *machine, s *scope) signal
}

func execAll(m *machine, s *scope, body []stmt) signal {
	m.enter()
	defer m.leave()
	for _, st := range body {
		m.tick(1)
		if sig := st.exec(m, s); sig != signalNone {
			return sig
		}
	}
	return signalNone
}

type dataStmt struct{ text string }

func (d *dataStmt) exec(m *machine, s *scope) signal {
	m.write(d.text)
	return signalNone
}

type outputStmt struct {
	line int
	e    expr
}

func (o *outputStmt) exec(m *machine, s *scope) signal {
	m.line = o.line
	m.write(m.str(m.eval(s, o.e)))
	return signalNone
}

type seqStmt []stmt

func (l seqStmt) exec(m *machine, s *scope) signal { return execAll(m, s, l) }

type jumpStmt signal

func (j jumpStmt) exec(m *machine, s *scope) signal { return signal(j) }

type condition struct {
	line int
	test expr
	body []stmt
}

type ifStmt struct {
	conditions []condition
	otherwise  []stmt
}

func (i *ifStmt) exec(m *machine, s *scope) signal {
	for _, c := range i.conditions {
		m.line = c.line
		if truth(m.eval(s, c.test)) {
			return execAll(m, s, c.body)
		}
	}
	return execAll(m, s, i.otherwise)
}

// scopeStmt is a block with variables of its own.
type scopeStmt struct{ body []stmt }

func (b *scopeStmt) exec(m *machine, s *scope) signal {
	return execAll(m, m.inner(s), b.body)
}

type withStmt struct {
	line    int
	targets []target
	values  []expr
	body    []stmt
}

func (w *withStmt) exec(m *machine, s *scope) signal {
	m.line = w.line
	inner := m.inner(s)
	for i, t := range w.targets {
		t.assign(m, inner, m.eval(s, w.values[i]))
	}
	return execAll(m, inner, w.body)
}

type setStmt struct {
	line   int
	target target
	value  expr
}

func (st *setStmt) exec(m *machine, s *scope) signal {
	m.line = st.line
	st.target.assign(m, s, m.eval(s, st.value))
	return signalNone
}

type setBlockStmt struct {
	line    int
	target  target
	filters []*filterExpr
	body    []stmt
}

func (st *setBlockStmt) exec(m *machine, s *scope) signal {
	st.target.assign(m, s, filtered(m, s, st.line, st.filters, st.body))
	return signalNone
}

// filtered renders a body and passes the text through filters.
func filtered(m *machine, s *scope, line int, chain []*filterExpr, body []stmt) any {
	inner := m.inner(s)
	var v any = m.captured(func() { execAll(m, inner, body) })
	m.line = line
	for _, f := range chain {
		v = f.apply(m, inner, v)
	}
	return v
}

type filterStmt struct {
	line    int
	filters []*filterExpr
	body    []stmt
}

func (f *filterStmt) exec(m *machine, s *scope) signal {
	m.write(m.str(filtered(m, s, f.line, f.filters, f.body)))
	return signalNone
}

// target is what a value can be assigned to.
type target interface {
	assign(m *machine, s *scope, v any)
}

type nameTarget string

func (n nameTarget) assign(m *machine, s *scope, v any) { m.assign(s, string(n), v) }

type attrTarget struct{ name, attr string }

func (a attrTarget) assign(m *machine, s *scope, v any) {
	ns, ok := m.lookup(s, a.name).(*Namespace)
	if !ok {
		m.fail("cannot assign attribute on non-namespace object")
	}
	m.setNamespace(ns, a.attr, v)
}

type tupleTarget []target

func (t tupleTarget) assign(m *machine, s *scope, v any) {
	m.use(v)
	if !iterable(v) {
		m.fail("cannot unpack non-iterable %s object", typeName(v))
	}
	items := m.iterate(v)
	if len(items) != len(t) {
		m.fail("expected %d values to unpack, got %d", len(t), len(items))
	}
	for i, inner := range t {
		inner.assign(m, s, items[i])
	}
}

type forStmt struct {
	line      int
	target    target
	iter      expr
	test      expr // nil: every element
	recursive bool
	body      []stmt
	otherwise []stmt // when there is no element
}

// loop is the variable of that name inside a for block.
type loop struct {
	items   []any
	index0  int
	depth0  int
	changed *Tuple // the arguments of the last call of loop.changed
	recurse func(m *machine, items any) any
}

func (f *forStmt) exec(m *machine, s *scope) signal {
	m.line = f.line
	f.run(m, s, m.eval(s, f.iter), 0)
	return signalNone
}

func (f *forStmt) run(m *machine, s *scope, of any, depth0 int) {
	items := m.iterate(of)
	if f.test != nil {
		items = f.selected(m, s, items)
	}
	if len(items) == 0 {
		execAll(m, m.inner(s), f.otherwise)
		return
	}
	l := &loop{items: items, depth0: depth0}
	if f.recursive {
		l.recurse = func(m *machine, inner any) any {
			return m.captured(func() { f.run(m, s, inner, depth0+1) })
		}
	}
	for i, v := range items {
		m.tick(4)
		l.index0 = i
		inner := m.inner(s)
		inner.set("loop", l)
		f.target.assign(m, inner, v)
		if execAll(m, inner, f.body) == signalBreak {
			break
		}
	}
}

func (f *forStmt) selected(m *machine, s *scope, items []any) []any {
	var kept []any
	for _, v := range items {
		m.tick(4)
		inner := m.inner(s)
		f.target.assign(m, inner, v)
		if truth(m.eval(inner, f.test)) {
			m.growItems(1)
			kept = append(kept, v)
		}
	}
	return kept
}
