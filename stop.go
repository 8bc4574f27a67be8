package ullm

import "strings"

// stopper looks for stop texts in a growing text, across the borders of its pieces, and holds back what could still
// become one.
type stopper struct {
	stops []string
	held  string
}

// push takes a piece of text and returns what is certain not to belong to a stop text. When one is complete, hit names
// it, and out ends before it.
func (s *stopper) push(piece string) (out, hit string) {
	if len(s.stops) == 0 {
		return piece, ""
	}
	text := s.held + piece
	s.held = ""
	at := len(text) + 1
	for _, stop := range s.stops {
		if i := strings.Index(text, stop); i >= 0 && (i < at || i == at && len(stop) > len(hit)) {
			at, hit = i, stop
		}
	}
	if hit != "" {
		return text[:at], hit
	}
	keep := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				keep = n
				break
			}
		}
	}
	s.held = text[len(text)-keep:]
	return text[:len(text)-keep], ""
}

// flush returns what was held back.
func (s *stopper) flush() string {
	out := s.held
	s.held = ""
	return out
}
