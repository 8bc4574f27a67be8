package ullm_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const talk = "model/qwen3/testdata/e2e/talk"

func open(t *testing.T, name string, options ...ullm.Option) *ullm.Engine {
	t.Helper()
	e, err := ullm.Open(t.Context(), name, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, sched.ErrCut) {
			t.Error(err)
		}
		if r := e.Freed(); r.Leaked != (tensor.Count{}) {
			t.Errorf("leaked %+v", r.Leaked)
		}
	})
	return e
}

// answer reads a whole answer.
func answer(t *testing.T, e *ullm.Engine, r ullm.Request) (tokens []ullm.Token) {
	t.Helper()
	for tok, err := range e.Generate(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, tok)
	}
	return tokens
}

// texts joins what tokens add.
func texts(tokens []ullm.Token) (reasoning, content string) {
	for _, t := range tokens {
		reasoning += t.Reasoning
		content += t.Text
	}
	return reasoning, content
}

func ids(tokens []ullm.Token) []int32 {
	var s []int32
	for _, t := range tokens {
		s = append(s, t.ID)
	}
	return s
}

func ptr[T any](v T) *T { return &v }

// hosts are the backends that every machine has; a short run, such as the race detector's, leaves out the slow one.
func hosts() []string {
	if testing.Short() {
		return []string{"cpu"}
	}
	return []string{"ref", "cpu"}
}

func TestAnswersAsTransformers(t *testing.T) {
	for _, backend := range hosts() {
		for _, name := range []string{"talk", "think", "talk-q8_0"} {
			t.Run(backend+"/"+name, func(t *testing.T) { answersAsTransformers(t, backend, name) })
		}
	}
}

func answersAsTransformers(t *testing.T, backend, name string) {
	want := e2e.Load(t, name)
	e := open(t, want.Path, ullm.Backend(backend))
	check := func(r ullm.Request, a e2e.Answer, reasoning, content string) {
		t.Helper()
		r.MaxTokens, r.Temperature = a.MaxTokens, ptr(0.0)
		tokens := answer(t, e, r)
		if got := ids(tokens); !slices.Equal(got, a.Tokens) {
			t.Errorf("%q: tokens %v, want %v", a.Prompt, got, a.Tokens)
			return
		}
		last := tokens[len(tokens)-1]
		if r, c := texts(tokens); r != reasoning || c != content || last.Finish != a.Finish {
			t.Errorf("%q: reasoning %q, text %q, finish %q; want %q, %q, %q", a.Prompt, r, c, last.Finish, reasoning, content, a.Finish)
		}
		u := last.Usage
		if u == nil || u.Prompt != len(a.PromptTokens) || u.Completion != len(a.Tokens) || (u.Reasoning > 0) != (reasoning != "") || u.Reasoning >= u.Completion {
			t.Errorf("%q: usage %+v", a.Prompt, u)
		}
		for i, l := range a.Logprobs {
			if diff := math.Abs(float64(tokens[i].Logprob) - l); backend == "ref" && diff > 2e-3 || diff > 0.1 {
				t.Errorf("%q: token %d: logprob %g, want %g", a.Prompt, i, tokens[i].Logprob, l)
			}
		}
	}
	for _, c := range want.Completions {
		check(ullm.Request{Prompt: c.Prompt}, c, "", c.Text)
		check(ullm.Request{Tokens: c.PromptTokens}, c, "", c.Text)
	}
	for _, c := range want.Chats {
		var r ullm.Request
		for _, m := range c.Messages {
			r.Messages = append(r.Messages, chat.Message{Role: m.Role, Content: m.Content})
		}
		if c.EnableThinking != nil {
			r.Kwargs = map[string]any{"enable_thinking": *c.EnableThinking}
		}
		reasoning, content := c.Split()
		check(r, c.Answer, reasoning, content)
	}
}

