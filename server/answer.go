package server

import (
	"context"
	"io"
	"iter"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// maxChoices bounds the answers of one request, over all its prompts.
const maxChoices = 128

// sampling turns the fields that all endpoints share into an engine's request without a prompt.
func sampling(s *openai.Sampling) (ullm.Request, *openai.Error) {
	bias, e := s.Bias()
	if e != nil {
		return ullm.Request{}, e
	}
	if len(s.Stop) > 16 {
		return ullm.Request{}, openai.Invalid("stop", "at most 16 stop texts are supported")
	}
	r := ullm.Request{
		MinTokens: s.MinTokens, Temperature: s.Temperature, TopK: s.TopK, TopP: s.TopP, MinP: s.MinP,
		RepetitionPenalty: s.RepetitionPenalty, PresencePenalty: s.PresencePenalty, FrequencyPenalty: s.FrequencyPenalty,
		LogitBias: bias, Stop: s.Stop, StopTokens: s.StopTokenIDs, IgnoreEOS: s.IgnoreEOS, IncludeStop: s.IncludeStop,
		AddSpecial: s.AddSpecialTokens, KeepSpecial: s.SkipSpecialTokens != nil && !*s.SkipSpecialTokens, PromptLogprobs: s.PromptLogprobs,
		Priority: -max(s.Priority, -math.MaxInt), // vLLM's smallest goes first
	}
	if r.TopK != nil && *r.TopK == -1 { // vLLM's "all"
		all := 0
		r.TopK = &all
	}
	if r.MaxTokens, e = maxTokens("max_tokens", s.MaxTokens); e != nil {
		return r, e
	}
	if s.Seed != nil {
		seed := uint64(*s.Seed)
		r.Seed = &seed
	}
	if s.StreamOptions != nil && !s.Stream {
		return r, openai.Invalid("stream_options", "is only for streamed answers")
	}
	return r, nil
}

// maxTokens is a length limit, 0 where there is none.
func maxTokens(param string, n *int) (int, *openai.Error) {
	switch {
	case n == nil:
		return 0, nil
	case *n < 1:
		return 0, openai.Invalid(param, "must be at least 1")
	}
	return *n, nil
}

// choices is n with its default, bounded.
func choices(n *int, prompts int) (int, *openai.Error) {
	if n == nil {
		return 1, nil
	}
	if *n < 1 || *n*prompts > maxChoices {
		return 0, openai.Invalid("n", "must be from 1 to "+strconv.Itoa(maxChoices/prompts))
	}
	return *n, nil
}

// answers are the generations of one request: n for each prompt, in order.
type answers struct {
	server *Server
	begun  time.Time
	gens   []*ullm.Generation
	n      int
}

// start queues n generations for each prompt; the engine computes what they share once.
func (s *Server) start(ctx context.Context, e *ullm.Engine, prompts []ullm.Request, n int) (*answers, error) {
	begun := time.Now()
	gens, err := e.StartAll(ctx, prompts, n)
	return &answers{server: s, begun: begun, gens: gens, n: n}, err
}

func (a *answers) close() {
	for _, g := range a.gens {
		g.Close()
	}
}

// finish copies how an answer ended.
func finish(t *ullm.Token) (reason *string, stop any) {
	if t.Finish == "" {
		return nil, nil
	}
	return &t.Finish, t.StopReason
}

// usage begins with the prompts' tokens; answers are added as they end.
func (a *answers) usage() *openai.Usage {
	u := &openai.Usage{PromptTokensDetails: &openai.PromptTokensDetails{}}
	for i := 0; i < len(a.gens); i += a.n {
		u.PromptTokens += len(a.gens[i].PromptTokens)
	}
	u.Add(0, 0)
	return u
}

// count adds what a last token says to a usage.
func (a *answers) count(u *openai.Usage, choice int, t *ullm.Token) {
	if t.Usage == nil {
		return
	}
	if choice%a.n == 0 {
		u.PromptTokensDetails.CachedTokens += t.Usage.Cached
	}
	u.Add(t.Usage.Completion, t.Usage.Reasoning)
}

// choiceToken is a token of one of several answers.
type choiceToken struct {
	choice int
	ullm.Token
}

// tokens reads all answers at once, in whatever order tokens come. The first error ends them all.
func (a *answers) tokens(ctx context.Context) iter.Seq2[choiceToken, error] {
	return func(yield func(choiceToken, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		type item struct {
			choiceToken
			err error
		}
		items := make(chan item)
		var readers sync.WaitGroup
		defer readers.Wait()
		defer cancel()
		for i, g := range a.gens {
			readers.Go(func() {
				clock := clock{metrics: a.server.metrics, last: a.begun}
				for {
					t, err := g.Next(ctx)
					clock.token(&t, err)
					select {
					case items <- item{choiceToken{i, t}, err}:
					case <-ctx.Done():
						if err == nil && t.Finish == "" {
							clock.token(nil, ctx.Err())
						}
						return
					}
					if err != nil {
						return
					}
				}
			})
		}
		for open := len(a.gens); open > 0; {
			select {
			case it := <-items:
				if it.err == io.EOF {
					open--
				} else if !yield(it.choiceToken, it.err) || it.err != nil {
					return
				}
			case <-ctx.Done():
				yield(choiceToken{}, ctx.Err())
				return
			}
		}
	}
}
