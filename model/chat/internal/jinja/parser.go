package jinja

// parser reads statements; expression.go holds the part that reads expressions.
// The grammar and its precedences are jinja2's.
type parser struct {
	tokens []token // ends in a tokEOF
	pos    int
	depth  int

	inLoop         bool        // break and continue are allowed
	macros         []*macroDef // the macros around the current position
	testsArguments bool
}

func (p *parser) cur() token { return p.tokens[p.pos] }

func (p *parser) next() token {
	t := p.tokens[p.pos]
	if t.kind != tokEOF {
		p.pos++
	}
	return t
}

func (p *parser) peek() token {
	if p.pos+1 < len(p.tokens) {
		return p.tokens[p.pos+1]
	}
	return p.tokens[p.pos]
}

func (p *parser) fail(format string, args ...any) { failSyntax(p.cur().line, format, args...) }

func (p *parser) skipOp(op string) bool {
	if p.cur().isOp(op) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.cur().isName(name) {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail("expected '%s', got %v", op, p.cur())
	}
}

func (p *parser) expect(kind tokenKind) token {
	if t := p.cur(); t.kind != kind {
		p.fail("expected %v, got %v", token{kind: kind}, t)
	}
	return p.next()
}

func (p *parser) name() string {
	if t := p.cur(); t.kind != tokName {
		p.fail("expected a name, got %v", t)
	}
	return p.next().text
}

// nest guards the recursion of the parser.
func (p *parser) nest() {
	p.depth++
	if p.depth > maxNesting {
		panic(&SyntaxError{Line: p.cur().line, Message: "nested too deep", cause: ErrLimit})
	}
}

func (p *parser) unnest() { p.depth-- }

// parseBody reads statements up to a tag named in ends and leaves that name the
// current token; with no ends it reads the whole template.
func (p *parser) parseBody(ends []string) []stmt {
	p.nest()
	defer p.unnest()
	var body []stmt
	for {
		t := p.next()
		switch t.kind {
		case tokEOF:
			if ends != nil {
				p.fail("missing '%s' tag", ends[len(ends)-1])
			}
			return body
		case tokData:
			body = append(body, &dataStmt{t.text})
		case tokVarBegin:
			e := p.parseTuple(true)
			p.expect(tokVarEnd)
			body = append(body, &outputStmt{t.line, e})
		case tokBlockBegin:
			for _, end := range ends {
				if p.cur().isName(end) {
					return body
				}
			}
			body = append(body, p.parseStatement())
			p.expect(tokBlockEnd)
		default:
			p.fail("unexpected %v", t)
		}
	}
}

// block reads the rest of an opening tag, the body, and the name of the tag
// that ends it, which it returns.
func (p *parser) block(ends ...string) ([]stmt, string) {
	p.skipOp(":")
	p.expect(tokBlockEnd)
	body := p.parseBody(ends)
	return body, p.next().text
}

// closure is block for a body that becomes a function: no loop around it can be
// left from inside.
func (p *parser) closure(end string) []stmt {
	outer := p.inLoop
	p.inLoop = false
	body, _ := p.block(end)
	p.inLoop = outer
	return body
}

func (p *parser) parseStatement() stmt {
	t := p.cur()
	name := p.name()
	switch name {
	case "if":
		return p.parseIf(t.line)
	case "for":
		return p.parseFor(t.line)
	case "set":
		return p.parseSet(t.line)
	case "macro":
		d := &macroDef{line: t.line, name: p.name()}
		p.parseMacro(d, "endmacro")
		return &macroStmt{d}
	case "call":
		return p.parseCallBlock(t.line)
	case "filter":
		chain := []*filterExpr{p.parseFilter(nil)}
		for p.skipOp("|") {
			chain = append(chain, p.parseFilter(nil))
		}
		body, _ := p.block("endfilter")
		return &filterStmt{t.line, chain, body}
	case "with":
		return p.parseWith(t.line)
	case "print":
		var list seqStmt
		for p.cur().kind != tokBlockEnd {
			if len(list) > 0 {
				p.expectOp(",")
			}
			list = append(list, &outputStmt{t.line, p.parseExpression()})
		}
		return list
	case "generation":
		return &scopeStmt{p.closure("endgeneration")}
	case "break", "continue":
		if !p.inLoop {
			failSyntax(t.line, "'%s' outside of a loop", name)
		}
		if name == "break" {
			return jumpStmt(signalBreak)
		}
		return jumpStmt(signalContinue)
	case "block", "extends", "include", "import", "from", "autoescape":
		failSyntax(t.line, "the tag '%s' is not supported", name)
	}
	failSyntax(t.line, "unknown tag '%s'", name)
	return nil
}

