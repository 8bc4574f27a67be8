package chat

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// split pushes the pieces and returns the joined parts.
func split(open bool, pieces ...string) (reasoning, content string) {
	s := NewThinking(open)
	for _, p := range pieces {
		r, c := s.Push(p)
		reasoning += r
		content += c
	}
	r, c := s.Flush()
	return reasoning + r, content + c
}

func TestThinking(t *testing.T) {
	for _, c := range []struct {
		open                     bool
		text, reasoning, content string
	}{
		{false, "", "", ""},
		{false, "Hello", "", "Hello"},
		{false, "<think>\nhm\n</think>\n\nHello\n", "hm", "Hello\n"},
		{false, "\n \t<think>hm</think>Hello", "hm", "Hello"},
		{false, "<think>\n\n</think>\n\nHello", "", "Hello"},
		{false, "<think></think>", "", ""},
		{false, "<think>\n", "", ""},
		{false, "<think>\nnever closed\n", "never closed\n", ""},
		{false, "<think>a</thin", "a</thin", ""},
		{false, "<think>a\n\n</thinkb</think> c", "a\n\n</thinkb", " c"},
		{false, "<think>a <think> b</think>c", "a <think> b", "c"},
		{false, "<think>a</think>b</think>c<think>d</think>", "a", "b</think>c<think>d</think>"},
		{false, "Hi <think>x</think>", "", "Hi <think>x</think>"},
		{false, "</think>x", "", "</think>x"},
		{false, "<thin", "", "<thin"},
		{false, "  \n", "", "  \n"},
		{false, "  Hello", "", "  Hello"},
		{false, "<think>\r\nhm", "\r\nhm", ""},
		{false, "<think> \n hm \n </think> \n x", " \n hm \n ", " \n x"},
		{false, "<think>a</think>\n\n", "a", ""},
		{false, "<<think>", "", "<<think>"},
		{false, "<THINK>a</THINK>", "", "<THINK>a</THINK>"},
		{true, "", "", ""},
		{true, "hm\n</think>\n\nHello", "hm", "Hello"},
		{true, "</think>\n\nHello", "", "Hello"},
		{true, "\n\nhm", "hm", ""},
		{true, "\n\n", "", ""},
		{true, "  hm</think>", "  hm", ""},
		{true, "<think>\nhm</think>x", "hm", "x"},
		{true, "<thin", "<thin", ""},
		{true, "\n<", "<", ""},
		{true, "a<think>b</think>c", "a<think>b", "c"},
	} {
		r, got := split(c.open, c.text)
		if r != c.reasoning || got != c.content {
			t.Errorf("open %v, %q: got (%q, %q), want (%q, %q)", c.open, c.text, r, got, c.reasoning, c.content)
		}
		// Every cut into two, and byte by byte.
		for i := range len(c.text) {
			if r, got := split(c.open, c.text[:i], c.text[i:]); r != c.reasoning || got != c.content {
				t.Errorf("open %v, %q cut at %d: got (%q, %q)", c.open, c.text, i, r, got)
			}
		}
		if r, got := split(c.open, strings.Split(c.text, "")...); r != c.reasoning || got != c.content {
			t.Errorf("open %v, %q by characters: got (%q, %q)", c.open, c.text, r, got)
		}
	}
}

// TestThinkingIsPrompt: what cannot be part of a tag is handed on at once.
func TestThinkingIsPrompt(t *testing.T) {
	s := NewThinking(false)
	for _, c := range []struct{ push, reasoning, content string }{
		{" ", "", ""}, {"<thi", "", ""}, {"nk>", "", ""}, {"\n", "", ""}, {"a", "a", ""}, {"\nb", "\nb", ""}, {"<", "", ""}, {"x", "<x", ""},
		{"</thin", "", ""}, {"k>", "", ""}, {"\n", "", ""}, {"\nc", "", "c"}, {"\n<think>", "", "\n<think>"},
	} {
		if r, got := s.Push(c.push); r != c.reasoning || got != c.content {
			t.Fatalf("%q: got (%q, %q), want (%q, %q)", c.push, r, got, c.reasoning, c.content)
		}
	}
}

// whole is the same splitting of a text that is all there.
func whole(open bool, text string) (reasoning, content string) {
	trimmed := strings.TrimLeft(text, " \t\r\n")
	switch {
	case strings.HasPrefix(trimmed, openTag):
		text = trimmed[len(openTag):]
	case !open:
		return "", text
	}
	text = strings.TrimLeft(text, "\n")
	r, c, closed := strings.Cut(text, closeTag)
	if !closed {
		return text, ""
	}
	return strings.TrimRight(r, "\n"), strings.TrimLeft(c, "\n")
}

func FuzzThinking(f *testing.F) {
	f.Add("<think>\nhm\n</think>\n\nHello", false, uint64(1))
	f.Add("hm</think>\n", true, uint64(2))
	f.Add(" \n<think></thi</think>\n</think>", false, uint64(3))
	f.Fuzz(func(t *testing.T, text string, open bool, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + r.IntN(min(len(rest), 1+r.IntN(12)))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		wantR, wantC := whole(open, text)
		if gotR, gotC := split(open, pieces...); gotR != wantR || gotC != wantC {
			t.Fatalf("open %v, %q: got (%q, %q), want (%q, %q)", open, pieces, gotR, gotC, wantR, wantC)
		}
	})
}