func TestStopTexts(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"))
	prompt := ullm.Request{Prompt: "The quick brown fox", Temperature: ptr(0.0), MaxTokens: 64}
	for _, c := range []struct {
		stop    []string
		include bool
		want    string
		reason  any
	}{
		{[]string{"lazy"}, false, " jumps over the ", "lazy"},
		{[]string{"lazy"}, true, " jumps over the lazy", "lazy"},
		{[]string{"dog. And more", "r the l"}, false, " jumps ove", "r the l"}, // across tokens
		{[]string{"lazy cat"}, false, " jumps over the lazy dog.", nil},        // held back, then let go
		{[]string{" jumps"}, false, "", " jumps"},
	} {
		r := prompt
		r.Stop, r.IncludeStop = c.stop, c.include
		tokens := answer(t, e, r)
		_, text := texts(tokens)
		if last := tokens[len(tokens)-1]; text != c.want || last.Finish != "stop" || last.StopReason != c.reason {
			t.Errorf("stop %q: text %q, finish %q, reason %v; want %q, reason %v", c.stop, text, last.Finish, last.StopReason, c.want, c.reason)
		}
	}
	// With min_tokens, only stop texts that end behind that many tokens count.
	full := answer(t, e, prompt)
	for n := range len(full) {
		_, before := texts(full[:n])
		r := prompt
		r.MinTokens, r.Stop = n, []string{"s", "umps ov"}
		want := " jumps over the lazy dog."
		for at := 1; at < len(want); at++ { // the first stop text that ends behind the first n tokens
			if end := want[:at]; len(end) > len(before) && (strings.HasSuffix(end, "s") || strings.HasSuffix(end, "umps ov")) {
				want = strings.TrimSuffix(strings.TrimSuffix(end, "s"), "umps ov")
				break
			}
		}
		if _, got := texts(answer(t, e, r)); got != want {
			t.Errorf("min_tokens %d (%q): got %q, want %q", n, before, got, want)
		}
	}
}

// TestSameTokens asks the same seeded question alone, in company, with and without caches and pipelining, and on a
// memory so small that sequences are preempted; the answer must not change.
func TestSameTokens(t *testing.T) {
	question := ullm.Request{Prompt: strings.Repeat("Once upon a time there was ", 6), Temperature: ptr(1.5), TopK: ptr(50),
		RepetitionPenalty: ptr(1.1), FrequencyPenalty: 0.1, Seed: ptr(uint64(7)), MaxTokens: 60, IgnoreEOS: true, Logprobs: ptr(3)}
	for _, backend := range hosts() {
		t.Run(backend, func(t *testing.T) {
			plain := open(t, talk, ullm.With(ullm.Options{Backend: backend, NoPrefixCache: true, NoAsync: true}))
			want := answer(t, plain, question)
			for name, o := range map[string]ullm.Options{
				"default":      {},
				"small chunks": {MaxBatchTokens: 7},
				"two slots":    {MaxBatchSeqs: 2},
				"one thread":   {Threads: 1},
				"short memory": {ContextLen: 256, KVCacheTokens: 512},
			} {
				o.Backend = backend
				e := open(t, talk, ullm.With(o))
				results := make(chan []ullm.Token, 32)
				for i := range cap(results) {
					go func() {
						r := question
						if i%4 != 0 {
							r.Seed = ptr(uint64(i))
							r.MaxTokens = 5 + i
							r.Prompt = r.Prompt[:len(r.Prompt)-i]
						}
						var tokens []ullm.Token
						for tok, err := range e.Generate(context.Background(), r) {
							if err != nil {
								t.Error(err)
								break
							}
							tokens = append(tokens, tok)
						}
						if i%4 != 0 {
							tokens = nil
						}
						results <- tokens
					}()
				}
				for range cap(results) {
					got := <-results
					if got == nil {
						continue
					}
					for i := range want {
						if i >= len(got) || got[i].ID != want[i].ID || got[i].Logprob != want[i].Logprob || !slices.Equal(got[i].Top, want[i].Top) {
							t.Errorf("%s: token %d differs from the lone answer", name, i)
							break
						}
					}
				}
				if s := e.Stats(); name == "short memory" && s.Preemptions == 0 {
					t.Errorf("%s: nobody was preempted", name)
				}
				if s := e.Stats(); s.Running != 0 || s.Waiting != 0 || s.FreePages != s.Pages {
					t.Errorf("%s: after all answers: %+v", name, s)
				}
			}
		})
	}
}

