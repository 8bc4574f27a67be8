// Package jinja renders the Jinja templates that models carry for their chat
// format, with the results of Python's jinja2 in the environment that Hugging
// Face transformers builds: an immutable sandbox with trim_blocks and
// lstrip_blocks, the loopcontrols extension, {% generation %} blocks, and its
// own tojson, raise_exception, strftime_now, dict and namespace.
//
// A template comes with a model and is untrusted. What it may spend is counted
// before it is spent (see Limits), so a hostile one ends with ErrLimit. Nothing
// in the language reaches files, the environment or Go values: a template sees
// the values of this package alone, and cannot change those it was given.
//
// What the language of jinja2 has and this package does not (template
// inheritance, imports, autoescape, some filters) is refused by Parse, by name.
// Integers are limited to 64 bits; larger ones from JSON can be printed and
// compared only. Tuples cannot be keys of a dict. A method that Python has on a
// value and this package does not is an error when it is looked up.
package jinja

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrLimit is wrapped by the errors of Parse and Render when a template asks
// for more than the limits allow.
var ErrLimit = errors.New("template limit exceeded")

// SyntaxError is what Parse returns for a template that is malformed or uses
// something that is not supported.
type SyntaxError struct {
	Line    int // from 1
	Message string
	cause   error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }
func (e *SyntaxError) Unwrap() error { return e.cause }

// Error is a failure of a template while it ran: what Python raises there as
// UndefinedError, TypeError and so on.
type Error struct {
	Line    int // of the statement that failed, from 1
	Message string
	cause   error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }
func (e *Error) Unwrap() error { return e.cause }

// Raised is a template's own call of raise_exception.
type Raised struct{ Message string }

func (e *Raised) Error() string { return e.Message }

// Limits bound one rendering. Each is checked before the work is done or the
// memory is taken, so all of them are hard.
type Limits struct {
	Steps  int64 // evaluated nodes, visited elements, and 64 bytes of text read or written each
	Bytes  int64 // memory taken by strings and lists, counted without what is freed meanwhile
	Output int   // length of the rendered text in bytes
	Depth  int   // nesting of expressions, blocks, macro calls and printed values together
}

// LimitsFor are the limits for an input (messages, tools and all) of n bytes.
// Real templates take less than a hundredth of the fixed parts.
func LimitsFor(n int) Limits {
	return Limits{
		Steps:  10_000_000 + 16*int64(n),
		Bytes:  128<<20 + 64*int64(n),
		Output: 16<<20 + 4*n,
		Depth:  2000,
	}
}

const (
	maxSource  = 1 << 20 // the largest templates in use are some 30 KB
	maxNesting = 400     // of what the parser recurses into: a block counts 1, parentheses 3
	maxRange   = 100_000 // elements of a range, as in jinja2's sandbox

	maxKeywords = 255 // keyword arguments of a call
)

// Template is a parsed template. It is immutable: any number of renderings may
// run at once.
type Template struct {
	body []stmt

	// TestsArguments says that the template looks whether some `arguments` is a
	// string or a mapping, and so takes a tool call's arguments in both forms.
	TestsArguments bool
}

// Parse reads a template. Its error wraps ErrLimit or is a *SyntaxError.
func Parse(source string) (t *Template, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("%w: the source has %d bytes, at most %d are read", ErrLimit, len(source), maxSource)
	}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*SyntaxError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	p := &parser{tokens: lex(strings.ToValidUTF8(source, "\uFFFD"))}
	body := p.parseBody(nil)
	return &Template{body: body, TestsArguments: p.testsArguments}, nil
}

// Options are what a rendering takes besides its variables.
type Options struct {
	Limits Limits
	Now    time.Time // for strftime_now
}

// Render executes the template on vars. Its error wraps ErrLimit, the context's
// error, or is an *Error, of which Raised may be the cause.
func (t *Template) Render(ctx context.Context, vars *Dict, opt Options) (text string, err error) {
	m := newMachine(ctx, opt)
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			text, err = "", e
		}
	}()
	m.checkContext()
	global := &scope{}
	for i, k := range vars.keys {
		if name, ok := k.(string); ok {
			global.names = append(global.names, name)
			global.values = append(global.values, vars.values[i])
		}
	}
	// The template's own assignments go to a scope of their own, as they must
	// not show in vars.
	execAll(m, &scope{parent: global}, t.body)
	return m.out.String(), nil
}
