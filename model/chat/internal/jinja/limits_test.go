package jinja

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// hostile are templates that would take forever, or all memory, or the stack.
var hostile = map[string]string{
	"loops":             "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}{% endfor %}",
	"output":            "{% for a in range(100000) %}{% for b in range(100000) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
	"range":             "{{ range(10**18)|list }}",
	"range of all":      "{{ range(-9223372036854775807, 9223372036854775807)|length }}",
	"repeat":            "{{ 'x' * 10**12 }}",
	"repeat most":       "{{ 'xxxxxxxx' * 9223372036854775807 }}",
	"repeat list":       "{{ ([1] * 10**9)|length }}",
	"repeat twice":      "{{ (('x' * 10**7) * 10**7)|length }}",
	"double":            "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
	"double plus":       "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	"double list":       "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
	"double block":      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
	"double nested":     "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
	"double json":       "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson }}",
	"double equal":      "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
	"replace":           "{{ ('x' * 10**6)|replace('x', 'y' * 10**6) }}",
	"replace empty":     "{{ ('x' * 10**6).replace('', 'y' * 10**6) }}",
	"join":              "{{ range(100000)|join('x' * 10**6) }}",
	"indent":            "{{ ('\\n' * 10**6)|indent(10**6, blank=true) }}",
	"indent width":      "{{ 'a'|indent(10**15, true) }}",
	"json indent":       "{{ [1]|tojson(indent=10**15) }}",
	"center":            "{{ 'a'|center(10**15) }}",
	"zfill":             "{{ 'a'.zfill(10**15) }}",
	"ljust":             "{{ 'a'.ljust(9223372036854775807) }}",
	"format width":      "{{ '%1000000000d' % 1 }}",
	"format precision":  "{{ '%.1000000000f' % 1.0 }}",
	"power":             "{{ 10 ** 10 ** 10 ** 10 }}",
	"recursion":         "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"recursion fan":     "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
	"mutual":            "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
	"caller":            "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}{% endmacro %}{{ g() }}",
	"recursive loop":    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
	"deep value":        "{% set ns = namespace(s=[]) %}{% for i in range(90000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
	"deep json":         "{% set ns = namespace(s={}) %}{% for i in range(90000) %}{% set ns.s = {'a': ns.s} %}{% endfor %}{{ ns.s|tojson }}",
	"deep equal":        "{% set ns = namespace(s=[], t=[]) %}{% for i in range(90000) %}{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
	"own self":          "{% set ns = namespace() %}{% set ns.s = ns %}{{ ns }}",
	"split":             "{% set s = 'x' * 10**7 %}{% for i in range(1000) %}{% set y = s.split('x') %}{% endfor %}",
	"scan":              "{% set s = 'x' * 10**7 %}{% for i in range(100000) %}{{ 'y' in s }}{% endfor %}",
	"characters":        "{% for c in 'x' * 10**8 %}{% endfor %}",
	"sort":              "{% for i in range(1000) %}{% set x = range(100000)|sort(reverse=true) %}{% endfor %}",
	"map of map":        "{{ range(100000)|map('center', 10**5)|join }}",
	"sum of lists":      "{{ ([[1] * 1000] * 1000)|sum(start=[])|length }}",
	"star":              "{% macro f() %}{{ varargs|length }}{% endmacro %}{% for i in range(100000) %}{{ f(*range(100000)) }}{% endfor %}",
	"upper":             "{% set s = 'ß' * 10**6 %}{% for i in range(1000) %}{% set x = s.upper() %}{% endfor %}",
	"title":             "{% set s = 'é ' * 10**6 %}{% for i in range(1000) %}{% set x = s.title() %}{% endfor %}",
	"escape":            "{% set ns = namespace(s='&') %}{% for i in range(1000) %}{% set ns.s = ns.s|forceescape %}{% endfor %}{% for i in range(1000) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
	"keep scopes":       "{% set ns = namespace(s=none) %}{% for i in range(100000) %}{% for j in range(100000) %}{% macro f() %}{% endmacro %}{% set ns.s = (ns.s, f) %}{% endfor %}{% endfor %}",
	"methods in a row":  "{{ 'a'" + strings.Repeat(".strip()", 10_000) + " }}",
	"filters in a row":  "{{ 'a'" + strings.Repeat("|trim", 10_000) + " }}",
	"sum of many":       "{{ 1" + strings.Repeat("+1", 100_000) + " }}",
	"conditions":        "{{ 1" + strings.Repeat(" if 1", 100_000) + " }}",
	"parentheses":       "{{ " + strings.Repeat("(", 100_000),
	"brackets":          "{{ " + strings.Repeat("[", 100_000),
	"braces":            "{{ " + strings.Repeat("{1:", 100_000),
	"not":               "{{ " + strings.Repeat("not ", 100_000),
	"minus":             "{{ " + strings.Repeat("-", 100_000),
	"calls":             "{{ " + strings.Repeat("f(", 100_000),
	"else":              "{{ 1" + strings.Repeat(" if 1 else 1", 80_000) + " }}",
	"blocks":            strings.Repeat("{% if 1 %}", 100_000),
	"macros":            strings.Repeat("{% macro f() %}", 60_000),
	"targets":           "{% for " + strings.Repeat("(", 100_000),
	"tests":             "{{ 1" + strings.Repeat(" is in [1", 100_000),
	"subscripts":        "{{ a" + strings.Repeat("[a", 100_000),
	"size":              strings.Repeat("x", maxSource+1),
	"keywords":          "{{ f(" + manyKeywords(50_000) + ") }}",
	"open comments":     strings.Repeat("{#", 500_000),
	"open raw":          "{% raw %}" + strings.Repeat("{% ", 300_000),
	"braces in text":    strings.Repeat("{", 1_000_000) + "{{",
	"strip set":         "{{ ('x' * 10**7).strip('y' * 10**7) }}",
	"strftime":          "{{ strftime_now('%c' * 10**7) }}",
	"wide names":        "{% set ns = namespace() %}" + manySets(50_000) + "{% for i in range(100000) %}{{ v9999 }}{% endfor %}",
	"dict of tuples":    "{{ {(1, 2): 3} }}",
	"float of text":     "{% set s = '9' * 10**7 %}{% for i in range(100000) %}{% set x = s|float %}{% endfor %}",
	"int of text":       "{{ ('9' * 10**5)|int }}{{ ('9' * 10**8)|int }}",
	"find from the end": "{% set s = 'é' * 10**6 %}{% for i in range(100000) %}{% set x = s.find('x', -1) %}{% endfor %}",
}

