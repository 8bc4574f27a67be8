package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/ullm/ullm/model/chat"
)

// Decode reads a request's body, which must be one JSON object. An error of the reader comes back as it is; a mistake of
// the request is an *Error that names the field. Unknown fields are ignored.
func Decode(body io.Reader, into any) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return Invalid("", "the body is empty; send a JSON object")
	}
	if err := json.Unmarshal(b, into); err != nil {
		return mistake(err)
	}
	if b[0] != '{' {
		return Invalid("", "the body must be a JSON object") // null
	}
	if r, ok := into.(refuser); ok {
		return refuse(b, r.refused())
	}
	return nil
}

// mistake turns an error of json.Unmarshal into a message for whoever wrote the request.
func mistake(err error) *Error {
	var known *Error
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &kind):
		return Invalid(fieldPath(kind.Field), fmt.Sprintf("found %s where %s belongs", article(kind.Value), wanted(kind.Type)))
	}
	return Invalid("", "the body is not valid JSON: "+err.Error())
}

// fieldPath drops the names of embedded structs, which are capitalized, from a path that encoding/json reports.
func fieldPath(path string) string {
	fields := strings.Split(path, ".")
	return strings.Join(slices.DeleteFunc(fields, func(f string) bool { return f != "" && unicode.IsUpper(rune(f[0])) }), ".")
}

func article(value string) string {
	switch {
	case strings.HasPrefix(value, "number "):
		return "the " + value
	case strings.HasPrefix(value, "array"), strings.HasPrefix(value, "object"):
		return "an " + value
	case value == "null":
		return value
	}
	return "a " + value
}

// wanted says what a field of a request's struct takes.
func wanted(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[StringList]():
		return "a string or a list of strings"
	case reflect.TypeFor[Prompt]():
		return "a string, a list of strings, a list of token ids, or a list of lists of token ids"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}

// wrongType is the error of an UnmarshalJSON method; encoding/json adds the field's name to it.
func wrongType[Want any](raw []byte) error {
	value := map[byte]string{'"': "string", '{': "object", '[': "array", 't': "bool", 'f': "bool", 'n': "null"}[raw[0]]
	if value == "" {
		value = "number " + string(raw)
	}
	return &json.UnmarshalTypeError{Value: value, Type: reflect.TypeFor[Want]()}
}

// refusal is a field that is known and not supported.
type refusal struct {
	field string
	// neutral are values that ask for nothing, as compact JSON; null, false and what is empty always are.
	neutral []string
	instead string // what to do; may be ""
}

// refuser is a request with such fields.
type refuser interface{ refused() []refusal }

// refuse names the first field of a body that asks for what is not supported.
func refuse(body []byte, fields []refusal) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil {
		return mistake(err)
	}
	for _, f := range fields {
		raw, ok := given[f.field]
		if !ok {
			continue
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, raw) // it has been parsed
		if v := compact.String(); !slices.Contains([]string{"null", "false", `""`, "[]", "{}"}, v) && !slices.Contains(f.neutral, v) {
			message := f.field + " is not supported"
			if f.instead != "" {
				message += "; " + f.instead
			}
			return NotSupported(f.field, message)
		}
	}
	return nil
}

// StringList is a string, a list of strings, or null.
type StringList []string

// UnmarshalJSON reads any of the forms.
func (l *StringList) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case 'n':
		*l = nil
		return nil
	case '"':
		*l = make(StringList, 1)
		return json.Unmarshal(b, &(*l)[0])
	case '[':
		return json.Unmarshal(b, (*[]string)(l))
	}
	return wrongType[StringList](b)
}

// TokenIDs is a list of token ids without null among them.
type TokenIDs []int32

// UnmarshalJSON reads a list or null.
func (t *TokenIDs) UnmarshalJSON(b []byte) error {
	var ids []*int32
	if err := json.Unmarshal(b, &ids); err != nil {
		return err
	}
	*t = nil
	if ids != nil {
		*t = make(TokenIDs, len(ids))
	}
	for i, id := range ids {
		if id == nil {
			return wrongType[int32]([]byte("null"))
		}
		(*t)[i] = *id
	}
	return nil
}

// Prompt is one or more prompts, each a text or token ids.
type Prompt []PromptItem

// PromptItem is one prompt: Tokens if they are not nil, else Text.
type PromptItem struct {
	Text   string
	Tokens []int32
}

// UnmarshalJSON reads a string, a list of strings, a list of token ids, or a list of lists of token ids.
func (p *Prompt) UnmarshalJSON(b []byte) error {
	*p = nil
	switch b[0] {
	case 'n':
		return nil
	case '"':
		*p = make(Prompt, 1)
		return json.Unmarshal(b, &(*p)[0].Text)
	case '[':
	default:
		return wrongType[Prompt](b)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(b, &items); err != nil {
		return err
	}
	if len(items) > 0 && items[0][0] != '"' && items[0][0] != '[' {
		var tokens TokenIDs
		if err := json.Unmarshal(b, &tokens); err != nil {
			return err
		}
		*p = Prompt{{Tokens: tokens}}
		return nil
	}
	for _, raw := range items {
		var item PromptItem
		var err error
		switch {
		case raw[0] != items[0][0]: // a mixture
			err = wrongType[Prompt](raw)
		case raw[0] == '"':
			err = json.Unmarshal(raw, &item.Text)
		default:
			err = json.Unmarshal(raw, (*TokenIDs)(&item.Tokens))
		}
		if err != nil {
			return err
		}
		*p = append(*p, item)
	}
	return nil
}

// Messages is a conversation.
type Messages []chat.Message

// UnmarshalJSON reads a list of messages; an error names the one that is wrong.
func (m *Messages) UnmarshalJSON(b []byte) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*m = make(Messages, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &(*m)[i]); err != nil {
			return Invalid(fmt.Sprintf("messages[%d]", i), err.Error())
		}
	}
	return nil
}
