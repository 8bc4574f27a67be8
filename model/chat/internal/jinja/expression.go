package jinja

// parseExpression reads an expression, conditional ones included.
func (p *parser) parseExpression() expr {
	p.nest()
	defer p.unnest()
	e := p.parseOr()
	for p.skipName("if") {
		c := &condExpr{test: p.parseOr(), then: e}
		if p.skipName("else") {
			c.otherwise = p.parseExpression()
		}
		e = c
	}
	return e
}

// parseTuple reads an expression or several between commas, up to the end of a
// tag or a closing parenthesis.
func (p *parser) parseTuple(conditional bool) expr {
	var items []expr
	tuple := false
	for {
		t := p.cur()
		if t.kind == tokVarEnd || t.kind == tokBlockEnd || t.isOp(")") {
			break
		}
		if conditional {
			items = append(items, p.parseExpression())
		} else {
			items = append(items, p.parseOr())
		}
		if !p.skipOp(",") {
			break
		}
		tuple = true
	}
	if tuple {
		return &tupleExpr{items}
	}
	if len(items) == 0 {
		p.fail("expected an expression, got %v", p.cur())
	}
	return items[0]
}

func (p *parser) parseOr() expr {
	e := p.parseAnd()
	for p.skipName("or") {
		e = &orExpr{e, p.parseAnd()}
	}
	return e
}

func (p *parser) parseAnd() expr {
	e := p.parseNot()
	for p.skipName("and") {
		e = &andExpr{e, p.parseNot()}
	}
	return e
}

func (p *parser) parseNot() expr {
	p.nest()
	defer p.unnest()
	if p.skipName("not") {
		return &notExpr{p.parseNot()}
	}
	return p.parseCompare()
}

func (p *parser) parseCompare() expr {
	e := p.parseSum()
	var c *compareExpr
	for {
		op := ""
		switch t := p.cur(); {
		case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
		case t.isName("in"):
			op = "in"
		case t.isName("not") && p.peek().isName("in"):
			op = "not in"
			p.next()
		}
		if op == "" {
			if c == nil {
				return e
			}
			return c
		}
		p.next()
		if c == nil {
			c = &compareExpr{first: e}
		}
		c.rest = append(c.rest, operand{op, p.parseSum()})
	}
}

func (p *parser) binary(operators string, operand func() expr) expr {
	e := operand()
	for {
		t := p.cur()
		if t.kind != tokOp || !isOneOf(t.text, operators) {
			return e
		}
		p.next()
		e = &binaryExpr{t.text, e, operand()}
	}
}

// isOneOf says whether op stands in a list of operators between spaces.
func isOneOf(op, operators string) bool {
	for len(operators) > 0 {
		i := 0
		for i < len(operators) && operators[i] != ' ' {
			i++
		}
		if operators[:i] == op {
			return true
		}
		operators = operators[min(i+1, len(operators)):]
	}
	return false
}

func (p *parser) parseSum() expr { return p.binary("+ -", p.parseConcat) }

func (p *parser) parseConcat() expr {
	e := p.parseProduct()
	if !p.cur().isOp("~") {
		return e
	}
	c := &concatExpr{parts: []expr{e}}
	for p.skipOp("~") {
		c.parts = append(c.parts, p.parseProduct())
	}
	return c
}

func (p *parser) parseProduct() expr { return p.binary("* / // %", p.parsePower) }
func (p *parser) parsePower() expr   { return p.binary("**", func() expr { return p.parseUnary(true) }) }

func (p *parser) parseUnary(filters bool) expr {
	p.nest()
	defer p.unnest()
	var e expr
	switch {
	case p.skipOp("-"):
		e = &signExpr{p.parseUnary(false), true}
	case p.skipOp("+"):
		e = &signExpr{p.parseUnary(false), false}
	default:
		e = p.parsePrimary()
	}
	e = p.parsePostfix(e)
	if !filters {
		return e
	}
	for {
		switch t := p.cur(); {
		case t.isOp("|"):
			p.next()
			e = p.parseFilter(e)
		case t.isName("is"):
			p.next()
			e = p.parseTest(e)
		case t.isOp("("):
			e = p.parseCall(e)
		default:
			return e
		}
	}
}

func (p *parser) parsePrimary() expr {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		p.refer(t.text)
		return &nameExpr{t.text}
	case tokConst:
		s, ok := t.value.(string)
		if !ok {
			return &constExpr{t.value}
		}
		// String literals side by side are one.
		for p.cur().kind == tokConst {
			more, ok := p.cur().value.(string)
			if !ok {
				break
			}
			s += more
			p.next()
		}
		return &constExpr{s}
	case tokOp:
		switch t.text {
		case "(":
			if p.skipOp(")") {
				return &tupleExpr{}
			}
			e := p.parseTuple(true)
			p.expectOp(")")
			return e
		case "[":
			return p.parseList()
		case "{":
			return p.parseDict()
		}
	}
	failSyntax(t.line, "unexpected %v", t)
	return nil
}

func (p *parser) parseList() expr {
	e := &listExpr{}
	for !p.skipOp("]") {
		if len(e.items) > 0 {
			p.expectOp(",")
			if p.skipOp("]") {
				break
			}
		}
		e.items = append(e.items, p.parseExpression())
	}
	return e
}

