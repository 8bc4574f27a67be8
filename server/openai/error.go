// Package openai has the JSON of OpenAI's HTTP API, with vLLM's additions, as Go types.
package openai

import "net/http"

// Error is an error's envelope and the HTTP status that it goes with.
type Error struct {
	Status int         `json:"-"`
	Body   ErrorDetail `json:"error"`
}

// ErrorDetail is what the envelope holds.
type ErrorDetail struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *Error) Error() string { return e.Body.Message }

func newError(status int, kind, code, param, message string) *Error {
	e := &Error{Status: status, Body: ErrorDetail{Message: message, Type: kind}}
	if code != "" {
		e.Body.Code = &code
	}
	if param != "" {
		e.Body.Param = &param
	}
	return e
}

// Invalid is a mistake in a field of the request; param may be "".
func Invalid(param, message string) *Error {
	return newError(http.StatusBadRequest, "invalid_request_error", "invalid_value", param, message)
}

// NotSupported is a field or an endpoint that is known but not supported.
func NotSupported(param, message string) *Error {
	return newError(http.StatusBadRequest, "invalid_request_error", "unsupported_value", param, message)
}

// TooLong is a prompt that does not fit the context.
func TooLong(param, message string) *Error {
	return newError(http.StatusBadRequest, "invalid_request_error", "context_length_exceeded", param, message)
}

// TooLarge is a body over the size limit.
func TooLarge(message string) *Error {
	return newError(http.StatusRequestEntityTooLarge, "invalid_request_error", "request_too_large", "", message)
}

// Unauthorized is a missing or wrong key.
func Unauthorized(message string) *Error {
	return newError(http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "", message)
}

// NotFound is a path that is not there.
func NotFound(message string) *Error {
	return newError(http.StatusNotFound, "invalid_request_error", "not_found", "", message)
}

// NoSuchModel is a model that is not there.
func NoSuchModel(message string) *Error {
	return newError(http.StatusNotFound, "invalid_request_error", "model_not_found", "model", message)
}

// MethodNotAllowed is a path asked for with the wrong method.
func MethodNotAllowed(message string) *Error {
	return newError(http.StatusMethodNotAllowed, "invalid_request_error", "method_not_allowed", "", message)
}

// QueueFull asks the client to come back later.
func QueueFull(message string) *Error {
	return newError(http.StatusTooManyRequests, "rate_limit_error", "queue_full", "", message)
}

// TooSlow is a client that read its answer so slowly that it was cut off.
func TooSlow(message string) *Error {
	return newError(http.StatusRequestTimeout, "invalid_request_error", "client_too_slow", "", message)
}

// Unavailable is a server that loads, drains, or whose engine is dead.
func Unavailable(message string) *Error {
	return newError(http.StatusServiceUnavailable, "server_error", "unavailable", "", message)
}

// Internal is a fault of the server.
func Internal(message string) *Error {
	return newError(http.StatusInternalServerError, "server_error", "internal_error", "", message)
}