func (p *parser) parseIf(line int) stmt {
	s := &ifStmt{}
	for {
		c := condition{line: line, test: p.parseTuple(false)}
		body, end := p.block("elif", "else", "endif")
		c.body = body
		s.conditions = append(s.conditions, c)
		switch end {
		case "elif":
			line = p.cur().line
			continue
		case "else":
			s.otherwise, _ = p.block("endif")
		}
		return s
	}
}

func (p *parser) parseFor(line int) stmt {
	s := &forStmt{line: line, target: p.parseTarget(false)}
	if !p.skipName("in") {
		p.fail("expected 'in', got %v", p.cur())
	}
	s.iter = p.parseTuple(false)
	if p.skipName("if") {
		s.test = p.parseExpression()
	}
	s.recursive = p.skipName("recursive")
	outer := p.inLoop
	p.inLoop = true
	body, end := p.block("endfor", "else")
	p.inLoop = outer
	s.body = body
	if end == "else" {
		s.otherwise, _ = p.block("endfor")
	}
	return s
}

func (p *parser) parseSet(line int) stmt {
	t := p.parseTarget(true)
	if p.skipOp("=") {
		return &setStmt{line, t, p.parseTuple(true)}
	}
	var chain []*filterExpr
	for p.skipOp("|") {
		chain = append(chain, p.parseFilter(nil))
	}
	body, _ := p.block("endset")
	return &setBlockStmt{line, t, chain, body}
}

func (p *parser) parseWith(line int) stmt {
	s := &withStmt{line: line}
	for p.cur().kind != tokBlockEnd {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.parseTarget(false))
		p.expectOp("=")
		s.values = append(s.values, p.parseExpression())
	}
	s.body, _ = p.block("endwith")
	return s
}

// parseMacro reads a macro's parameters and body.
func (p *parser) parseMacro(d *macroDef, end string) {
	d.params = p.parseParams()
	p.parseMacroBody(d, end)
}

func (p *parser) parseParams() []macroParam {
	var params []macroParam
	p.expectOp("(")
	for !p.skipOp(")") {
		if len(params) > 0 {
			p.expectOp(",")
		}
		param := macroParam{name: p.plainName()}
		if p.skipOp("=") {
			param.value = p.parseExpression()
		} else if n := len(params); n > 0 && params[n-1].value != nil {
			p.fail("a parameter without a default follows one with a default")
		}
		params = append(params, param)
	}
	return params
}

func (p *parser) parseMacroBody(d *macroDef, end string) {
	p.macros = append(p.macros, d)
	d.body = p.closure(end)
	p.macros = p.macros[:len(p.macros)-1]
}

func (p *parser) parseCallBlock(line int) stmt {
	s := &callStmt{line: line, caller: &macroDef{line: line, name: "caller"}}
	if p.cur().isOp("(") {
		s.caller.params = p.parseParams()
	}
	call, ok := p.parseExpression().(*callExpr)
	if !ok {
		failSyntax(line, "expected a call")
	}
	s.call = call
	p.parseMacroBody(s.caller, "endcall")
	return s
}

// plainName reads a name that is assigned to.
func (p *parser) plainName() string {
	switch n := p.name(); n {
	case "true", "false", "none", "True", "False", "None":
		p.fail("can't assign to '%s'", n)
		return ""
	default:
		return n
	}
}

// parseTarget reads what is assigned to: a name, names between commas, or with
// attributes an attribute of a namespace.
func (p *parser) parseTarget(attributes bool) target {
	p.nest()
	defer p.unnest()
	var list tupleTarget
	for {
		if t := p.cur(); t.kind == tokBlockEnd || t.isOp(")") {
			break
		}
		switch {
		case p.skipOp("("):
			list = append(list, p.parseTarget(attributes))
			p.expectOp(")")
		default:
			n := p.plainName()
			if attributes && p.skipOp(".") {
				p.refer(n)
				list = append(list, attrTarget{n, p.name()})
			} else {
				list = append(list, nameTarget(n))
			}
		}
		if !p.skipOp(",") {
			if len(list) == 1 {
				return list[0]
			}
			break
		}
	}
	if len(list) == 0 {
		p.fail("expected a name, got %v", p.cur())
	}
	return list
}

// refer notes that the macros around use a variable.
func (p *parser) refer(name string) {
	for _, d := range p.macros {
		switch name {
		case "caller":
			d.usesCaller = true
		case "varargs":
			d.usesVarargs = true
		case "kwargs":
			d.usesKwargs = true
		}
	}
}