func (p *parser) parseDict() expr {
	e := &dictExpr{}
	for !p.skipOp("}") {
		if len(e.keys) > 0 {
			p.expectOp(",")
			if p.skipOp("}") {
				break
			}
		}
		e.keys = append(e.keys, p.parseExpression())
		p.expectOp(":")
		e.values = append(e.values, p.parseExpression())
	}
	return e
}

func (p *parser) parsePostfix(e expr) expr {
	for {
		switch t := p.cur(); {
		case t.isOp("."):
			p.next()
			if i, ok := p.cur().value.(int64); ok && p.cur().kind == tokConst {
				p.next()
				e = &itemExpr{e, &constExpr{i}}
				continue
			}
			e = &attrExpr{e, p.name()}
		case t.isOp("["):
			p.next()
			e = p.parseSubscript(e)
		case t.isOp("("):
			e = p.parseCall(e)
		default:
			return e
		}
	}
}

func (p *parser) parseSubscript(of expr) expr {
	var items []expr
	for !p.skipOp("]") {
		if len(items) > 0 {
			p.expectOp(",")
		}
		if p.cur().isOp(":") {
			return p.parseSlice(of, nil)
		}
		e := p.parseExpression()
		if p.cur().isOp(":") && len(items) == 0 {
			return p.parseSlice(of, e)
		}
		items = append(items, e)
	}
	if len(items) == 1 {
		return &itemExpr{of, items[0]}
	}
	return &itemExpr{of, &tupleExpr{items}}
}

// parseSlice reads a slice from its first colon on.
func (p *parser) parseSlice(of, from expr) expr {
	e := &sliceExpr{of: of, from: from}
	part := func() expr {
		if p.cur().isOp(":") || p.cur().isOp("]") {
			return nil
		}
		return p.parseExpression()
	}
	p.expectOp(":")
	e.to = part()
	if p.skipOp(":") {
		e.step = part()
	}
	p.expectOp("]")
	return e
}

func (p *parser) parseArgs() *argExprs {
	a := &argExprs{}
	p.expectOp("(")
	for n := 0; !p.skipOp(")"); n++ {
		if n > 0 {
			p.expectOp(",")
			if p.skipOp(")") {
				break
			}
		}
		switch {
		case p.skipOp("*"):
			if a.star != nil || a.dstar != nil {
				p.fail("invalid arguments of a call")
			}
			a.star = p.parseExpression()
		case p.skipOp("**"):
			if a.dstar != nil {
				p.fail("invalid arguments of a call")
			}
			a.dstar = p.parseExpression()
		case p.cur().kind == tokName && p.peek().isOp("="):
			if a.dstar != nil {
				p.fail("invalid arguments of a call")
			}
			name := p.name()
			p.next()
			if len(a.names) > maxKeywords {
				p.fail("more than %d keyword arguments are not supported", maxKeywords)
			}
			for _, have := range a.names {
				if have == name {
					p.fail("argument '%s' is given twice", name)
				}
			}
			a.names = append(a.names, name)
			a.named = append(a.named, p.parseExpression())
		default:
			if a.star != nil || a.dstar != nil || len(a.names) > 0 {
				p.fail("invalid arguments of a call")
			}
			a.list = append(a.list, p.parseExpression())
		}
	}
	return a
}

func (p *parser) parseCall(of expr) expr {
	if n, ok := of.(*nameExpr); ok && unsupportedGlobals[n.name] {
		p.fail("the function '%s' is not supported", n.name)
	}
	return &callExpr{of, p.parseArgs()}
}

// parseFilter reads a filter's name and arguments, after the bar. A filter of a
// block's text has no expression of its own.
func (p *parser) parseFilter(of expr) *filterExpr {
	name := p.name()
	fn, ok := filters[name]
	if !ok {
		if unsupportedFilters[name] {
			p.fail("the filter '%s' is not supported", name)
		}
		p.fail("no filter named '%s'", name)
	}
	e := &filterExpr{of: of, name: name, fn: fn}
	if p.cur().isOp("(") {
		e.args = p.parseArgs()
	}
	return e
}

// parseTest reads a test, after `is`.
func (p *parser) parseTest(of expr) expr {
	negated := p.skipName("not")
	name := p.name()
	fn, ok := tests[name]
	if !ok {
		p.fail("no test named '%s'", name)
	}
	e := &testExpr{of: of, name: name, fn: fn}
	switch t := p.cur(); {
	case t.isOp("("):
		e.args = p.parseArgs()
	case t.kind == tokConst, t.isOp("["), t.isOp("{"),
		t.kind == tokName && t.text != "else" && t.text != "or" && t.text != "and":
		if t.text == "is" && t.kind == tokName {
			p.fail("tests cannot be chained with 'is'")
		}
		p.nest()
		e.args = &argExprs{list: []expr{p.parsePostfix(p.parsePrimary())}}
		p.unnest()
	}
	if name == "string" || name == "mapping" {
		switch of := of.(type) {
		case *attrExpr:
			p.testsArguments = p.testsArguments || of.name == "arguments"
		case *itemExpr:
			c, ok := of.index.(*constExpr)
			p.testsArguments = p.testsArguments || ok && c.value == "arguments"
		}
	}
	if negated {
		return &notExpr{e}
	}
	return e
}
