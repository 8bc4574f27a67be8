package ullm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

// Request asks for one answer. Fields that are nil or zero take the model's recommended sampling, or else the neutral
// value.
type Request struct {
	Prompt   string         // text, in which special tokens are recognised; or
	Tokens   []int32        // ids; or
	Messages []chat.Message // a conversation, rendered by the model's chat template, whose thinking is split off

	Tools  []json.RawMessage // for Messages: definitions as JSON, whose keys keep their order
	Kwargs map[string]any    // for Messages: what the template reads, such as enable_thinking

	AddSpecial *bool // put the tokens around the text that the tokenizer has for that; nil: yes for Prompt, no for Messages

	MaxTokens int // 0: the rest of the context
	MinTokens int

	Temperature       *float64 // 0: greedy
	TopK              *int     // 0: all
	TopP              *float64 // 0: the likeliest token alone
	MinP              *float64
	RepetitionPenalty *float64
	PresencePenalty   float64
	FrequencyPenalty  float64
	Seed              *uint64 // nil: a random one
	Choice            int     // index among the n answers to one prompt, which draw differently
	LogitBias         map[int32]float32

	Stop        []string // texts that end the answer; they are not part of it
	StopTokens  []int32  // ids that end the answer, besides the model's own
	IgnoreEOS   bool     // the model's own do not
	IncludeStop bool     // the text or token that ended the answer is part of it
	KeepSpecial bool     // special tokens are part of the text

	Logprobs       *int // how many of the likeliest tokens to report with each token; nil: no logprobs at all
	PromptLogprobs *int // the same for the prompt's tokens
	Priority       int  // larger goes first
}

// RequestError is a mistake in a request: Param names the field as OpenAI's API spells it.
type RequestError struct{ Param, Message string }

func (e *RequestError) Error() string { return "ullm: " + e.Param + ": " + e.Message }

// TooLong tells that a prompt does not fit the context.
type TooLong struct {
	Param   string // "prompt" or "messages"
	Tokens  int    // of the prompt, or at least as many
	Context int
}

func (e *TooLong) Error() string {
	return fmt.Sprintf("ullm: the prompt has %d tokens or more, the context holds %d and the answer needs at least one; shorten the prompt or serve with a larger --context-len", e.Tokens, e.Context)
}

// Render applies the chat template.
func (e *Engine) Render(ctx context.Context, r *Request, generate bool) (string, error) {
	messages := slices.Clone(r.Messages)
	for i := range messages {
		if messages[i].Role == "developer" { // OpenAI's newer name, which Qwen3's templates pass over in silence
			messages[i].Role = "system"
		}
	}
	in := chat.Input{Messages: messages, Tools: r.Tools, AddGenerationPrompt: generate, Kwargs: r.Kwargs, Now: e.now()}
	if id := e.config.BOS; id >= 0 {
		in.BOS = e.tokenizer.TokenString(id)
	}
	if len(e.config.EOS) > 0 {
		in.EOS = e.tokenizer.TokenString(e.config.EOS[0])
	}
	return e.template.Render(ctx, in)
}

// prompt is the request's prompt as ids, and whether it ends inside an open <think>.
func (e *Engine) prompt(ctx context.Context, r *Request) (ids []int32, thinking bool, err error) {
	given := 0
	for _, b := range []bool{r.Prompt != "", len(r.Tokens) > 0, len(r.Messages) > 0} {
		if b {
			given++
		}
	}
	if given != 1 {
		return nil, false, &RequestError{"prompt", "give exactly one of a text, token ids and messages, and not an empty one"}
	}
	limit := e.info.Sizing.Context
	text, param, addSpecial := r.Prompt, "prompt", true
	switch {
	case len(r.Tokens) > 0:
		ids = r.Tokens
	case len(r.Messages) > 0:
		if text, err = e.Render(ctx, r, true); err != nil {
			return nil, false, err
		}
		param, addSpecial = "messages", false
		thinking = strings.HasSuffix(strings.TrimRight(text, "\n"), "<think>")
		fallthrough
	default:
		var whole bool
		if ids, whole = e.tokenizer.EncodeLimited(text, true, limit); !whole {
			return nil, false, &TooLong{param, limit + 1, limit}
		}
		if r.AddSpecial != nil {
			addSpecial = *r.AddSpecial
		}
		if addSpecial {
			ids = e.tokenizer.AddSpecial(ids)
		}
	}
	if len(ids) >= limit {
		return nil, false, &TooLong{param, len(ids), limit}
	}
	if len(ids) == 0 {
		return nil, false, &RequestError{"prompt", "is empty"}
	}
	for _, id := range ids { // a tokenizer may have more tokens than the model it came with
		if id < 0 || int(id) >= e.config.Vocab {
			return nil, false, &RequestError{param, fmt.Sprintf("token id %d is outside the vocabulary of %d", id, e.config.Vocab)}
		}
	}
	return ids, thinking, nil
}

