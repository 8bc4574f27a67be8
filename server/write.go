package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/server/openai"
)

// retryAfter is what clients are asked to wait, in seconds, when the server is full or not serving.
const retryAfter = "1"

// A client has writeDeadline to accept writePiece bytes; it is cut off if it does not read.
const (
	writeDeadline = 30 * time.Second
	writePiece    = 64 << 10
)

// write sends bytes, as long as the client reads them.
func write(w http.ResponseWriter, b []byte) error {
	control := http.NewResponseController(w)
	for piece := range slices.Chunk(b, writePiece) {
		_ = control.SetWriteDeadline(time.Now().Add(writeDeadline)) // not every ResponseWriter can
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// writeJSON answers with a JSON body.
func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := marshal(body)
	if err != nil {
		status = http.StatusInternalServerError
		b, _ = marshal(openai.Internal("the answer is no JSON: " + err.Error()))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = write(w, b) // the client may have gone away
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
		many     *sched.TooMany
		raised   *chat.RaisedError
		input    *chat.InputError
		template *chat.TemplateError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &request):
		return openai.Invalid(request.Param, request.Message)
	case errors.As(err, &long):
		return openai.TooLong(long.Param, err.Error())
	case errors.As(err, &many):
		return openai.Invalid("n", fmt.Sprintf("%d answers were asked for at once, and at most %d may wait; ask for fewer, or serve with a larger --max-queue", many.Requests, many.Queue))
	case errors.As(err, &input):
		return openai.Invalid(input.Field, input.Err.Error())
	case errors.As(err, &raised), errors.As(err, &template), errors.Is(err, chat.ErrLimit):
		return openai.Invalid("messages", err.Error())
	case errors.Is(err, sched.ErrQueueFull):
		return openai.QueueFull("too many requests are waiting; try again later")
	case errors.Is(err, sched.ErrDraining):
		return openai.Unavailable("the server is shutting down")
	case errors.Is(err, sched.ErrCut):
		return openai.Unavailable("the server shut down before the answer was complete")
	case errors.Is(err, sched.ErrSlow):
		return openai.TooSlow("the answer was read too slowly")
	case errors.Is(err, context.Canceled), errors.Is(err, sched.ErrAborted):
		return openai.Unavailable("the request was cancelled")
	}
	return openai.Internal(err.Error())
}
