package server

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/server/openai"
)

// chatCompletion answers one POST /v1/chat/completions.
type chatCompletion struct {
	openai.Chat
	request openai.ChatRequest
	engine  *ullm.Engine
	answers *answers
}

func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) {
	c := &chatCompletion{engine: engineOf(r)}
	prompt, n, err := c.read(r)
	if err != nil {
		writeError(w, errorOf(err))
		return
	}
	if c.answers, err = s.start(r.Context(), c.engine, []ullm.Request{prompt}, n); err != nil {
		writeError(w, errorOf(err))
		return
	}
	defer c.answers.close()
	c.Chat = openai.Chat{ID: "chatcmpl-" + rand.Text(), Object: "chat.completion", Created: time.Now().Unix(), Model: c.engine.Info().Model}
	if c.request.Stream {
		c.Object = "chat.completion.chunk"
		c.stream(w, r)
	} else {
		c.whole(w, r)
	}
}

func (c *chatCompletion) read(r *http.Request) (ullm.Request, int, error) {
	q := &c.request
	if err := openai.Decode(r.Body, q); err != nil {
		return ullm.Request{}, 0, err
	}
	if e := checkMessages(q.Messages); e != nil {
		return ullm.Request{}, 0, e
	}
	if q.AddGenerationPrompt != nil && !*q.AddGenerationPrompt {
		return ullm.Request{}, 0, openai.NotSupported("add_generation_prompt", "add_generation_prompt must be true; use /v1/completions to continue a text")
	}
	p, e := sampling(&q.Sampling)
	if e != nil {
		return p, 0, e
	}
	if q.MaxCompletionTokens != nil {
		if p.MaxTokens, e = maxTokens("max_completion_tokens", q.MaxCompletionTokens); e != nil {
			return p, 0, e
		}
	}
	n, e := choices(q.N, 1)
	if e != nil {
		return p, 0, e
	}
	switch {
	case q.Logprobs && q.TopLogprobs != nil:
		p.Logprobs = q.TopLogprobs
	case q.Logprobs:
		p.Logprobs = new(int)
	case q.TopLogprobs != nil:
		return p, 0, openai.Invalid("top_logprobs", "needs logprobs to be true")
	}
	p.Messages = q.Messages
	p.Kwargs, e = templateKwargs(q)
	if e != nil {
		return p, 0, e
	}
	return p, n, nil
}

// checkMessages refuses roles that no template of Qwen3's knows and would pass over in silence.
func checkMessages(messages []chat.Message) *openai.Error {
	if len(messages) == 0 {
		return openai.Invalid("messages", "is missing or empty")
	}
	for i, m := range messages {
		switch m.Role {
		case "system", "developer", "user", "assistant", "tool":
		default:
			return openai.Invalid(fmt.Sprintf("messages[%d].role", i), fmt.Sprintf("%q is none of system, developer, user, assistant and tool", m.Role))
		}
	}
	return nil
}

// templateKwargs adds reasoning_effort, where it decides something, to what the template reads.
func templateKwargs(q *openai.ChatRequest) (map[string]any, *openai.Error) {
	if q.ReasoningEffort == "" {
		return q.Kwargs, nil
	}
	think := true
	switch q.ReasoningEffort {
	case "none":
		think = false
	case "minimal", "low", "medium", "high", "xhigh":
	default:
		return nil, openai.Invalid("reasoning_effort", "must be none, minimal, low, medium, high or xhigh")
	}
	k := maps.Clone(q.Kwargs)
	if k == nil {
		k = map[string]any{}
	}
	if _, given := k["enable_thinking"]; !given {
		k["enable_thinking"] = think
	}
	return k, nil
}

