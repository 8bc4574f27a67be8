package jinja

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// machine is the state of one rendering: what it has left to spend and where
// its output goes. A failure inside it is a panic with an *Error, which Render
// turns into its result: nearly every operation of the language can fail, and
// none handles a failure.
type machine struct {
	ctx    context.Context
	limits Limits
	now    time.Time

	steps     int64 // left
	nextCheck int64 // look at ctx when steps falls below
	bytes     int64 // left
	depth     int
	line      int // of the running statement

	// The filters and tests, for the filters that take their names.
	filters map[string]filterFunc
	tests   map[string]testFunc

	out     *strings.Builder // the rendered text, or the one being captured
	capture int              // nested captures; 0 means out is the rendered text
}

const stepsPerCheck = 4096

func newMachine(ctx context.Context, opt Options) *machine {
	return &machine{
		ctx: ctx, limits: opt.Limits, now: opt.Now,
		steps: opt.Limits.Steps, nextCheck: opt.Limits.Steps - stepsPerCheck,
		bytes: opt.Limits.Bytes, line: 1, filters: filters, tests: tests, out: new(strings.Builder),
	}
}

// fail ends the rendering.
func (m *machine) fail(format string, args ...any) {
	panic(&Error{Line: m.line, Message: fmt.Sprintf(format, args...)})
}

func (m *machine) failWith(cause error) {
	panic(&Error{Line: m.line, Message: cause.Error(), cause: cause})
}

func (m *machine) failLimit(what string, limit int64) {
	m.failWith(fmt.Errorf("%w: more than %d %s", ErrLimit, limit, what))
}

// tick spends n steps.
func (m *machine) tick(n int) {
	m.steps -= int64(n)
	if m.steps >= m.nextCheck {
		return
	}
	if m.steps < 0 {
		m.failLimit("steps", m.limits.Steps)
	}
	m.checkContext()
	m.nextCheck = m.steps - stepsPerCheck
}

func (m *machine) checkContext() {
	if err := m.ctx.Err(); err != nil {
		m.failWith(fmt.Errorf("rendering stopped: %w", err))
	}
}

// read spends the steps of looking at n bytes of text.
func (m *machine) read(n int) { m.tick(1 + n/64) }

// grow spends n bytes of memory, before they are allocated, and the steps of
// writing them.
func (m *machine) grow(n int) {
	if int64(n) > m.bytes || n < 0 {
		m.failLimit("bytes of memory", m.limits.Bytes)
	}
	m.bytes -= int64(n)
	m.tick(1 + n/64)
}

// growItems is grow for a list of n elements.
func (m *machine) growItems(n int) {
	if n > 1<<40 {
		m.failLimit("bytes of memory", m.limits.Bytes)
	}
	m.grow(16 * n)
}

// scopeBytes is about what a scope takes, for a program that keeps many.
const scopeBytes = 200

// inner makes a scope inside s.
func (m *machine) inner(s *scope) *scope {
	m.grow(scopeBytes)
	return &scope{parent: s}
}

// enter counts one level of nesting; leave takes it back. A failure in between
// ends the rendering, so leave need not be deferred.
func (m *machine) enter() {
	m.depth++
	if m.depth > m.limits.Depth {
		m.failLimit("levels of nesting", int64(m.limits.Depth))
	}
	m.tick(1)
}

func (m *machine) leave() { m.depth-- }

// write appends to the output.
func (m *machine) write(s string) {
	if m.capture == 0 && m.out.Len()+len(s) > m.limits.Output {
		m.failLimit("bytes of output", int64(m.limits.Output))
	}
	m.grow(len(s))
	m.out.WriteString(s)
}

// captured runs f and returns what it wrote.
func (m *machine) captured(f func()) string {
	outer := m.out
	m.out = new(strings.Builder)
	m.capture++
	f()
	text := m.out.String()
	m.capture--
	m.out = outer
	return text
}

// scope holds the variables of one block. There are few in each, so that a
// slice is searched faster than a map.
type scope struct {
	names  []string
	values []any
	parent *scope
}

func (s *scope) set(name string, v any) {
	for i, n := range s.names {
		if n == name {
			s.values[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.values = append(s.values, v)
}

// lookup finds a variable in the scope or in those around it.
func (m *machine) lookup(s *scope, name string) any {
	for ; s != nil; s = s.parent {
		m.tick(1 + len(s.names)/8)
		for i, n := range s.names {
			if n == name {
				return s.values[i]
			}
		}
	}
	if g, ok := globals[name]; ok {
		return g
	}
	return &Undefined{message: fmt.Sprintf("'%s' is undefined", name)}
}

// assign sets a variable of the scope itself.
func (m *machine) assign(s *scope, name string, v any) {
	m.tick(1 + len(s.names)/8)
	s.set(name, v)
}
