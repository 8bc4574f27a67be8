package server

import (
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/tokenizer"
	"github.com/ullm/ullm/server/openai"
)

// lowest stands for the logprob of an impossible token, since JSON has no infinity.
const lowest = -9999

func finite(l float32) float64 {
	if math.IsNaN(float64(l)) || l < lowest {
		return lowest
	}
	return float64(l)
}

// tokenText is a token's text; bytes that are no whole character show as U+FFFD.
func tokenText(t *tokenizer.Tokenizer, id int32) string {
	b := t.TokenBytes(id)
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

func topLogprob(t *tokenizer.Tokenizer, id int32, logprob float32) openai.TopLogprob {
	l := openai.TopLogprob{Token: tokenText(t, id), Logprob: finite(logprob), Bytes: []int{}}
	for _, b := range t.TokenBytes(id) {
		l.Bytes = append(l.Bytes, int(b))
	}
	return l
}

// chatLogprob is a token's entry in a chat completion.
func chatLogprob(t *tokenizer.Tokenizer, tok *ullm.Token) openai.TokenLogprob {
	l := openai.TokenLogprob{TopLogprob: topLogprob(t, tok.ID, tok.Logprob), TopLogprobs: []openai.TopLogprob{}}
	for _, alt := range tok.Top {
		l.TopLogprobs = append(l.TopLogprobs, topLogprob(t, alt.ID, alt.Logprob))
	}
	return l
}

// completionLogprobs collects the entries of a completion.
type completionLogprobs struct {
	openai.CompletionLogprobs
	t      *tokenizer.Tokenizer
	offset int // of the next token in the text
}

func newCompletionLogprobs(t *tokenizer.Tokenizer) *completionLogprobs {
	return &completionLogprobs{t: t, CompletionLogprobs: openai.CompletionLogprobs{Tokens: []string{},
		TokenLogprobs: []*float64{}, TopLogprobs: []map[string]float64{}, TextOffset: []int{}}}
}

// add appends a token; without a logprob (nil) it is a prompt's first.
func (c *completionLogprobs) add(id int32, logprob *float32, top []ullm.TokenLogprob) {
	text := tokenText(c.t, id)
	c.Tokens = append(c.Tokens, text)
	c.TextOffset = append(c.TextOffset, c.offset)
	c.offset += utf8.RuneCountInString(text)
	if logprob == nil {
		c.TokenLogprobs = append(c.TokenLogprobs, nil)
		c.TopLogprobs = append(c.TopLogprobs, nil)
		return
	}
	l := finite(*logprob)
	c.TokenLogprobs = append(c.TokenLogprobs, &l)
	m := map[string]float64{text: l}
	for _, alt := range top {
		m[tokenText(c.t, alt.ID)] = finite(alt.Logprob)
	}
	c.TopLogprobs = append(c.TopLogprobs, m)
}

// prompt appends the prompt's tokens.
func (c *completionLogprobs) prompt(g *ullm.Generation) {
	for i, p := range g.PromptLogprobs() {
		if p == nil {
			c.add(g.PromptTokens[i], nil, nil)
		} else {
			c.add(p.Token.ID, &p.Token.Logprob, p.Top)
		}
	}
}

// take returns what was collected since the last call, for a chunk of a stream.
func (c *completionLogprobs) take() *openai.CompletionLogprobs {
	out := c.CompletionLogprobs
	next := newCompletionLogprobs(c.t)
	next.offset = c.offset
	*c = *next
	return &out
}

// promptLogprobs is vLLM's form of a prompt's logprobs.
func promptLogprobs(t *tokenizer.Tokenizer, g *ullm.Generation) openai.PromptLogprobs {
	var out openai.PromptLogprobs
	for _, p := range g.PromptLogprobs() {
		if p == nil {
			out = append(out, nil)
			continue
		}
		m := map[string]openai.PromptLogprob{}
		for _, l := range append(p.Top, p.Token) {
			m[strconv.Itoa(int(l.ID))] = openai.PromptLogprob{Logprob: finite(l.Logprob), Rank: l.Rank, Token: tokenText(t, l.ID)}
		}
		out = append(out, m)
	}
	return out
}
