package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/server/openai"
)

// retryAfter is what clients are asked to wait, in seconds, when the server is full or not serving.
const retryAfter = "1"

// writeJSON answers with a JSON body.
func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := marshal(body)
	if err != nil {
		b, status = []byte(`{"error":{"message":"internal error"}}`), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that has gone away
}

// marshal is json.Marshal without the escapes for HTML, which answers are not.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// writeError answers with OpenAI's envelope.
func writeError(w http.ResponseWriter, e *openai.Error) {
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, e.Status, e)
}

// errorOf finds the envelope for an engine's error.
func errorOf(err error) *openai.Error {
	var (
		known    *openai.Error
		request  *ullm.RequestError
		long     *ullm.TooLong
		raised   *chat.RaisedError
		input    *chat.InputError
		template *chat.TemplateError
		tooLarge *http.MaxBytesError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &request):
		return openai.Invalid(request.Param, request.Message)
	case errors.As(err, &long):
		return openai.TooLong(err.Error())
	case errors.As(err, &raised), errors.As(err, &template), errors.As(err, &input), errors.Is(err, chat.ErrLimit):
		return openai.Invalid("messages", err.Error())
	case errors.As(err, &tooLarge):
		return openai.TooLarge(err.Error())
	case errors.Is(err, sched.ErrQueueFull):
		return openai.QueueFull("too many requests are waiting; try again later")
	case errors.Is(err, sched.ErrDraining), errors.Is(err, sched.ErrCut):
		return openai.Unavailable("the server is shutting down")
	case errors.Is(err, context.Canceled), errors.Is(err, sched.ErrAborted):
		return openai.Unavailable("the request was cancelled")
	}
	return openai.Internal(err.Error())
}
