package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Message is one message of a conversation, as in OpenAI's API. A field that is
// empty is not there for a template, but for the role and the content, which
// always are.
type Message struct {
	Role             string
	Content          string // "" for null
	ReasoningContent string
	Name             string
	ToolCallID       string
	ToolCalls        []ToolCall
	// Extra are further keys, which a template may know, in their order.
	Extra []Field
}

// Field is a key of a JSON object and its value.
type Field struct {
	Name  string
	Value json.RawMessage
}

// ToolCall is a call that the model made.
type ToolCall struct {
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function FunctionCall `json:"function"`
}

// FunctionCall names a function and its arguments.
type FunctionCall struct {
	Name string `json:"name"`
	// Arguments are a JSON object, or a JSON string that holds one, as OpenAI has
	// it. See Template.Render for what becomes of either.
	Arguments json.RawMessage `json:"arguments,omitempty"`
}

// UnmarshalJSON reads a message of OpenAI's API. A content of null is empty, and
// the text parts of a list are joined by line feeds; parts of another type are
// refused. Unknown keys go to Extra.
func (m *Message) UnmarshalJSON(data []byte) error {
	*m = Message{}
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('{') {
		return errors.New("a message must be a JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key := t.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if err := m.setField(key, raw); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	_, err := d.Token()
	return err
}

func (m *Message) setField(key string, raw json.RawMessage) error {
	text := func(into *string) error {
		*into = "" // null leaves a string as it is
		return json.Unmarshal(raw, into)
	}
	switch key {
	case "role":
		return text(&m.Role)
	case "content":
		var err error
		m.Content, err = contentText(raw)
		return err
	case "reasoning_content":
		return text(&m.ReasoningContent)
	case "name":
		return text(&m.Name)
	case "tool_call_id":
		return text(&m.ToolCallID)
	case "tool_calls":
		m.ToolCalls = nil
		return json.Unmarshal(raw, &m.ToolCalls)
	}
	m.Extra = append(m.Extra, Field{key, raw})
	return nil
}

// reasoning is the message's reasoning under any of the names that are in use.
func (m *Message) reasoning() string {
	if m.ReasoningContent != "" {
		return m.ReasoningContent
	}
	for _, name := range []string{"thinking", "reasoning"} {
		for _, f := range m.Extra {
			var s string
			if f.Name == name && json.Unmarshal(f.Value, &s) == nil && s != "" {
				return s
			}
		}
	}
	return ""
}

func contentText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] != '[' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	var parts []struct{ Type, Text string }
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", err
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		if p.Type != "text" {
			return "", fmt.Errorf("a part of type %q is not supported; send parts of type \"text\"", p.Type)
		}
		texts[i] = p.Text
	}
	return strings.Join(texts, "\n"), nil
}
