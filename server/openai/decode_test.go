package openai_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ullm/ullm/server/openai"
)

// requests are all the bodies there are.
func requests() []any {
	return []any{new(openai.CompletionRequest), new(openai.ChatRequest), new(openai.TokenizeRequest), new(openai.DetokenizeRequest)}
}

// TestDecodeReader passes errors of the connection on as they are.
func TestDecodeReader(t *testing.T) {
	large := &http.MaxBytesError{Limit: 5}
	for _, want := range []error{large, io.ErrUnexpectedEOF} {
		body := io.MultiReader(strings.NewReader(`{"prompt":`), iotest.ErrReader(want))
		if err := openai.Decode(body, new(openai.CompletionRequest)); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestDecodeMessages(t *testing.T) {
	for body, want := range map[string]string{
		`{"max_tokens":"5"}`:        "found a string where an integer belongs",
		`{"max_tokens":1.5}`:        "found the number 1.5 where an integer belongs",
		`{"temperature":[]}`:        "found an array where a number belongs",
		`{"stop":7}`:                "found the number 7 where a string or a list of strings belongs",
		`{"stop_token_ids":[null]}`: "found null where an integer belongs",
		`{"stream":"yes"}`:          "found a string where true or false belongs",
		`{"logit_bias":[1]}`:        "found an array where an object belongs",
		`{"best_of":3}`:             "best_of is not supported; use n",
		`[1]`:                       "found an array where an object belongs",
		`{"prompt":"x"} x`:          "the body is not valid JSON: invalid character 'x' after top-level value",
	} {
		if err := openai.Decode(strings.NewReader(body), new(openai.CompletionRequest)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"prompt":["a",[1,2]],"stop":["x"],"logit_bias":{"1":2},"n":2,"stream":true,"stream_options":{"include_usage":true}}`,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"tools":[{}],"tool_choice":"auto","chat_template_kwargs":{"a":[1,{"b":null}]}}`,
		`{"tokens":[1,2,3]}`, `{"prompt":[[1],[2]],"suffix":"x"}`, `{"prompt":null,"stop":null}`, `null`, `[]`, ``, `{"a":` + strings.Repeat("[", 20000),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, into := range requests() {
			err := openai.Decode(strings.NewReader(string(body)), into)
			var e *openai.Error
			if err != nil && (!errors.As(err, &e) || e.Status != http.StatusBadRequest || e.Body.Message == "") {
				t.Fatalf("%T: %v", into, err)
			}
		}
	})
}
