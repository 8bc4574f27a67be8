// Package chat turns a conversation into the prompt that a model was trained on,
// through the chat template that comes with the model, and splits what the model
// answers into thinking and answer.
//
// A template is rendered as Hugging Face transformers renders it
// (apply_chat_template), byte for byte; the engine for that is in
// internal/jinja. A template is untrusted input: rendering one is bounded in
// steps, memory and output, and it can reach nothing but its input.
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ullm/ullm/model/chat/internal/jinja"
)

// ErrLimit is wrapped by an error of Parse or Render when the template is larger
// or does more than a template may.
var ErrLimit = jinja.ErrLimit

// SyntaxError says where and why Parse refused a template: it is malformed, or
// uses something of Jinja that is not supported, which is named.
type SyntaxError = jinja.SyntaxError

// RaisedError is the template's own refusal of a conversation, by
// raise_exception. It is the fault of the request.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string {
	return "chat: the chat template refused the messages: " + e.Message
}

// TemplateError is a template that failed while it ran, as on an operation on a
// value that is not there. As a rule the messages lack what the template needs.
type TemplateError struct {
	Line    int // of the template, from 1
	Message string
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("chat: the chat template failed in line %d: %s", e.Line, e.Message)
}

// InputError is an Input that cannot be passed to a template.
type InputError struct {
	Field string // of Input
	Err   error
}

func (e *InputError) Error() string { return fmt.Sprintf("chat: %s: %v", e.Field, e.Err) }
func (e *InputError) Unwrap() error { return e.Err }

// Template is a parsed chat template. It is immutable and safe for concurrent
// use.
type Template struct {
	t *jinja.Template
}

// Parse reads the source of a chat template. Its error wraps a *SyntaxError or
// ErrLimit.
func Parse(source string) (*Template, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("chat: cannot use the chat template: %w", err)
	}
	return &Template{t}, nil
}

// Input is what a template renders.
type Input struct {
	Messages []Message
	// Tools are the tools' JSON objects, as the request has them: a template's
	// tojson keeps the order of their keys. The template sees no tools (None)
	// when it is nil.
	Tools               []json.RawMessage
	AddGenerationPrompt bool
	// Kwargs are further variables (chat_template_kwargs): nil, bool, string,
	// numbers, json.Number, json.RawMessage, []any and map[string]any. A float64
	// without a fraction is taken for an integer, as JSON's decoder in Go makes
	// no difference.
	Kwargs map[string]any
	// BOS and EOS are the texts of the special tokens; a template finds them
	// undefined when they are empty.
	BOS, EOS string
	Now      time.Time // for strftime_now; the zero time means time.Now()
}

// reserved are the variables that Kwargs must not set.
var reserved = []string{"messages", "tools", "documents", "add_generation_prompt"}

// Render renders the template on in. The errors are *RaisedError,
// *TemplateError, *InputError, or wrap ErrLimit or the error of ctx.
func (t *Template) Render(ctx context.Context, in Input) (string, error) {
	b := builder{stringArguments: t.t.TestsArguments}
	vars, err := b.variables(in)
	if err != nil {
		return "", err
	}
	now := in.Now
	if now.IsZero() {
		now = time.Now()
	}
	text, err := t.t.Render(ctx, vars, jinja.Options{Limits: jinja.LimitsFor(b.size), Now: now})
	if err == nil {
		return text, nil
	}
	var raised *jinja.Raised
	var failed *jinja.Error
	switch {
	case errors.As(err, &raised):
		return "", &RaisedError{raised.Message}
	case errors.Is(err, ErrLimit), ctx.Err() != nil:
		return "", fmt.Errorf("chat: rendering the chat template: %w", err)
	case errors.As(err, &failed):
		return "", &TemplateError{failed.Line, failed.Message}
	}
	return "", fmt.Errorf("chat: rendering the chat template: %w", err)
}

// builder turns an Input into a template's variables and adds up its size.
type builder struct {
	size            int
	stringArguments bool
}

