package tokenizer

import (
	"fmt"
	"strings"
	"testing"
)

// TestMatcher checks which tokens are found and what is left between them.
func TestMatcher(t *testing.T) {
	for _, c := range []struct {
		tokens []addedToken
		text   string
		want   string // pieces, tokens as numbers in brackets
	}{
		{[]addedToken{{content: "<a"}, {content: "<ab>"}}, "x<ab><ab<a", "x|[1]|[0]|b|[0]"},
		{[]addedToken{{content: "ab"}, {content: "bcd"}}, "abcd", "[0]|cd"},
		{[]addedToken{{content: "abcx"}, {content: "bc"}}, "abcd", "a|[1]|d"},
		{[]addedToken{{content: "aa"}}, "aaaaa", "[0]|[0]|a"},
		{[]addedToken{{content: "<e>", lstrip: true}}, "a \u3000<e> b", "a|[0]| b"},
		{[]addedToken{{content: "<e>", rstrip: true}}, "a <e> \n\tb <e>", "a |[0]|b |[0]"},
		{[]addedToken{{content: "<e>", lstrip: true, rstrip: true}}, " <e> <e> ", "[0]|[0]"},
		{[]addedToken{{content: "e", singleWord: true}}, "e be eb e_ e. é e", "[0]| be eb e_ |[0]|. é |[0]"},
		{[]addedToken{{content: "e", singleWord: true}, {content: "be"}}, "bee ebe", "[1]|e e|[1]"},
		{[]addedToken{{content: "x"}}, "", ""},
		{nil, "ab", "ab"},
	} {
		for i := range c.tokens {
			c.tokens[i].id = int32(i)
		}
		var got []string
		m := newMatcher(c.tokens, patternOf(false))
		plain := func(s string) bool { got = append(got, s); return true }
		added := func(id int32) bool { got = append(got, fmt.Sprintf("[%d]", id)); return true }
		if !m.split(c.text, plain, added) || strings.Join(got, "|") != c.want {
			t.Errorf("%q: %q, want %q", c.text, strings.Join(got, "|"), c.want)
		}
	}
}
