package server

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// defaultCompletionTokens is OpenAI's default of max_tokens for completions.
const defaultCompletionTokens = 16

// completion answers one POST /v1/completions.
type completion struct {
	openai.Completion
	request openai.CompletionRequest
	engine  *ullm.Engine
	answers *answers
	log     []*completionLogprobs // by choice; nil: not asked for
}

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	c := &completion{engine: engineOf(r)}
	prompts, n, err := c.read(r)
	if err != nil {
		writeError(w, errorOf(err))
		return
	}
	if c.answers, err = s.start(r.Context(), c.engine, prompts, n); err != nil {
		writeError(w, errorOf(err))
		return
	}
	defer c.answers.close()
	c.Completion = openai.Completion{ID: "cmpl-" + rand.Text(), Object: "text_completion", Created: time.Now().Unix(), Model: c.engine.Info().Model}
	c.log = make([]*completionLogprobs, len(c.answers.gens))
	if c.request.Logprobs != nil {
		for i := range c.log {
			c.log[i] = newCompletionLogprobs(c.engine.Tokenizer())
		}
	}
	if c.request.Stream {
		c.stream(w, r)
	} else {
		c.whole(w, r)
	}
}

// read turns the body into a request for each prompt.
func (c *completion) read(r *http.Request) ([]ullm.Request, int, error) {
	q := &c.request
	if err := openai.Decode(r.Body, q); err != nil {
		return nil, 0, err
	}
	switch {
	case len(q.Prompt) == 0:
		return nil, 0, openai.Invalid("prompt", "is missing or empty")
	case len(q.Prompt) > maxChoices:
		return nil, 0, openai.Invalid("prompt", "at most "+strconv.Itoa(maxChoices)+" prompts are answered at once")
	}
	base, e := sampling(&q.Sampling)
	if e != nil {
		return nil, 0, e
	}
	n, e := choices(q.N, len(q.Prompt))
	if e != nil {
		return nil, 0, e
	}
	if q.MaxTokens == nil {
		base.MaxTokens = defaultCompletionTokens
	}
	base.Logprobs = q.Logprobs
	if q.Echo && q.Logprobs != nil && base.PromptLogprobs == nil {
		base.PromptLogprobs = q.Logprobs
	}
	var prompts []ullm.Request
	for _, p := range q.Prompt {
		one := base
		one.Prompt, one.Tokens = p.Text, p.Tokens
		prompts = append(prompts, one)
	}
	return prompts, n, nil
}

// head is what stands before the first token of an answer: with echo, the prompt.
func (c *completion) head(choice int) string {
	if !c.request.Echo {
		return ""
	}
	g := c.answers.gens[choice]
	if l := c.log[choice]; l != nil {
		l.prompt(g)
	}
	if i := choice / c.answers.n; c.request.Prompt[i].Tokens == nil {
		return c.request.Prompt[i].Text
	}
	return c.engine.Tokenizer().Decode(g.PromptTokens, false)
}

func (c *completion) whole(w http.ResponseWriter, r *http.Request) {
	c.Choices = make([]openai.CompletionChoice, len(c.answers.gens))
	c.Usage = c.answers.usage()
	seen := make([]bool, len(c.Choices))
	for t, err := range c.answers.tokens(r.Context()) {
		if err != nil {
			writeError(w, errorOf(err))
			return
		}
		choice := &c.Choices[t.choice]
		if !seen[t.choice] {
			seen[t.choice] = true
			choice.Text = c.head(t.choice)
		}
		choice.Text += t.Text
		if l := c.log[t.choice]; l != nil {
			l.add(t.ID, &t.Logprob, t.Top)
		}
		choice.FinishReason, choice.StopReason = finish(&t.Token)
		c.answers.count(c.Usage, t.choice, &t.Token)
	}
	for i := range c.Choices {
		choice, g := &c.Choices[i], c.answers.gens[i]
		choice.Index = i
		if c.log[i] != nil {
			choice.Logprobs = c.log[i].take()
		}
		c.extras(choice, g, g.IDs(), true)
	}
	writeJSON(w, http.StatusOK, c.Completion)
}

// extras adds vLLM's fields: token ids, and once for each answer what belongs to its prompt.
func (c *completion) extras(choice *openai.CompletionChoice, g *ullm.Generation, ids []int32, first bool) {
	if c.request.ReturnTokenIDs {
		choice.TokenIDs = ids
		if first {
			choice.PromptTokenIDs = g.PromptTokens
		}
	}
	if first && c.request.PromptLogprobs != nil {
		choice.PromptLogprobs = promptLogprobs(c.engine.Tokenizer(), g)
	}
}

func (c *completion) stream(w http.ResponseWriter, r *http.Request) {
	events := newEventStream(w)
	usage := c.answers.usage()
	seen := make([]bool, len(c.answers.gens))
	options := c.request.StreamOptions
	for t, err := range c.answers.tokens(r.Context()) {
		if err != nil {
			events.fail(err)
			return
		}
		choice := openai.CompletionChoice{Index: t.choice}
		first := !seen[t.choice]
		if first {
			seen[t.choice] = true
			choice.Text = c.head(t.choice)
		}
		choice.Text += t.Text
		if l := c.log[t.choice]; l != nil {
			l.add(t.ID, &t.Logprob, t.Top)
			choice.Logprobs = l.take()
		}
		choice.FinishReason, choice.StopReason = finish(&t.Token)
		c.extras(&choice, c.answers.gens[t.choice], []int32{t.ID}, first)
		c.answers.count(usage, t.choice, &t.Token)
		chunk := c.Completion
		chunk.Choices = []openai.CompletionChoice{choice}
		if options != nil && options.ContinuousUsageStats {
			chunk.Usage = usage
		}
		if events.send(chunk) != nil {
			return
		}
	}
	if options != nil && options.IncludeUsage {
		chunk := c.Completion
		chunk.Choices, chunk.Usage = []openai.CompletionChoice{}, usage
		_ = events.send(chunk)
	}
	events.done()
}
