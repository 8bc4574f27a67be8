package chat

import "strings"

const (
	openTag  = "<think>"
	closeTag = "</think>"
)

// Thinking splits a generated answer, as it streams in, into the reasoning and
// the content after it. Reasoning is what stands between <think> and </think>
// at the start of the answer, where white space may come first. An answer that
// never closes the tag is all reasoning, one that does not begin with it is all
// content, and tags elsewhere are content like any text. The line feeds next to
// a tag belong to neither part: Qwen3's template puts them back.
//
// However the answer is cut into deltas, the parts joined are the same.
type Thinking struct {
	state thinkingState
	open  bool   // the prompt ended inside <think>
	held  string // seen, and not yet known to be what
}

type thinkingState int

const (
	atStart   thinkingState = iota // only white space, or a part of <think>, so far
	afterOpen                      // in the reasoning, before its first character
	reasoning
	afterClose // before the first character of the content
	content
)

// NewThinking starts a splitter. With open the prompt already ended in an open
// <think>, so that the answer begins inside the reasoning; a <think> that the
// model repeats there is dropped.
func NewThinking(open bool) *Thinking { return &Thinking{open: open} }

// Push takes the next piece of the answer and returns what it adds to the
// reasoning and to the content. Text that may be part of a tag, or a line feed
// that may stand before one, comes with a later Push or with Flush.
func (s *Thinking) Push(delta string) (reasoningText, contentText string) {
	var r, c strings.Builder
	s.held += delta
	for s.step(&r, &c) {
	}
	return r.String(), c.String()
}

// Flush ends the answer and returns what was held back.
func (s *Thinking) Flush() (reasoningText, contentText string) {
	held := s.held
	s.held = ""
	switch {
	case s.state == reasoning, s.state == atStart && s.open:
		if s.state == atStart {
			held = strings.TrimLeft(held, "\n")
		}
		return held, ""
	case s.state == atStart:
		return "", held
	}
	return "", "" // line feeds after a tag
}

// step consumes what it can of the held text and says whether the state changed.
func (s *Thinking) step(r, c *strings.Builder) bool {
	switch s.state {
	case atStart:
		text := strings.TrimLeft(s.held, " \t\r\n")
		switch {
		case strings.HasPrefix(text, openTag):
			s.held = text[len(openTag):]
			s.state = afterOpen
		case strings.HasPrefix(openTag, text): // white space alone too
			return false
		case s.open:
			s.state = afterOpen
		default:
			s.state = content
		}
		return true
	case afterOpen, afterClose:
		s.held = strings.TrimLeft(s.held, "\n")
		if s.held == "" {
			return false
		}
		s.state++
		return true
	case reasoning:
		if i := strings.Index(s.held, closeTag); i >= 0 {
			r.WriteString(strings.TrimRight(s.held[:i], "\n"))
			s.held = s.held[i+len(closeTag):]
			s.state = afterClose
			return true
		}
		n := len(s.held) - partialTag(s.held)
		n = len(strings.TrimRight(s.held[:n], "\n"))
		r.WriteString(s.held[:n])
		s.held = s.held[n:]
	case content:
		c.WriteString(s.held)
		s.held = ""
	}
	return false
}

// partialTag returns the length of the longest beginning of </think> that text
// ends in.
func partialTag(text string) int {
	for n := min(len(closeTag)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, closeTag[:n]) {
			return n
		}
	}
	return 0
}