func manyKeywords(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("a")
		b.WriteString(strings.Repeat("b", i%7))
		b.WriteString(scalar(int64(i)))
		b.WriteString("=1,")
	}
	return b.String()
}

func manySets(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("{% set v" + scalar(int64(i)) + "=1%}")
	}
	return b.String()
}

// TestHostile: each ends with an error, though none was cancelled. That it ends
// within the test's own time, and that the process lives, is the rest of it.
func TestHostile(t *testing.T) {
	limits := LimitsFor(0)
	limits.Steps /= 4 // the test has many of them
	limits.Bytes /= 4
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			tpl, err := Parse(source)
			if err == nil {
				_, err = tpl.Render(context.Background(), NewDict(), Options{Limits: limits, Now: testClock})
			}
			if err == nil {
				t.Error("it rendered")
			}
			var syntax *SyntaxError
			var failed *Error
			if !errors.Is(err, ErrLimit) && !errors.As(err, &syntax) && !errors.As(err, &failed) {
				t.Errorf("got %v", err)
			}
			t.Logf("%v: %.200v", time.Since(start).Round(time.Millisecond), err)
		})
	}
}

// TestDeadline: a context ends a rendering long before its limits do.
func TestDeadline(t *testing.T) {
	tpl, err := Parse(hostile["loops"])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	limits := LimitsFor(0)
	limits.Steps, limits.Bytes = 1<<62, 1<<62
	done := make(chan error)
	go func() {
		_, err := tpl.Render(ctx, NewDict(), Options{Limits: limits})
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestConcurrent renders one template at once in many goroutines: under the race
// detector this shows that a template is not changed.
func TestConcurrent(t *testing.T) {
	vars := decodeVars(t, testVars)
	var sources []string
	for _, s := range snippets {
		if tpl, err := Parse(s); err == nil && tpl != nil {
			sources = append(sources, s)
		}
	}
	tpl, err := Parse(strings.Join([]string{"{% macro f(x, y=1) %}{{ x }}{{ y }}{{ caller() if caller }}{% endmacro %}",
		"{% for m in messages %}{{ f(m.content) }}{% call f(1) %}{{ m|tojson }}{% endcall %}{% endfor %}{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ ns.a }}{{ d }}{{ l|sort }}"}, ""))
	if err != nil {
		t.Fatal(err)
	}
	want, err := tpl.Render(context.Background(), vars, Options{Limits: LimitsFor(0)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				got, err := tpl.Render(context.Background(), vars, Options{Limits: LimitsFor(0)})
				if err == nil && got != want {
					err = errors.New("got " + got)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range snippets {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if _, err := Parse(source); err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) && !errors.Is(err, ErrLimit) {
				t.Fatalf("%q: %v", source, err)
			}
		}
	})
}

// FuzzRender runs any template on small limits: it ends, and never panics.
func FuzzRender(f *testing.F) {
	for _, s := range snippets {
		f.Add(s)
	}
	for _, s := range hostile {
		if len(s) < 1000 {
			f.Add(s)
		}
	}
	vars := decodeVars(f, testVars)
	limits := Limits{Steps: 100_000, Bytes: 4 << 20, Output: 1 << 20, Depth: 500}
	f.Fuzz(func(t *testing.T, source string) {
		tpl, err := Parse(source)
		if err != nil {
			return
		}
		got, err := tpl.Render(context.Background(), vars, Options{Limits: limits, Now: testClock})
		if err != nil {
			var failed *Error
			if !errors.As(err, &failed) {
				t.Fatalf("%q: %v", source, err)
			}
			return
		}
		if len(got) > limits.Output {
			t.Fatalf("%q wrote %d bytes", source, len(got))
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{testVars, `[1,-0,1.0,1e400,"\ud800",null,true]`, `{"a":1,"a":2}`, `{`, `[[[[`, `1 2`, `"é"`} {
		f.Add(s)
	}
	tpl, err := Parse("{{ v|tojson }}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := DecodeJSON([]byte(s))
		if err != nil {
			return
		}
		// What it writes it reads as the same again.
		d := NewDict()
		d.Set("v", v)
		once, err := tpl.Render(context.Background(), d, Options{Limits: LimitsFor(len(s))})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(once, "Infinity") { // beyond JSON, as in Python
			return
		}
		again, err := DecodeJSON([]byte(once))
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		d.Set("v", again)
		if twice, err := tpl.Render(context.Background(), d, Options{Limits: LimitsFor(len(once))}); err != nil || twice != once {
			t.Fatalf("%s became %s, %v", once, twice, err)
		}
	})
}
