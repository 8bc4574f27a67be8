package server

import (
	"context"
	"io"
	"iter"
	"net/http"
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
	if e := s.Unsupported(); e != nil {
		return ullm.Request{}, e
	}
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
		KeepSpecial: s.SkipSpecialTokens != nil && !*s.SkipSpecialTokens, PromptLogprobs: s.PromptLogprobs, Priority: s.Priority,
	}
	if r.TopK != nil && *r.TopK == -1 { // vLLM's "all"
		all := 0
		r.TopK = &all
	}
	if s.MaxTokens != nil {
		if *s.MaxTokens < 1 {
			return r, openai.Invalid("max_tokens", "must be at least 1")
		}
		r.MaxTokens = *s.MaxTokens
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
	gens []*ullm.Generation
	n    int
}

// start queues n generations for each prompt; the engine computes what they share once.
func start(ctx context.Context, e *ullm.Engine, prompts []ullm.Request, n int) (*answers, error) {
	a := &answers{n: n}
	for _, p := range prompts {
		for i := range n {
			p.Choice = i
			g, err := e.Start(ctx, p)
			if err != nil {
				a.close()
				return nil, err
			}
			a.gens = append(a.gens, g)
		}
	}
	return a, nil
}

func (a *answers) close() {
	for _, g := range a.gens {
		g.Close()
	}
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
func (a *answers) tokens(ctx context.Context, m *metrics) iter.Seq2[choiceToken, error] {
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
				clock := m.clock()
				for {
					t, err := g.Next(ctx)
					if err == nil {
						clock.token(&t)
					}
					select {
					case items <- item{choiceToken{i, t}, err}:
					case <-ctx.Done():
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

// eventStream writes server-sent events.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

// writeDeadline is how long a client may take to accept an event.
const writeDeadline = 30 * time.Second

func newEventStream(w http.ResponseWriter) *eventStream {
	return &eventStream{w: w, control: http.NewResponseController(w)}
}

// send writes one event; it fails when the client is gone or does not read.
func (s *eventStream) send(body any) error {
	b, err := marshal(body)
	if err != nil {
		return err
	}
	return s.raw(b)
}

// done writes the event that ends a stream.
func (s *eventStream) done() { _ = s.raw([]byte("[DONE]")) }

// fail ends a stream that cannot go on with an event that says why.
func (s *eventStream) fail(err error) {
	_ = s.send(errorOf(err))
	s.done()
}

func (s *eventStream) raw(data []byte) error {
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no") // proxies that would hold events back
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(writeDeadline))
	event := make([]byte, 0, len(data)+8)
	event = append(event, "data: "...)
	event = append(append(event, data...), '\n', '\n')
	if _, err := s.w.Write(event); err != nil {
		return err
	}
	return s.control.Flush()
}
