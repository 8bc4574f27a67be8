package sched

import (
	"context"
	"io"
	"sync"
)

// streamBuffer is how many generated tokens a reader may be behind before it is dropped: the engine never waits for a
// reader.
const streamBuffer = 4096

// Stream hands one request's events to its reader. Close it when done, at whatever point.
type Stream struct {
	loop *Loop
	seq  *sequence // the loop's alone

	mu     sync.Mutex
	ready  chan struct{} // holds a signal while there is something new
	events []Event
	tokens int // generated ones among events
	err    error
}

func newStream(l *Loop) *Stream { return &Stream{loop: l, ready: make(chan struct{}, 1)} }

// Next waits for the next event. After the last one it returns io.EOF; an answer that broke off ends with another error.
// When ctx ends, its error is returned and the stream goes on.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for {
		s.mu.Lock()
		if len(s.events) > 0 {
			e := s.events[0]
			s.events = s.events[1:]
			if !e.Prompt {
				s.tokens--
			}
			s.mu.Unlock()
			return e, nil
		}
		err := s.err
		s.mu.Unlock()
		if err != nil {
			return Event{}, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Close tells the loop that nobody reads any more: its sequence's pages are free before the next step but one.
func (s *Stream) Close() {
	s.mu.Lock()
	ended := s.err != nil
	s.events, s.tokens = nil, 0
	if !ended {
		s.err = ErrAborted
	}
	s.mu.Unlock()
	if !ended {
		s.loop.abort(s)
	}
}

// put appends an event and reports whether the reader keeps up.
func (s *Stream) put(e Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return true
	}
	if !e.Prompt {
		s.tokens++
	}
	s.events = append(s.events, e)
	if e.Finish != Unfinished {
		s.err = io.EOF
	}
	keepsUp := s.tokens <= streamBuffer
	s.signal()
	return keepsUp
}

// end breaks the answer off, behind the events that are there already.
func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
