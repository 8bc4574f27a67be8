package jinja

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden file from ULLM_TEST_PYTHON's transformers")

// result is what the oracle says of a template.
type result struct {
	Want  *string `json:"want,omitempty"`
	Error string  `json:"error,omitempty"`
}

// oracle renders templates with transformers. It skips the test where there is
// none.
func oracle(t *testing.T, templates []string, vars json.RawMessage) []result {
	t.Helper()
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("ULLM_TEST_PYTHON is not set to a python with transformers")
	}
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, s := range templates {
		if err := enc.Encode(map[string]any{"template": s, "vars": vars}); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "../../testdata/oracle.py")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var results []result
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r result
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if len(results) != len(templates) {
		t.Fatalf("the oracle answered %d of %d", len(results), len(templates))
	}
	return results
}

// testVars are what the snippets can use.
const testVars = `{
	"s": "Hello, World", "empty": "", "sp": "  a b\n", "uni": "Ünï ßcode 漢字 😀", "html": "<a href=\"x\">&'</a>",
	"n": 7, "neg": -3, "zero": 0, "f": 2.5, "big": 123456789012345678901234567890, "yes": true, "no": false, "nil": null,
	"l": [3, 1, 2], "words": ["b", "A", "c"], "mixed": [1, "x", null, true, 2.0, [1], {"k": "v"}], "nothing": [],
	"d": {"b": 1, "a": "x", "items": [1], "c d": null}, "deep": {"x": {"y": [{"z": "found"}]}},
	"messages": [{"role": "system", "content": "Be <b>nice</b>"}, {"role": "user", "content": "Hi\n"},
		{"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}, {"role": "user", "content": "Ünï"}],
	"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["int", "null"]}}, "required": ["a"]}}}],
	"path": "a,b,,c", "num": "42", "fl": "3.75"}`

func decodeVars(t testing.TB, raw string) *Dict {
	v, err := DecodeJSON([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v.(*Dict)
}

var testClock = time.Date(2026, 7, 4, 5, 6, 7, 89_000, time.UTC)

func render(source string, vars *Dict) (string, error) {
	tpl, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tpl.Render(context.Background(), vars, Options{Limits: LimitsFor(0), Now: testClock})
}

// check compares one rendering with the oracle's.
func check(t *testing.T, source string, vars *Dict, r result) bool {
	t.Helper()
	got, err := render(source, vars)
	switch {
	case r.Want == nil && err == nil:
		t.Errorf("%s\n got %q\nwant the error %s", source, got, r.Error)
	case r.Want != nil && err != nil:
		t.Errorf("%s\n got the error %v\nwant %q", source, err, *r.Want)
	case r.Want != nil && got != *r.Want:
		t.Errorf("%s\n got %q\nwant %q", source, got, *r.Want)
	default:
		return true
	}
	return false
}

// TestSnippets renders every snippet as transformers does: against its recorded
// answers, and against itself where it is there.
func TestSnippets(t *testing.T) {
	const file = "testdata/snippets.json"
	vars := decodeVars(t, testVars)
	t.Run("golden", func(t *testing.T) {
		if *update {
			results := oracle(t, snippets, json.RawMessage(testVars))
			golden := make(map[string]result)
			for i, r := range results {
				if r.Want == nil {
					r.Error = "error" // the wording depends on Python's version
				}
				golden[snippets[i]] = r
			}
			raw, err := json.MarshalIndent(golden, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var golden map[string]result
		if err := json.Unmarshal(raw, &golden); err != nil {
			t.Fatal(err)
		}
		for _, s := range snippets {
			r, ok := golden[s]
			if !ok {
				t.Fatalf("%s has no golden result: run with -update", s)
			}
			check(t, s, vars, r)
		}
	})
	t.Run("oracle", func(t *testing.T) {
		for i, r := range oracle(t, snippets, json.RawMessage(testVars)) {
			check(t, snippets[i], vars, r)
		}
	})
}
