package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files from ULLM_TEST_PYTHON's transformers")

// request is what both sides of a comparison render.
type request struct {
	Template            string            `json:"template,omitempty"` // "@config": the real one
	Messages            json.RawMessage   `json:"messages"`
	Tools               []json.RawMessage `json:"tools,omitempty"`
	Kwargs              map[string]any    `json:"kwargs,omitempty"`
	AddGenerationPrompt bool              `json:"add_generation_prompt,omitempty"`
}

// golden is a request and what transformers makes of it.
type golden struct {
	request
	Want  *string `json:"want,omitempty"`
	Error string  `json:"error,omitempty"`
}

// realTemplate returns Qwen3's own chat template and the file that holds it.
func realTemplate(t testing.TB) (source, file string) {
	dir := os.Getenv("ULLM_TEST_QWEN3")
	if dir == "" {
		t.Skip("ULLM_TEST_QWEN3 is not set to a directory with Qwen3's tokenizer_config.json")
	}
	file = filepath.Join(dir, "tokenizer_config.json")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		ChatTemplate string `json:"chat_template"`
	}
	if err := json.Unmarshal(raw, &config); err != nil || config.ChatTemplate == "" {
		t.Fatalf("%s holds no chat template: %v", file, err)
	}
	return config.ChatTemplate, file
}

// oracle renders requests with transformers.
func oracle(t *testing.T, requests []request, config string) []golden {
	t.Helper()
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("ULLM_TEST_PYTHON is not set to a python with transformers")
	}
	var in, stderr bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, r := range requests {
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"testdata/oracle.py"}
	if config != "" {
		args = append(args, config)
	}
	cmd := exec.Command(python, args...)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	var answers []golden
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		g := golden{request: requests[len(answers)]}
		if err := d.Decode(&g); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, g)
	}
	if len(answers) != len(requests) {
		t.Fatalf("the oracle answered %d of %d requests", len(answers), len(requests))
	}
	return answers
}

func (r *request) render(tpl *Template) (string, error) {
	in := Input{Tools: r.Tools, Kwargs: r.Kwargs, AddGenerationPrompt: r.AddGenerationPrompt,
		Now: time.Date(2026, 7, 4, 5, 6, 7, 89_000, time.UTC)}
	if err := json.Unmarshal(r.Messages, &in.Messages); err != nil {
		return "", err
	}
	return tpl.Render(context.Background(), in)
}

func compare(t *testing.T, tpl *Template, answers []golden) {
	t.Helper()
	for i := range answers {
		g := &answers[i]
		got, err := g.render(tpl)
		switch {
		case g.Want == nil && err == nil:
			t.Errorf("%s\n got %q\nwant an error: %s", show(g), got, g.Error)
		case g.Want != nil && err != nil:
			t.Errorf("%s\n got the error %v\nwant %q", show(g), err, *g.Want)
		case g.Want != nil && got != *g.Want:
			t.Errorf("%s\n got %q\nwant %q", show(g), got, *g.Want)
		}
	}
}

func show(g *golden) string {
	raw, _ := json.Marshal(g.request)
	return string(raw)
}