// lower turns a request into what the scheduler runs.
func (e *Engine) lower(r *Request, prompt []int32) (*sched.Request, error) {
	d := e.info.Defaults
	s := tensor.Sampling{
		Temperature: float32(first(r.Temperature, d.Temperature, 1)),
		TopK:        int32(min(max(first(r.TopK, d.TopK, 0), -1), math.MaxInt32)),
		TopP:        float32(first(r.TopP, d.TopP, 1)),
		MinP:        float32(first(r.MinP, d.MinP, 0)),
		Repetition:  float32(first(r.RepetitionPenalty, d.RepetitionPenalty, 1)),
		Presence:    float32(r.PresencePenalty),
		Frequency:   float32(r.FrequencyPenalty),
		Choice:      uint32(r.Choice),
	}
	if r.Temperature == nil && d.DoSample != nil && !*d.DoSample {
		s.Temperature = 0
	}
	inRange := func(v float32, low, high float64) bool { return float64(v) >= low && float64(v) <= high }
	for _, c := range []struct {
		ok          bool
		param, want string
	}{
		{inRange(s.Temperature, 0, model.MaxTemperature), "temperature", fmt.Sprintf("must be from 0 to %d", model.MaxTemperature)},
		{s.TopK >= 0, "top_k", "must be 0 (all) or more"},
		{inRange(s.TopP, 0, 1), "top_p", "must be from 0 to 1"},
		{inRange(s.MinP, 0, 1), "min_p", "must be from 0 to 1"},
		{s.Repetition > 0 && s.Repetition <= model.MaxRepetitionPenalty, "repetition_penalty", fmt.Sprintf("must be above 0 and at most %d", model.MaxRepetitionPenalty)},
		{inRange(s.Presence, -2, 2), "presence_penalty", "must be from -2 to 2"},
		{inRange(s.Frequency, -2, 2), "frequency_penalty", "must be from -2 to 2"},
		{r.MaxTokens >= 0, "max_tokens", "must be at least 1"},
		{r.MinTokens >= 0, "min_tokens", "must not be negative"},
		{r.MaxTokens == 0 || r.MinTokens <= r.MaxTokens, "min_tokens", "must not be above max_tokens"},
		{r.Logprobs == nil || *r.Logprobs >= 0 && *r.Logprobs <= tensor.MaxTop, "logprobs", fmt.Sprintf("at most %d likeliest tokens are reported", tensor.MaxTop)},
		{r.PromptLogprobs == nil || *r.PromptLogprobs >= 0 && *r.PromptLogprobs <= tensor.MaxTop, "prompt_logprobs", fmt.Sprintf("at most %d likeliest tokens are reported", tensor.MaxTop)},
	} {
		if !c.ok {
			return nil, &RequestError{c.param, c.want}
		}
	}
	if r.Seed != nil {
		s.Seed = *r.Seed
	} else {
		var b [8]byte
		rand.Read(b[:])
		s.Seed = binary.LittleEndian.Uint64(b[:])
	}
	q := &sched.Request{Prompt: prompt, MinTokens: r.MinTokens, Sampling: s, Priority: r.Priority}
	q.MaxTokens = e.info.Sizing.Context - len(prompt)
	if r.MaxTokens > 0 {
		q.MaxTokens = min(q.MaxTokens, r.MaxTokens)
	}
	if !r.IgnoreEOS {
		q.Stop = slices.Clone(e.stops)
	}
	for _, id := range r.StopTokens {
		if id < 0 || int(id) >= e.config.Vocab {
			return nil, &RequestError{"stop_token_ids", fmt.Sprintf("token id %d is outside the vocabulary of %d", id, e.config.Vocab)}
		}
		q.Stop = append(q.Stop, id)
	}
	for id, v := range r.LogitBias {
		if id < 0 || int(id) >= e.config.Vocab {
			return nil, &RequestError{"logit_bias", fmt.Sprintf("token id %d is outside the vocabulary of %d", id, e.config.Vocab)}
		}
		if math.IsNaN(float64(v)) || v < -100 || v > 100 {
			return nil, &RequestError{"logit_bias", "must be from -100 to 100"}
		}
		q.Bias = append(q.Bias, sched.Bias{ID: id, Value: v})
	}
	slices.SortFunc(q.Bias, func(a, b sched.Bias) int { return int(a.ID - b.ID) })
	switch {
	case len(q.Bias) > model.MaxBias:
		return nil, &RequestError{"logit_bias", fmt.Sprintf("has %d entries; at most %d are supported", len(q.Bias), model.MaxBias)}
	case r.MinTokens > 0 && len(q.Bias)+len(q.Stop) > model.MaxBias:
		return nil, &RequestError{"stop_token_ids", fmt.Sprintf("with min_tokens, at most %d tokens can have a bias or be stops", model.MaxBias)}
	}
	if r.Logprobs != nil {
		q.Top = *r.Logprobs
	}
	if r.PromptLogprobs != nil {
		q.PromptLogprobs = true
		q.Top = max(q.Top, *r.PromptLogprobs)
	}
	return q, nil
}

// first is the first value that was given.
func first[T any](given, recommended *T, neutral T) T {
	if given != nil {
		return *given
	}
	if recommended != nil {
		return *recommended
	}
	return neutral
}
