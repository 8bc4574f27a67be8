package tokenizer

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// patternSplitter splits by a regular expression that has no scanner of its own.
// Hugging Face runs it by Oniguruma, we by a port of .NET's engine: what the two read
// differently is refused. \p{…} are those of the Go toolchain's Unicode, up to a few
// thousand rare letters behind.
type patternSplitter struct{ re *regexp2.Regexp }

// matchTimeout ends a match of a pattern that backtracks without end.
const matchTimeout = time.Second

// differing returns the first construct in pattern that Oniguruma and .NET read
// differently, or that only one of them knows; "" if there is none.
func differing(pattern string) string {
	for _, s := range []string{
		`\w`, `\W`, `\b`, `\B`, `\h`, `\H`, `\A`, `\z`, `\Z`, `\G`, `\K`, `\R`, `\X`, `\k`, `\g`,
		"$", "(?m", "(?x", "(?s", "(?#", "(?<", "(?~", "[[", "[^[", "&&",
	} {
		if strings.Contains(pattern, s) {
			return s
		}
	}
	if strings.Contains(strings.ReplaceAll(pattern, "[^", ""), "^") {
		return "^"
	}
	return ""
}

func newPatternSplitter(pattern string) (splitter, error) {
	if s := differing(pattern); s != "" {
		return nil, fmt.Errorf("pre-tokenizer pattern %q: %s is not supported", pattern, s)
	}
	re, err := regexp2.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("pre-tokenizer pattern %q: %w", pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return patternSplitter{re}, nil
}

// split yields each match and what lies between them. If the engine gives up, for time
// or depth, the rest of the text is one word.
func (p patternSplitter) split(text string, yield func(string) bool) bool {
	done, end, runes := 0, 0, 0 // done: bytes handed out; end is the byte at rune runes
	complete := true
	hand := func(to int) bool {
		if to > done {
			complete = yield(text[done:to])
			done = to
		}
		return complete
	}
	advance := func(n int) {
		for range n {
			_, size := utf8.DecodeRuneInString(text[end:])
			end += size
		}
		runes += n
	}
	// An error or not, what follows the last match is one word.
	_ = p.re.FindRunesMatches([]rune(text), -1, func(m regexp2.MatchView) bool {
		start, n, _ := m.GroupRange(0)
		advance(start - runes)
		if !hand(end) {
			return false
		}
		advance(n)
		return hand(end)
	})
	if !complete {
		return false
	}
	return hand(len(text))
}
