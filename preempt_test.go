package ullm_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/tensor"
)

// told is everything that a request's client learns.
type told struct {
	Tokens []ullm.Token
	Prompt []*ullm.PromptLogprob
}

// ask runs requests at once.
func ask(t *testing.T, e *ullm.Engine, requests []ullm.Request) []told {
	t.Helper()
	var running []*ullm.Generation
	for _, r := range requests {
		g, err := e.Start(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		running = append(running, g)
	}
	answers := make([]told, len(requests))
	for i, g := range running {
		for a := &answers[i]; len(a.Tokens) == 0 || a.Tokens[len(a.Tokens)-1].Finish == ""; {
			tok, err := g.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			a.Tokens = append(a.Tokens, tok)
		}
		answers[i].Prompt = g.PromptLogprobs()
	}
	return answers
}

// TestPromptLogprobsSurvivePreemption asks for the prompt's logprobs on a memory so short that sequences are preempted,
// some of them while their prompts are being computed.
func TestPromptLogprobsSurvivePreemption(t *testing.T) {
	var requests []ullm.Request
	for i := range 8 {
		requests = append(requests, ullm.Request{Prompt: strings.Repeat("Once upon a time there was ", 3+i), PromptLogprobs: ptr(2),
			Logprobs: ptr(1), Temperature: ptr(1.2), Seed: ptr(uint64(i)), MaxTokens: 90, IgnoreEOS: true})
	}
	for _, backend := range hosts() {
		lone := open(t, talk, ullm.Backend(backend), ullm.ContextLen(256))
		var want []told
		for _, r := range requests {
			want = append(want, ask(t, lone, []ullm.Request{r})...)
		}
		short := open(t, talk, ullm.With(ullm.Options{Backend: backend, ContextLen: 256, KVCacheTokens: 512, MaxBatchTokens: 24}))
		have := ask(t, short, requests)
		for i := range want {
			for _, w := range []*told{&want[i], &have[i]} {
				w.Tokens[len(w.Tokens)-1].Usage = nil // it counts cached tokens
			}
			if !reflect.DeepEqual(have[i], want[i]) {
				t.Errorf("%s: request %d is answered otherwise on a short memory", backend, i)
			}
			if len(want[i].Prompt) < 20 || slices.Index(want[i].Prompt, nil) != 0 || slices.Contains(want[i].Prompt[1:], nil) {
				t.Errorf("%s: request %d: logprobs of the prompt are missing", backend, i)
			}
		}
		if short.Stats().Preemptions == 0 {
			t.Errorf("%s: nobody was preempted", backend)
		}
	}
}

// TestChoicesSharePages draws several answers to one prompt: all but one find its pages in the cache, and the answers are
// those that they get without one.
func TestChoicesSharePages(t *testing.T) {
	e := open(t, talk, ullm.Backend("ref"))
	bare := open(t, talk, ullm.With(ullm.Options{Backend: "ref", NoPrefixCache: true}))
	prompt := e.Tokenizer().Encode(strings.Repeat("Once upon a time there was ", 8), true)
	var requests []ullm.Request
	for i := range 4 {
		requests = append(requests, ullm.Request{Tokens: prompt, Choice: i, Temperature: ptr(2.0), Seed: ptr(uint64(3)), MaxTokens: 20,
			IgnoreEOS: true, RepetitionPenalty: ptr(1.3)}) // the penalty needs the cached tokens counted
	}
	shared := ask(t, e, requests)
	var found []int
	answers := map[string]bool{}
	for i, r := range requests {
		want, have := ids(ask(t, bare, []ullm.Request{r})[0].Tokens), ids(shared[i].Tokens)
		if !slices.Equal(have, want) {
			t.Errorf("choice %d: %v with shared pages, %v without", i, have, want)
		}
		_, text := texts(shared[i].Tokens)
		answers[text] = true
		found = append(found, shared[i].Tokens[len(have)-1].Usage.Cached)
	}
	slices.Sort(found)
	full := (len(prompt) - 1) / tensor.PageTokens * tensor.PageTokens
	if full == 0 || !slices.Equal(found, []int{0, full, full, full}) {
		t.Errorf("of %d tokens, the choices found %v in the cache", len(prompt), found)
	}
	if len(answers) < 2 {
		t.Error("all choices draw the same")
	}
}