func parse(t testing.TB, source string) *Template {
	t.Helper()
	tpl, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

// goldenFile compares with recorded answers, which -update writes.
func goldenFile(t *testing.T, file, template, config string, requests func() []request) {
	t.Helper()
	file = filepath.Join("testdata", file)
	source := template
	if template == "@config" {
		source, config = realTemplate(t)
	}
	if *update {
		answers := oracle(t, withTemplate(requests(), template), config)
		for i := range answers {
			answers[i].Template = ""
			if answers[i].Want == nil {
				answers[i].Error = "error" // the wording depends on Python's version
			}
		}
		raw, err := json.MarshalIndent(answers, "", " ")
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
	var answers []golden
	if err := json.Unmarshal(raw, &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) == 0 {
		t.Fatalf("%s is empty", file)
	}
	compare(t, parse(t, source), answers)
}

func TestQwen3Golden(t *testing.T) {
	goldenFile(t, "qwen3.json", "@config", "", func() []request { return append(fixed(), randomRequests(1, 30)...) })
}

func TestDefaultTemplateGolden(t *testing.T) {
	goldenFile(t, "default.json", DefaultTemplate, "", func() []request { return append(fixed(), randomRequests(2, 30)...) })
}

// TestQwen3 renders hundreds of conversations with Qwen3's own template as
// transformers does.
func TestQwen3(t *testing.T) {
	source, config := realTemplate(t)
	answers := oracle(t, withTemplate(append(fixed(), randomRequests(3, 1000)...), "@config"), config)
	compare(t, parse(t, source), answers)
}

func TestDefaultTemplate(t *testing.T) {
	answers := oracle(t, withTemplate(append(fixed(), randomRequests(4, 500)...), DefaultTemplate), "")
	compare(t, parse(t, DefaultTemplate), answers)
	for _, g := range answers {
		if g.Want == nil {
			t.Errorf("%s\n fails: %s", show(&g), g.Error)
		}
	}
}

// TestDefaultTemplateForm: without tools the default template is Qwen3's form.
func TestDefaultTemplateForm(t *testing.T) {
	source, _ := realTemplate(t)
	real, own := parse(t, source), parse(t, DefaultTemplate)
	for _, messages := range []string{
		`[{"role":"user","content":"Hi"}]`,
		`[{"role":"system","content":"Be nice"},{"role":"user","content":"Hi"},{"role":"assistant","content":"<think>\nhm\n</think>\n\nHello"},{"role":"user","content":"Why?"}]`,
		`[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello","reasoning_content":"hm"},{"role":"user","content":"Why?"}]`,
		`[{"role":"user","content":"Hi"},{"role":"assistant","content":"","reasoning_content":"hm","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"1"}]`,
	} {
		for _, thinking := range []bool{true, false} {
			r := request{Messages: json.RawMessage(messages), AddGenerationPrompt: true, Kwargs: map[string]any{"enable_thinking": thinking}}
			want, err := r.render(real)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.render(own); err != nil || got != want {
				t.Errorf("%s, thinking %v: got %q, %v; want %q", messages, thinking, got, err, want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	ctx := context.Background()
	hi := Input{Messages: []Message{{Role: "user", Content: "hi"}}}
	t.Run("raised", func(t *testing.T) {
		_, err := parse(t, "{{ raise_exception('Only ' ~ messages|length ~ '!') }}").Render(ctx, hi)
		var raised *RaisedError
		if !errors.As(err, &raised) || raised.Message != "Only 1!" {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("failed", func(t *testing.T) {
		_, err := parse(t, "a\n{{ messages[3].content }}").Render(ctx, hi)
		var failed *TemplateError
		if !errors.As(err, &failed) || failed.Line != 2 {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("syntax", func(t *testing.T) {
		for source, name := range map[string]string{
			"\n{% include 'x' %}": "include", "\n{{ 'x'|urlize }}": "urlize", "\n{{ x is odder }}": "odder", "\n{{ lipsum() }}": "lipsum",
			"\n{% block a %}{% endblock %}": "block", "\n{% nope %}": "nope",
		} {
			_, err := Parse(source)
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Line != 2 || !strings.Contains(syntax.Message, "'"+name+"'") {
				t.Errorf("%q: got %v", source, err)
			}
		}
	})
	t.Run("limit", func(t *testing.T) {
		_, err := parse(t, "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}").Render(ctx, hi)
		if !errors.Is(err, ErrLimit) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := parse(t, "x").Render(ctx, hi); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("input", func(t *testing.T) {
		tpl := parse(t, "x")
		for _, in := range []Input{
			{Tools: []json.RawMessage{json.RawMessage("{")}},
			{Tools: []json.RawMessage{json.RawMessage("{} {}")}},
			{Tools: []json.RawMessage{json.RawMessage(strings.Repeat("[", 5000) + strings.Repeat("]", 5000))}},
			{Kwargs: map[string]any{"messages": nil}},
			{Kwargs: map[string]any{"x": func() {}}},
			{Messages: []Message{{ToolCalls: []ToolCall{{Function: FunctionCall{Arguments: json.RawMessage("nope")}}}}}},
		} {
			_, err := tpl.Render(ctx, in)
			var bad *InputError
			if !errors.As(err, &bad) {
				t.Errorf("%+v: got %v", in, err)
			}
		}
	})
}

// TestVariables renders what Input holds beside the messages.
func TestVariables(t *testing.T) {
	for _, c := range []struct {
		template, want string
		in             Input
	}{
		{"{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}", "<s></s>False", Input{BOS: "<s>", EOS: "</s>"}},
		{"{{ bos_token is defined }}", "False", Input{}},
		{"{{ tools }}{{ documents }}{{ add_generation_prompt }}", "NoneNoneFalse", Input{}},
		{"{{ tools }}", "[]", Input{Tools: []json.RawMessage{}}},
		{"{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f }} {{ g }}", "1 1.5 2 [1, 'x'] {'k': 1} None True", Input{Kwargs: map[string]any{
			"a": 1.0, "b": json.RawMessage(`1.5`), "c": json.Number("2"), "d": []any{1, "x"}, "e": map[string]any{"k": 1}, "f": nil, "g": true}}},
		{"{{ strftime_now('%d %b %Y') }}", "02 Jan 2025", Input{Now: time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)}},
		{"{{ messages[0] }}", "{'role': 'user', 'content': 'a\ufffd', 'name': 'n', 'extra': [1]}", Input{Messages: []Message{{
			Role: "user", Content: "a\xff", Name: "n", Extra: []Field{{"extra", json.RawMessage("[1]")}, {"gone", json.RawMessage("null")}}}}}},
	} {
		got, err := parse(t, c.template).Render(context.Background(), c.in)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.template, got, err, c.want)
		}
	}
}

// TestArguments: a template that does not look what a tool call's arguments are
// gets a mapping, whatever the request had.
func TestArguments(t *testing.T) {
	const loop = "{% for k, v in messages[0].tool_calls[0].function.arguments|items %}{{ k }}={{ v }};{% endfor %}"
	const aware = "{% set f = messages[0].tool_calls[0].function %}{{ f.arguments is string }}"
	for _, c := range []struct{ template, arguments, want string }{
		{loop, `{"b": 1, "a": "x"}`, "b=1;a=x;"},
		{loop, `"{\"b\": 1, \"a\": \"x\"}"`, "b=1;a=x;"},
		{loop, `""`, ""},
		{loop, ``, ""},
		{aware, `"{}"`, "True"},
		{aware, `{}`, "False"},
	} {
		m := Message{Role: "assistant", ToolCalls: []ToolCall{{Function: FunctionCall{Name: "f", Arguments: json.RawMessage(c.arguments)}}}}
		got, err := parse(t, c.template).Render(context.Background(), Input{Messages: []Message{m}})
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.arguments, got, err, c.want)
		}
	}
}

func TestMessageJSON(t *testing.T) {
	var m Message
	err := json.Unmarshal([]byte(`{"z":1,"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":null,"a":{"k":[]},"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	if m.Role != "user" || m.Content != "a\nb" || m.Name != "" || len(m.Extra) != 2 || m.Extra[0].Name != "z" || string(m.Extra[1].Value) != `{"k":[]}` || string(m.ToolCalls[0].Function.Arguments) != `"{}"` {
		t.Errorf("got %+v", m)
	}
	for _, bad := range []string{`[]`, `{"content":1}`, `{"content":[{"type":"image_url"}]}`, `{"role":{}}`, `{"tool_calls":{}}`, `{"role":"user"`} {
		if err := json.Unmarshal([]byte(bad), &m); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	source, _ := realTemplate(b)
	tpl := parse(b, source)
	in := Input{AddGenerationPrompt: true, Kwargs: map[string]any{"enable_thinking": true}}
	for range 5 {
		in.Messages = append(in.Messages, Message{Role: "user", Content: strings.Repeat("Tell me more. ", 20)},
			Message{Role: "assistant", Content: "<think>\nhm\n</think>\n\n" + strings.Repeat("There is not much more. ", 50)})
	}
	in.Messages = append(in.Messages, Message{Role: "user", Content: "Why?"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}
