package jinja

// argExprs are the arguments of a call as written.
type argExprs struct {
	list  []expr
	names []string
	named []expr // what names maps to
	star  expr   // *args, or nil
	dstar expr   // **kwargs, or nil
}

// args are evaluated arguments. Their methods end the rendering when they do
// not fit the function.
type args struct {
	fn    string // the function's name, for errors
	list  []any
	names []string
	named []any
}

func (a *argExprs) eval(m *machine, s *scope, fn string) args {
	out := args{fn: fn}
	if a == nil {
		return out
	}
	if len(a.list) > 0 {
		out.list = m.evalAll(s, a.list)
	}
	if len(a.names) > 0 {
		out.names = a.names
		out.named = m.evalAll(s, a.named)
	}
	if a.star != nil {
		more := m.iterate(m.eval(s, a.star))
		m.growItems(len(more))
		out.list = append(out.list[:len(out.list):len(out.list)], more...)
	}
	if a.dstar != nil {
		d, ok := m.eval(s, a.dstar).(*Dict)
		if !ok {
			m.fail("the argument after ** must be a mapping")
		}
		m.growItems(len(d.keys))
		out.names = out.names[:len(out.names):len(out.names)]
		for i, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				m.fail("keywords must be strings")
			}
			out.names = append(out.names, name)
			out.named = append(out.named, d.values[i])
		}
	}
	return out
}

// absent stands for an argument that was not given.
type absent struct{}

// bind orders the arguments by the parameters' names. The first `required` must
// be given; others may be absent.
func (a args) bind(m *machine, required int, params ...string) []any {
	bound := make([]any, len(params))
	for i := range bound {
		bound[i] = absent{}
	}
	if len(a.list) > len(params) {
		m.fail("%s takes at most %d arguments, got %d", a.fn, len(params), len(a.list))
	}
	copy(bound, a.list)
next:
	for i, name := range a.names {
		for j, p := range params {
			if p != name {
				continue
			}
			if bound[j] != any(absent{}) {
				m.fail("%s got two values for the argument '%s'", a.fn, name)
			}
			bound[j] = a.named[i]
			continue next
		}
		m.fail("%s got an unexpected argument '%s'", a.fn, name)
	}
	for i := range required {
		if bound[i] == any(absent{}) {
			m.fail("%s needs the argument '%s'", a.fn, params[i])
		}
	}
	return bound
}

// none fails if there is an argument.
func (a args) none(m *machine) { a.bind(m, 0) }

func or(v, otherwise any) any {
	if v == any(absent{}) {
		return otherwise
	}
	return v
}

// intArg is an optional integer argument.
func (a args) intArg(m *machine, v any, otherwise int64) int64 {
	if v == any(absent{}) {
		return otherwise
	}
	i, ok := integer(v)
	if !ok {
		m.use(v)
		m.fail("%s needs an integer, got '%s'", a.fn, typeName(v))
	}
	return i
}

// strArg is a string argument.
func (a args) strArg(m *machine, v any) string {
	s, ok := plain(v).(string)
	if !ok {
		m.use(v)
		m.fail("%s needs a string, got '%s'", a.fn, typeName(v))
	}
	return s
}

// call calls a function, a macro (to which caller is passed, when there is one)
// or a recursive loop.
func (m *machine) call(fn any, a args, caller *Macro) any {
	switch fn := fn.(type) {
	case *Macro:
		return m.callMacro(fn, a, caller)
	case *function:
		a.fn = fn.name
		if caller != nil {
			m.fail("%s takes no caller", fn.name)
		}
		if !fn.raw {
			a = a.plain()
		}
		return fn.call(m, a)
	case *loop:
		if fn.recurse == nil {
			m.fail("the loop must be recursive to be called")
		}
		a.fn = "loop"
		return fn.recurse(m, a.bind(m, 1, "iterable")[0])
	}
	m.use(fn)
	m.fail("'%s' object is not callable", typeName(fn))
	return nil
}

type macroParam struct {
	name  string
	value expr // the default, or nil
}

type macroDef struct {
	line   int
	name   string
	params []macroParam
	body   []stmt

	usesCaller, usesVarargs, usesKwargs bool
}

// Macro is a macro with the variables around its definition.
type Macro struct {
	def   *macroDef
	scope *scope
}

type macroStmt struct{ def *macroDef }

func (st *macroStmt) exec(m *machine, s *scope) signal {
	m.assign(s, st.def.name, &Macro{st.def, s})
	return signalNone
}

// callStmt calls a macro that may call back for the block's text.
type callStmt struct {
	line   int
	call   *callExpr
	caller *macroDef
}

func (st *callStmt) exec(m *machine, s *scope) signal {
	m.line = st.line
	fn := m.eval(s, st.call.of)
	a := st.call.args.eval(m, s, "call")
	m.write(m.str(m.call(fn, a, &Macro{st.caller, s})))
	return signalNone
}

func (m *machine) callMacro(f *Macro, a args, caller *Macro) any {
	m.enter()
	defer m.leave()
	d := f.def
	s := m.inner(f.scope)
	given := make([]any, len(d.params))
	for i := range given {
		given[i] = any(absent{})
	}
	n := copy(given, a.list)
	if rest := a.list[n:]; d.usesVarargs {
		s.set("varargs", &Tuple{rest})
	} else if len(rest) > 0 {
		m.fail("macro '%s' takes not more than %d arguments", d.name, len(d.params))
	}
	extra := NewDict()
	var callback any = &Undefined{message: "No caller defined"}
	if caller != nil {
		callback = caller
	}
next:
	for i, name := range a.names {
		m.tick(1 + len(d.params)/8)
		for j, p := range d.params {
			if p.name != name {
				continue
			}
			if given[j] != any(absent{}) {
				m.fail("macro '%s' got two values for the argument '%s'", d.name, name)
			}
			given[j] = a.named[i]
			continue next
		}
		if name == "caller" && d.usesCaller {
			callback = a.named[i]
			continue
		}
		if !d.usesKwargs {
			m.fail("macro '%s' takes no keyword argument '%s'", d.name, name)
		}
		m.dictSet(extra, name, a.named[i])
	}
	if d.usesKwargs {
		s.set("kwargs", extra)
	}
	if d.usesCaller {
		s.set("caller", callback)
	} else if caller != nil {
		m.fail("macro '%s' takes no keyword argument 'caller'", d.name)
	}
	line := m.line
	for i, p := range d.params {
		v := given[i]
		switch {
		case v != any(absent{}):
		case p.value != nil:
			v = m.eval(s, p.value)
		default:
			v = &Undefined{message: "parameter '" + p.name + "' was not provided"}
		}
		m.assign(s, p.name, v)
	}
	text := m.captured(func() { execAll(m, s, d.body) })
	m.line = line
	return text
}
