package ullm

import "strings"

// stopper looks for stop texts in a growing text, across the borders of its pieces, and holds back what could still
// become one.
type stopper struct {
	stops []string
	held  string
}

// push takes a piece of text and returns what is certain not to belong to a stop text. When one is complete, hit names
// it, and out ends before it. While the stopper is not armed, stop texts that are complete count as plain text.
func (s *stopper) push(piece string, armed bool) (out, hit string) {
	if len(s.stops) == 0 {
		return piece, ""
	}
	text, old := s.held+piece, len(s.held)
	at := len(text) + 1
	for _, stop := range s.stops {
		from := max(0, old-len(stop)+1) // one that ended before was let go
		i := strings.Index(text[from:], stop) + from
		if armed && i >= from && (i < at || i == at && len(stop) > len(hit)) {
			at, hit = i, stop
		}
	}
	if hit != "" {
		s.held = ""
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