func (b *builder) variables(in Input) (*jinja.Dict, error) {
	vars := jinja.NewDict()
	if in.BOS != "" {
		vars.Set("bos_token", b.text(in.BOS))
	}
	if in.EOS != "" {
		vars.Set("eos_token", b.text(in.EOS))
	}
	// In the order of the names, so that an error does not vary.
	for _, name := range slices.Sorted(maps.Keys(in.Kwargs)) {
		if slices.Contains(reserved, name) {
			return nil, &InputError{"chat_template_kwargs", fmt.Errorf("%q cannot be set; it belongs to the request itself", name)}
		}
		v, err := b.value(in.Kwargs[name])
		if err != nil {
			return nil, &InputError{"chat_template_kwargs." + name, err}
		}
		vars.Set(name, v)
	}
	messages := make([]any, len(in.Messages))
	for i := range in.Messages {
		m, err := b.message(&in.Messages[i])
		if err != nil {
			return nil, &InputError{fmt.Sprintf("messages[%d]", i), err}
		}
		messages[i] = m
	}
	vars.Set("messages", jinja.NewList(messages...))
	var tools any
	if in.Tools != nil {
		list := make([]any, len(in.Tools))
		for i, raw := range in.Tools {
			v, err := b.json(raw)
			if err != nil {
				return nil, &InputError{fmt.Sprintf("tools[%d]", i), err}
			}
			list[i] = v
		}
		tools = jinja.NewList(list...)
	}
	vars.Set("tools", tools)
	vars.Set("documents", nil)
	vars.Set("add_generation_prompt", in.AddGenerationPrompt)
	return vars, nil
}

func (b *builder) text(s string) string {
	b.size += len(s)
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (b *builder) json(raw json.RawMessage) (any, error) {
	b.size += len(raw)
	return jinja.DecodeJSON(raw)
}

func (b *builder) message(m *Message) (any, error) {
	d := jinja.NewDict()
	reasoning := m.reasoning()
	if reasoning != "" {
		// transformers gives the reasoning under its older name too.
		d.Set("thinking", b.text(reasoning))
	}
	d.Set("role", b.text(m.Role))
	d.Set("content", b.text(m.Content))
	for _, f := range []struct{ name, value string }{
		{"reasoning_content", reasoning}, {"name", m.Name}, {"tool_call_id", m.ToolCallID},
	} {
		if f.value != "" {
			d.Set(f.name, b.text(f.value))
		}
	}
	if len(m.ToolCalls) > 0 {
		calls := make([]any, len(m.ToolCalls))
		for i := range m.ToolCalls {
			c, err := b.toolCall(&m.ToolCalls[i])
			if err != nil {
				return nil, fmt.Errorf("tool_calls[%d]: %w", i, err)
			}
			calls[i] = c
		}
		d.Set("tool_calls", jinja.NewList(calls...))
	}
	for _, f := range m.Extra {
		if string(f.Value) == "null" {
			continue // as transformers does
		}
		v, err := b.json(f.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		d.Set(b.text(f.Name), v)
	}
	return d, nil
}

func (b *builder) toolCall(c *ToolCall) (any, error) {
	d := jinja.NewDict()
	if c.ID != "" {
		d.Set("id", b.text(c.ID))
	}
	if c.Type != "" {
		d.Set("type", b.text(c.Type))
	}
	args, err := b.arguments(c.Function.Arguments)
	if err != nil {
		return nil, fmt.Errorf("function.arguments: %w", err)
	}
	f := jinja.NewDict()
	f.Set("name", b.text(c.Function.Name))
	f.Set("arguments", args)
	d.Set("function", f)
	return d, nil
}

// arguments passes a tool call's arguments on: an object as a mapping, and a
// string, which is OpenAI's form, as the string that it is if the template looks
// which of both it gets, as Qwen3's does. Other templates expect a mapping: for
// them a string that holds an object becomes one.
func (b *builder) arguments(raw json.RawMessage) (any, error) {
	if len(raw) == 0 {
		return jinja.NewDict(), nil
	}
	v, err := b.json(raw)
	if err != nil {
		return nil, err
	}
	s, ok := v.(string)
	if !ok || b.stringArguments {
		return v, nil
	}
	if strings.TrimSpace(s) == "" {
		return jinja.NewDict(), nil
	}
	if inner, err := jinja.DecodeJSON([]byte(s)); err == nil {
		if _, ok := inner.(*jinja.Dict); ok {
			return inner, nil
		}
	}
	return v, nil
}

// value converts a value of Kwargs.
func (b *builder) value(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool:
		return v, nil
	case string:
		return b.text(v), nil
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	case float64:
		if i := int64(v); float64(i) == v && v < 1<<62 && v > -1<<62 {
			return i, nil
		}
		return v, nil
	}
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return b.json(raw)
}