func (c *chatCompletion) whole(w http.ResponseWriter, r *http.Request) {
	c.Choices = make([]openai.ChatChoice, len(c.answers.gens))
	c.Usage = c.answers.usage()
	for i := range c.Choices {
		c.Choices[i] = openai.ChatChoice{Index: i, Message: &openai.ChatMessage{Role: "assistant"}}
		if c.request.Logprobs {
			c.Choices[i].Logprobs = &openai.ChatLogprobs{Content: []openai.TokenLogprob{}}
		}
	}
	for t, err := range c.answers.tokens(r.Context()) {
		if err != nil {
			writeError(w, errorOf(err))
			return
		}
		choice := &c.Choices[t.choice]
		choice.Message.Content += t.Text
		if t.Reasoning != "" {
			if choice.Message.ReasoningContent == nil {
				choice.Message.ReasoningContent = new(string)
			}
			*choice.Message.ReasoningContent += t.Reasoning
		}
		if choice.Logprobs != nil {
			choice.Logprobs.Content = append(choice.Logprobs.Content, chatLogprob(c.engine.Tokenizer(), &t.Token))
		}
		choice.FinishReason, choice.StopReason = finish(&t.Token)
		c.answers.count(c.Usage, t.choice, &t.Token)
	}
	for i := range c.Choices {
		if c.request.ReturnTokenIDs {
			c.Choices[i].TokenIDs = c.answers.gens[i].IDs()
		}
	}
	c.promptExtras(&c.Chat, c.answers.gens[0])
	writeJSON(w, http.StatusOK, c.Chat)
}

// promptExtras adds what vLLM says of the prompt, if it was asked for.
func (c *chatCompletion) promptExtras(into *openai.Chat, g *ullm.Generation) {
	if c.request.ReturnTokenIDs {
		into.PromptTokenIDs = g.PromptTokens
	}
	if c.request.PromptLogprobs != nil {
		into.PromptLogprobs = promptLogprobs(c.engine.Tokenizer(), g)
	}
}

func (c *chatCompletion) stream(w http.ResponseWriter, r *http.Request) {
	events := newEventStream(w)
	usage := c.answers.usage()
	options := c.request.StreamOptions
	send := func(choice openai.ChatChoice, first bool) error {
		chunk := c.Chat
		chunk.Choices = []openai.ChatChoice{choice}
		if options != nil && options.ContinuousUsageStats {
			chunk.Usage = usage
		}
		if first { // of all choices, whose prompt is the same
			c.promptExtras(&chunk, c.answers.gens[choice.Index])
		}
		return events.send(chunk)
	}
	seen := make([]bool, len(c.answers.gens))
	begun := false
	empty := ""
	for t, err := range c.answers.tokens(r.Context()) {
		if err != nil {
			events.fail(err)
			return
		}
		if !seen[t.choice] {
			seen[t.choice] = true
			if send(openai.ChatChoice{Index: t.choice, Delta: &openai.ChatDelta{Role: "assistant", Content: &empty}}, !begun) != nil {
				return
			}
			begun = true
		}
		choice := openai.ChatChoice{Index: t.choice, Delta: &openai.ChatDelta{}}
		if t.Text != "" {
			choice.Delta.Content = &t.Text
		}
		if t.Reasoning != "" {
			choice.Delta.ReasoningContent = &t.Reasoning
		}
		if c.request.Logprobs {
			choice.Logprobs = &openai.ChatLogprobs{Content: []openai.TokenLogprob{chatLogprob(c.engine.Tokenizer(), &t.Token)}}
		}
		if c.request.ReturnTokenIDs {
			choice.TokenIDs = []int32{t.ID}
		}
		choice.FinishReason, choice.StopReason = finish(&t.Token)
		c.answers.count(usage, t.choice, &t.Token)
		if t.Text == "" && t.Reasoning == "" && t.Finish == "" && choice.Logprobs == nil && choice.TokenIDs == nil {
			continue // held back for now
		}
		if send(choice, false) != nil {
			return
		}
	}
	if options != nil && options.IncludeUsage {
		chunk := c.Chat
		chunk.Choices, chunk.Usage = []openai.ChatChoice{}, usage
		_ = events.send(chunk)
	}
	events.done()
}
