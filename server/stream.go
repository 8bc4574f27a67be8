package server

import "net/http"

// eventStream writes server-sent events.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func newEventStream(w http.ResponseWriter) *eventStream {
	return &eventStream{w: w, control: http.NewResponseController(w)}
}

// send writes one event; it fails when the client is gone or does not read.
func (s *eventStream) send(body any) error {
	b, err := marshal(body)
	if err != nil {
		return err
	}
	return s.raw(b)
}

// done writes the event that ends a stream.
func (s *eventStream) done() { _ = s.raw([]byte("[DONE]")) }

// fail ends an answer that cannot go on: with an event that says why, or with a plain error if none has been sent yet.
func (s *eventStream) fail(err error) {
	if !s.begun {
		writeError(s.w, errorOf(err))
		return
	}
	_ = s.send(errorOf(err))
	s.done()
}

func (s *eventStream) raw(data []byte) error {
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // proxies that would hold events back
		s.w.WriteHeader(http.StatusOK)
	}
	event := make([]byte, 0, len(data)+8)
	event = append(event, "data: "...)
	event = append(append(event, data...), '\n', '\n')
	if err := write(s.w, event); err != nil {
		return err
	}
	return s.control.Flush()
}
