package tokenizer

import "strings"

// A splitter cuts text into the words that merging does not cross.
type splitter interface {
	// split hands each word of text to yield, in order, until yield returns false.
	// It reports whether it got to the end.
	split(text string, yield func(string) bool) bool
}

// The patterns that have a scanner of their own, as tokenizer.json spells them.
const (
	qwenPattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	llamaPattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt2Pattern  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
)

// newSplitter returns the splitter of a pattern.
func newSplitter(pattern string) (splitter, error) {
	switch pattern {
	case qwenPattern:
		return scanSplitter(func(s *scan, i int) int { return s.qwen(i, 1) }), nil
	case llamaPattern:
		return scanSplitter(func(s *scan, i int) int { return s.qwen(i, 3) }), nil
	case gpt2Pattern:
		return scanSplitter((*scan).gpt2), nil
	}
	return newPatternSplitter(pattern)
}

// prefixSpace puts a space before a text that has none (ByteLevel's add_prefix_space).
type prefixSpace struct{}

func (prefixSpace) split(text string, yield func(string) bool) bool {
	if !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	return yield(text)
}

// scanSplitter splits by a function that returns where the word at i ends.
type scanSplitter func(s *scan, i int) int

func (next scanSplitter) split(text string, yield func(string) bool) bool {
	s := &scan{text: text}
	for i := 0; i < len(text); {
		end := next(s, i)
		if !yield(text[i:end]) {
			return false
		}
		i = end
	}
	return true
}

// scan reads a text by hand-written equivalents of the known patterns. Each returns the
// end of the match at i; they match everywhere, so words cover the text.
type scan struct {
	text  string
	reads int // characters looked at: tests show by it that time is linear
}

func (s *scan) at(i int) (class, int) {
	s.reads++
	if i == len(s.text) {
		return 0, 0
	}
	return classAt(s.text, i)
}

// run returns the end of the run at i of characters of a class.
func (s *scan) run(i int, of class) int {
	for {
		k, n := s.at(i)
		if k&of == 0 { // at the end too
			return i
		}
		i += n
	}
}

// others returns the end of the run [^\s\p{L}\p{N}]* at i.
func (s *scan) others(i int) int {
	for {
		k, n := s.at(i)
		if n == 0 || k&(space|letter|number) != 0 {
			return i
		}
		i += n
	}
}

func (s *scan) newline(i int) bool {
	return i < len(s.text) && (s.text[i] == '\n' || s.text[i] == '\r')
}

// qwen is qwenPattern with \p{N}{1,digits}. The comments quote its alternatives.
func (s *scan) qwen(i, digits int) int {
	// (?i:'s|'t|'re|'ve|'m|'ll|'d)
	if end := s.contraction(i, true); end > 0 {
		return end
	}

	// [^\r\n\p{L}\p{N}]?\p{L}+
	k, n := s.at(i)
	switch {
	case k&letter != 0:
		return s.run(i+n, letter)
	case k&number == 0 && !s.newline(i):
		if end := s.run(i+n, letter); end > i+n {
			return end
		}
	}

	// \p{N}{1,digits}
	if k&number != 0 {
		end := i
		for ; digits > 0 && k&number != 0; digits-- {
			end += n
			k, n = s.at(end)
		}
		return end
	}

	//  ?[^\s\p{L}\p{N}]+[\r\n]*
	start := i
	if s.text[i] == ' ' {
		start++
	}
	if end := s.others(start); end > start {
		for s.newline(end) {
			end++
		}
		return end
	}

	// \s*[\r\n]+ : up to the last line end of the run
	end := s.run(i, space)
	for j := end; j > i; j-- {
		if s.newline(j - 1) {
			return j
		}
	}
	return s.spaces(i, end)
}

// gpt2 is gpt2Pattern.
func (s *scan) gpt2(i int) int {
	// 's|'t|'re|'ve|'m|'ll|'d
	if end := s.contraction(i, false); end > 0 {
		return end
	}

	//  ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+
	start := i
	if s.text[i] == ' ' {
		start++
	}
	switch k, n := s.at(start); {
	case k&letter != 0:
		return s.run(start, letter)
	case k&number != 0:
		return s.run(start, number)
	case n > 0 && k&space == 0:
		return s.others(start)
	}
	return s.spaces(i, s.run(i, space))
}

// spaces is \s+(?!\S)|\s+ for the run of white space from i to end: all of it at the
// end of the text, else all but its last character, which goes with the word after it;
// a single one stands alone.
func (s *scan) spaces(i, end int) int {
	if end == len(s.text) {
		return end
	}
	_, n := classBefore(s.text, end)
	if last := end - n; last > i {
		return last
	}
	return end
}

// contraction returns the end of 's, 't, 're, 've, 'm, 'll or 'd at i, or 0. In any
// case, if fold: then ſ (U+017F) is an s too, the only letter beyond ASCII that
// folds into one of these.
func (s *scan) contraction(i int, fold bool) int {
	if s.text[i] != '\'' {
		return 0
	}
	s.reads += 2
	at := func(i int) byte {
		if i >= len(s.text) {
			return 0
		}
		c := s.text[i]
		if fold && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	switch first, second := at(i+1), at(i+2); {
	case first == 's' || first == 't' || first == 'm' || first == 'd':
		return i + 2
	case first == 'r' && second == 'e', first == 'v' && second == 'e', first == 'l' && second == 'l':
		return i + 3
	case fold && strings.HasPrefix(s.text[i+1:], "ſ"):
		return i + 1 + len("ſ")
	}
	return 0
}
