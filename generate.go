package ullm

import (
	"context"
	"io"
	"iter"
	"slices"

	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/model/tokenizer"
	"github.com/ullm/ullm/sched"
)

// Token is one step of an answer. Its text may lag behind: a character that spans tokens, or what could become a stop
// text, comes with a later token.
type Token struct {
	ID        int32
	Text      string // of the answer
	Reasoning string // of the thinking before it (Request.Messages only)
	Logprob   float32
	Top       []TokenLogprob // the likeliest tokens, if Logprobs was asked for

	Finish     string // on the last token: "stop" or "length"
	StopReason any    // the stop text (string) or, for an id of StopTokens, the id (int32); nil at the model's own end
	Usage      *Usage // on the last token
}

// TokenLogprob is a token and how likely it was.
type TokenLogprob struct {
	ID      int32
	Logprob float32
	Rank    int // 1 is the likeliest
}

// Usage counts tokens.
type Usage struct{ Prompt, Completion, Cached, Reasoning int }

// PromptLogprob is about one token of the prompt: its own likelihood, and the likeliest in its place. The first token
// has none (nil).
type PromptLogprob struct {
	Token TokenLogprob
	Top   []TokenLogprob
}

// Generation is an answer in the making. Close it at whatever point; it is read by one goroutine.
type Generation struct {
	PromptTokens []int32

	request  *Request
	stream   *sched.Stream
	decoder  *tokenizer.Decoder
	stopper  stopper
	thinking *chat.Thinking // nil: the text is not split
	eos      []int32

	prompt    []*PromptLogprob
	ids       []int32
	usage     Usage
	reasoning bool // the answer began with reasoning, and nothing has come after it
	finished  bool
}

// Generate answers a request, token by token. Breaking out of the loop ends the request.
func (e *Engine) Generate(ctx context.Context, r Request) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		g, err := e.Start(ctx, r)
		if err != nil {
			yield(Token{}, err)
			return
		}
		defer g.Close()
		for {
			t, err := g.Next(ctx)
			if err == io.EOF {
				return
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Chat answers a conversation with the model's recommended sampling.
func (e *Engine) Chat(ctx context.Context, messages ...chat.Message) iter.Seq2[Token, error] {
	return e.Generate(ctx, Request{Messages: messages})
}

// Start queues a request. It does not wait for anything but the rendering of the prompt.
func (e *Engine) Start(ctx context.Context, r Request) (*Generation, error) {
	g, err := e.StartAll(ctx, []Request{r}, 1)
	if err != nil {
		return nil, err
	}
	return g[0], nil
}

// StartAll queues n answers to each request, all of them or none. They come in the order of the requests; the n to one
// count their Choice up.
func (e *Engine) StartAll(ctx context.Context, requests []Request, n int) ([]*Generation, error) {
	var gens []*Generation
	var queue []*sched.Request
	for _, r := range requests {
		prompt, inThinking, err := e.prompt(ctx, &r)
		if err != nil {
			return nil, err
		}
		if slices.Contains(r.Stop, "") {
			return nil, &RequestError{"stop", "must not be empty"}
		}
		for range n {
			q, err := e.lower(&r, prompt)
			if err != nil {
				return nil, err
			}
			queue = append(queue, q)
			gens = append(gens, e.generation(&r, prompt, inThinking))
			r.Choice++
		}
	}
	streams, err := e.loop.Submit(queue...)
	if err != nil {
		return nil, err
	}
	for i, g := range gens {
		g.stream = streams[i]
	}
	return gens, nil
}

// generation has everything but its stream.
func (e *Engine) generation(r *Request, prompt []int32, inThinking bool) *Generation {
	g := &Generation{PromptTokens: prompt, request: r, decoder: e.tokenizer.NewDecoder(!r.KeepSpecial), eos: e.stops,
		stopper: stopper{stops: r.Stop}, usage: Usage{Prompt: len(prompt)}}
	if len(r.Messages) > 0 {
		g.thinking = chat.NewThinking(inThinking)
	}
	if r.PromptLogprobs != nil {
		g.prompt = make([]*PromptLogprob, len(prompt))
	}
	return g
}

// Next waits for the next token. After the last it returns io.EOF.
func (g *Generation) Next(ctx context.Context) (Token, error) {
	if g.finished {
		return Token{}, io.EOF
	}
	for {
		e, err := g.stream.Next(ctx)
		if err != nil {
			return Token{}, err
		}
		if e.Prompt {
			g.promptLogprob(e)
			continue
		}
		return g.token(e), nil
	}
}

// PromptLogprobs has an entry for each token of the prompt once Next has returned for the first time, if the request
// asked for them.
func (g *Generation) PromptLogprobs() []*PromptLogprob { return g.prompt }

// IDs are the ids generated so far.
func (g *Generation) IDs() []int32 { return g.ids }

// Close ends the request if it is still running.
func (g *Generation) Close() { g.stream.Close() }

func (g *Generation) promptLogprob(e sched.Event) {
	g.prompt[e.Index] = &PromptLogprob{
		Token: TokenLogprob{g.PromptTokens[e.Index], e.Sampled.AskLogprob, int(e.Sampled.AskRank)},
		Top:   top(e, *g.request.PromptLogprobs),
	}
}

func top(e sched.Event, n int) []TokenLogprob {
	t := make([]TokenLogprob, n)
	for i := range t {
		t[i] = TokenLogprob{e.Sampled.TopIDs[i], e.Sampled.TopLogprob[i], i + 1}
	}
	return t
}

// token turns a sampled id into text, and ends the answer at a stop text.
func (g *Generation) token(e sched.Event) Token {
	id := e.Sampled.ID
	g.ids = append(g.ids, id)
	g.usage.Completion++
	if len(g.ids) == 1 {
		g.usage.Cached = e.Cached
	}
	t := Token{ID: id, Logprob: e.Sampled.Logprob}
	if g.request.Logprobs != nil {
		t.Top = top(e, *g.request.Logprobs)
	}
	piece := ""
	if e.Finish != sched.FinishStop || g.request.IncludeStop {
		piece = g.decoder.Push(id)
	}
	if e.Finish != sched.Unfinished {
		piece += g.decoder.Flush()
	}
	text, hit := g.stopper.push(piece, len(g.ids) > g.request.MinTokens)
	switch {
	case hit != "":
		if g.request.IncludeStop {
			text += hit
		}
		t.Finish, t.StopReason = "stop", hit
		g.stream.Close()
	case e.Finish == sched.FinishStop:
		t.Finish = "stop"
		if !slices.Contains(g.eos, id) {
			t.StopReason = id
		}
		text += g.stopper.flush()
	case e.Finish == sched.FinishLength:
		t.Finish = "length"
		text += g.stopper.flush()
	}
	g.split(&t, text)
	if t.Finish != "" {
		g.finished = true
		usage := g.usage
		t.Usage = &usage
	}
	return t
}

// split separates thinking from the answer.
func (g *Generation) split(t *Token, text string) {
	if g.thinking == nil {
		t.Text = text
		return
	}
	t.Reasoning, t.Text = g.thinking.Push(text)
	if t.Finish != "" {
		reasoning, content := g.thinking.Flush()
		t.Reasoning += reasoning
		t.Text += content
	}
	// All tokens before the first of the content are the reasoning's, its marks included.
	switch {
	case t.Text != "":
		g.reasoning = false
	case t.Reasoning != "":
		g.reasoning = true
	}
	if g.reasoning {
		g.usage.Reasoning = len(g.ids)
	}
}