func TestPromptLogprobs(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"))
	prompt := e.Tokenizer().Encode("The quick brown fox jumps over the lazy dog.", true)
	for range 2 { // the second time the prefix is cached, and must be computed all the same
		g, err := e.Start(t.Context(), ullm.Request{Tokens: prompt, MaxTokens: 1, PromptLogprobs: ptr(2)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, p := range g.PromptLogprobs() {
			if (p == nil) != (i == 0) || p != nil && (p.Token.ID != prompt[i] || len(p.Top) != 2 || p.Token.Logprob > p.Top[0].Logprob) {
				t.Fatalf("token %d: %+v", i, p)
			}
		}
		g.Close()
	}
}

func TestRefusals(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"), ullm.ContextLen(64))
	var long *ullm.TooLong
	if _, err := e.Start(t.Context(), ullm.Request{Prompt: strings.Repeat("x ", 1000)}); !errors.As(err, &long) {
		t.Errorf("long prompt: %v", err)
	}
	for param, r := range map[string]ullm.Request{
		"prompt":             {},
		"top_k":              {Prompt: "x", TopK: ptr(-1<<33 + 5)},
		"temperature":        {Prompt: "x", Temperature: ptr(-1.0)},
		"top_p":              {Prompt: "x", TopP: ptr(-0.1)},
		"logit_bias":         {Prompt: "x", LogitBias: map[int32]float32{5000: 1}},
		"stop_token_ids":     {Prompt: "x", StopTokens: []int32{-1}},
		"logprobs":           {Prompt: "x", Logprobs: ptr(21)},
		"min_tokens":         {Prompt: "x", MaxTokens: 2, MinTokens: 3},
		"repetition_penalty": {Prompt: "x", RepetitionPenalty: ptr(math.NaN())},
	} {
		var bad *ullm.RequestError
		if _, err := e.Start(t.Context(), r); !errors.As(err, &bad) || bad.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
}

func TestShutdown(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"))
	g, err := e.Start(t.Context(), ullm.Request{Prompt: "Once", MaxTokens: 30, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := e.Shutdown(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	n := 0
	for {
		tok, err := g.Next(t.Context())
		if err != nil {
			t.Fatalf("after %d tokens: %v", n, err)
		}
		if n++; tok.Finish != "" {
			break
		}
	}
	if n != 30 {
		t.Errorf("%d tokens, want 30", n)
	}
	if _, err := e.Start(t.Context(), ullm.Request{Prompt: "x"}); !errors.Is(err, sched.ErrDraining) {
		t.Errorf("after shutdown: %v", err)
	}
	if r := e.Freed(); r.Freed.Bytes == 0 || r.Leaked.Bytes != 0 {
		t.Errorf("%+v", r)
	}
}

// endless is an engine with an answer that no test lives to see the end of, and a channel that has how the answer ended.
func endless(t *testing.T) (*ullm.Engine, <-chan error) {
	t.Helper()
	e := open(t, talk, ullm.With(ullm.Options{Backend: "ref", RopeScaling: `{"rope_type":"linear","factor":64}`, KVCacheTokens: 1 << 16}))
	g, err := e.Start(t.Context(), ullm.Request{Prompt: "Once", MaxTokens: 60_000, IgnoreEOS: true})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer g.Close()
		for {
			if _, err := g.Next(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	return e, ended
}

func TestShutdownCutsOff(t *testing.T) {
	e, ended := endless(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, sched.ErrCut) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-ended; !errors.Is(err, sched.ErrCut) {
		t.Errorf("the answer ended with %v", err)
	}
}

func TestOpenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := ullm.Options{Backend: "ref", Progress: func(stage string, done, total int64) {
		if done > total/2 {
			cancel()
		}
	}}
	if _, err := ullm.Open(ctx, talk, ullm.With(o)); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
}

// TestCloseDuringShutdown closes an engine that another goroutine lets finish its requests: Close must not wait for them.
func TestCloseDuringShutdown(t *testing.T) {
	e, ended := endless(t)
	draining := make(chan error)
	go func() { draining <- e.Shutdown(context.Background()) }()
	for err := error(nil); !errors.Is(err, sched.ErrDraining); { // until it has begun
		var other *ullm.Generation
		if other, err = e.Start(t.Context(), ullm.Request{Prompt: "x", MaxTokens: 1}); err == nil {
			if _, err := other.Next(t.Context()); err != nil {
				t.Error(err)
			}
			other.Close()
		}
		e.Freed()
	}
	if err := e.Close(); !errors.Is(err, sched.ErrCut) {
		t.Errorf("close: %v", err)
	}
	if err := <-draining; !errors.Is(err, sched.ErrCut) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-ended; !errors.Is(err, sched.ErrCut) {
		t.Errorf("the answer ended with %v", err)
	}
}

func TestDeveloperIsSystem(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"))
	var texts []string
	for _, role := range []string{"system", "developer"} {
		text, err := e.Render(t.Context(), &ullm.Request{Messages: []chat.Message{{Role: role, Content: "Be brief."}, {Role: "user", Content: "Hello"}}}, true)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], "Be brief.") {
		t.Errorf("%q", texts)
	}
}
