package server_test

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
)

// completion is an answer of /v1/completions, whole or a chunk of a stream.
type completion struct {
	ID, Object, Model string
	Created           int64
	Choices           []completionChoice
	Usage             *usage
}

type completionChoice struct {
	Index          int
	Text           string
	FinishReason   *string `json:"finish_reason"`
	StopReason     any     `json:"stop_reason"`
	Logprobs       *completionLogprobs
	PromptTokenIDs []int32                    `json:"prompt_token_ids"`
	TokenIDs       []int32                    `json:"token_ids"`
	PromptLogprobs []map[string]promptLogprob `json:"prompt_logprobs"`
}

type completionLogprobs struct {
	Tokens        []string
	TokenLogprobs []*float64           `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

type promptLogprob struct {
	Logprob float64
	Rank    int
	Token   string `json:"decoded_token"`
}

type usage struct {
	Prompt        int `json:"prompt_tokens"`
	Completion    int `json:"completion_tokens"`
	Total         int `json:"total_tokens"`
	PromptDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// joinCompletion puts the chunks of a stream together.
func joinCompletion(t *testing.T, chunks []completion, choices int) completion {
	t.Helper()
	whole := completion{ID: chunks[0].ID, Object: chunks[0].Object, Model: chunks[0].Model, Created: chunks[0].Created,
		Choices: make([]completionChoice, choices)}
	for _, chunk := range chunks {
		if chunk.ID != whole.ID || chunk.Object != "text_completion" || chunk.Model != whole.Model || chunk.Created != whole.Created {
			t.Fatalf("%+v does not belong to %+v", chunk, whole)
		}
		if chunk.Usage != nil {
			whole.Usage = chunk.Usage
		}
		for _, part := range chunk.Choices {
			c := &whole.Choices[part.Index]
			if c.FinishReason != nil {
				t.Fatalf("choice %d goes on after its end", part.Index)
			}
			c.Index = part.Index
			c.Text += part.Text
			c.FinishReason, c.StopReason = part.FinishReason, part.StopReason
			c.TokenIDs = append(c.TokenIDs, part.TokenIDs...)
			c.PromptTokenIDs = append(c.PromptTokenIDs, part.PromptTokenIDs...)
			c.PromptLogprobs = append(c.PromptLogprobs, part.PromptLogprobs...)
			if l := part.Logprobs; l != nil {
				if c.Logprobs == nil {
					c.Logprobs = &completionLogprobs{}
				}
				c.Logprobs.Tokens = append(c.Logprobs.Tokens, l.Tokens...)
				c.Logprobs.TokenLogprobs = append(c.Logprobs.TokenLogprobs, l.TokenLogprobs...)
				c.Logprobs.TopLogprobs = append(c.Logprobs.TopLogprobs, l.TopLogprobs...)
				c.Logprobs.TextOffset = append(c.Logprobs.TextOffset, l.TextOffset...)
			}
		}
	}
	return whole
}

// bothCompletions asks whole and streamed; the answers must be the same, and are returned without what differs: the id,
// the time and what was cached.
func (f *fixture) bothCompletions(t *testing.T, body map[string]any, choices int) completion {
	t.Helper()
	delete(body, "stream")
	delete(body, "stream_options")
	whole := post[completion](f, "/v1/completions", body)
	body["stream_options"] = map[string]any{"include_usage": true}
	streamed := joinCompletion(t, stream[completion](f, "/v1/completions", body), choices)
	for _, c := range []*completion{&whole, &streamed} {
		if c.ID == "" || c.Created == 0 || c.Usage == nil {
			t.Fatalf("%+v", c)
		}
		c.ID, c.Created, c.Usage.PromptDetails.Cached = "", 0, 0
	}
	if !reflect.DeepEqual(whole, streamed) {
		t.Fatalf("streamed %+v\nwhole %+v", marshal(t, streamed), marshal(t, whole))
	}
	return whole
}

func TestCompletions(t *testing.T) {
	for _, name := range []string{"talk", "think", "talk-q8_0"} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, name, ullm.Options{ServedName: "tiny"})
			for i, want := range e2e.Load(t, name).Completions {
				forms := []any{want.Prompt, want.PromptTokens, []string{want.Prompt}, [][]int32{want.PromptTokens}}
				for _, prompt := range []any{forms[i%4], forms[(i+1)%4]} {
					got := f.bothCompletions(t, map[string]any{"model": "whatever", "prompt": prompt, "max_tokens": want.MaxTokens,
						"temperature": 0, "return_token_ids": true, "logprobs": 1}, 1)
					c := got.Choices[0]
					if c.Text != want.Text || *c.FinishReason != want.Finish || !slices.Equal(c.TokenIDs, want.Tokens) ||
						!slices.Equal(c.PromptTokenIDs, want.PromptTokens) || got.Model != "tiny" || got.Object != "text_completion" {
						t.Errorf("%q: %s", want.Prompt, marshal(t, got))
					}
					for i, l := range c.Logprobs.TokenLogprobs {
						if math.Abs(*l-want.Logprobs[i]) > 0.1 || len(c.Logprobs.TopLogprobs[i]) < 1 {
							t.Errorf("%q: logprob %d: %g, want %g", want.Prompt, i, *l, want.Logprobs[i])
						}
					}
					if u := got.Usage; u.Prompt != len(want.PromptTokens) || u.Completion != len(want.Tokens) || u.Total != u.Prompt+u.Completion {
						t.Errorf("%q: usage %+v", want.Prompt, u)
					}
				}
			}
			f.idle()
		})
	}
}

// fox is a prompt whose greedy continuation is " jumps over the lazy dog."
func fox(more map[string]any) map[string]any {
	body := map[string]any{"prompt": "The quick brown fox", "max_tokens": 64, "temperature": 0}
	for k, v := range more {
		body[k] = v
	}
	return body
}

func TestCompletionFields(t *testing.T) {
	f := serve(t, "talk", ullm.Options{})
	for _, c := range []struct {
		name   string
		more   map[string]any
		text   string
		finish string
		reason any
	}{
		{"stop", map[string]any{"stop": "lazy"}, " jumps over the ", "stop", "lazy"},
		{"stops", map[string]any{"stop": []string{"dog", "the", "r t"}}, " jumps ove", "stop", "r t"},
		{"stop included", map[string]any{"stop": "lazy", "include_stop_str_in_output": true}, " jumps over the lazy", "stop", "lazy"},
		{"null", map[string]any{"stop": nil, "seed": nil, "logprobs": nil, "n": nil, "logit_bias": nil, "stream": nil}, " jumps over the lazy dog.", "stop", nil},
		{"max_tokens", map[string]any{"max_tokens": 2}, " ju", "length", nil},
		{"echo", map[string]any{"echo": true, "stop": "over"}, "The quick brown fox jumps ", "stop", "over"},
		{"unknown fields", map[string]any{"user": "me", "nonsense": map[string]any{"a": []int{1}}}, " jumps over the lazy dog.", "stop", nil},
		{"neutral fields", map[string]any{"response_format": map[string]any{"type": "text"}, "best_of": 1, "suffix": "", "top_k": -1,
			"guided_json": nil, "use_beam_search": false, "length_penalty": 1.0, "priority": 1}, " jumps over the lazy dog.", "stop", nil},
		{"special tokens", map[string]any{"skip_special_tokens": false, "include_stop_str_in_output": true}, " jumps over the lazy dog.<|endoftext|>", "stop", nil},
		{"no added tokens", map[string]any{"add_special_tokens": false}, " jumps over the lazy dog.", "stop", nil},
	} {
		got := f.bothCompletions(t, fox(c.more), 1).Choices[0]
		if got.Text != c.text || *got.FinishReason != c.finish || got.StopReason != c.reason {
			t.Errorf("%s: %s, want %q %s %v", c.name, marshal(t, got), c.text, c.finish, c.reason)
		}
	}

	plain := f.bothCompletions(t, fox(map[string]any{"return_token_ids": true}), 1).Choices[0].TokenIDs
	comma := plain[3]
	got := f.bothCompletions(t, fox(map[string]any{"stop_token_ids": []int32{comma}}), 1).Choices[0]
	if *got.FinishReason != "stop" || got.StopReason != float64(comma) || !strings.HasPrefix(" jumps over the lazy dog.", got.Text) {
		t.Errorf("stop_token_ids: %s", marshal(t, got))
	}
	banned := f.bothCompletions(t, fox(map[string]any{"logit_bias": map[string]any{fmt.Sprint(plain[0]): -100}, "max_tokens": 1, "return_token_ids": true}), 1).Choices[0]
	if banned.TokenIDs[0] == plain[0] {
		t.Error("logit_bias did not ban a token")
	}
	if got := f.bothCompletions(t, fox(map[string]any{"ignore_eos": true, "max_tokens": 40}), 1); *got.Choices[0].FinishReason != "length" || got.Usage.Completion != 40 {
		t.Errorf("ignore_eos: %s", marshal(t, got))
	}
	if got := f.bothCompletions(t, fox(map[string]any{"min_tokens": 30}), 1); got.Usage.Completion <= 30 {
		t.Errorf("min_tokens: %s", marshal(t, got))
	}
	if got := f.bothCompletions(t, map[string]any{"prompt": "The quick", "ignore_eos": true}, 1); got.Usage.Completion != 16 {
		t.Errorf("max_tokens is %d where it is not given, want 16", got.Usage.Completion)
	}
	many := f.bothCompletions(t, map[string]any{"prompt": []string{"The quick brown fox", "One, two, three, four, five"}, "max_tokens": 30, "temperature": 0, "n": 2}, 4)
	for i, c := range many.Choices {
		want := []string{" jumps over the lazy dog.", ", six, seven, eight, nine, ten."}[i/2]
		if c.Index != i || c.Text != want {
			t.Errorf("choice %d: %s, want %q", i, marshal(t, c), want)
		}
	}
	if many.Usage.Prompt != 10+12 || many.Usage.Completion != 2*18+2*23 {
		t.Errorf("usage of all: %+v", many.Usage)
	}
}

func TestSeeds(t *testing.T) {
	f := serve(t, "talk", ullm.Options{})
	ask := func(more map[string]any) (texts []string) {
		body := map[string]any{"prompt": "x", "max_tokens": 20, "temperature": 2, "top_k": 0, "top_p": 1, "ignore_eos": true, "n": 3, "return_token_ids": true}
		for k, v := range more {
			body[k] = v
		}
		for _, c := range post[completion](f, "/v1/completions", body).Choices {
			texts = append(texts, fmt.Sprint(c.TokenIDs))
		}
		return texts
	}
	first := ask(map[string]any{"seed": 7})
	if !slices.Equal(first, ask(map[string]any{"seed": 7})) {
		t.Error("the same seed gives other answers")
	}
	if first[0] == first[1] || first[1] == first[2] {
		t.Error("choices draw alike")
	}
	if slices.Equal(first, ask(map[string]any{"seed": -7})) || slices.Equal(ask(nil), ask(nil)) {
		t.Error("other seeds give the same answers")
	}
}

func TestCompletionLogprobs(t *testing.T) {
	f := serve(t, "talk", ullm.Options{})
	got := f.bothCompletions(t, fox(map[string]any{"logprobs": 3, "echo": true, "prompt_logprobs": 2, "max_tokens": 5}), 1).Choices[0]
	l := got.Logprobs
	if n := 10 + 5; len(l.Tokens) != n || len(l.TokenLogprobs) != n || len(l.TopLogprobs) != n || len(l.TextOffset) != n {
		t.Fatalf("%s", marshal(t, l))
	}
	if text := strings.Join(l.Tokens, ""); text != got.Text {
		t.Errorf("tokens %q, text %q", text, got.Text)
	}
	if len(got.PromptLogprobs) != 10 || got.PromptLogprobs[0] != nil {
		t.Fatalf("prompt_logprobs %s", marshal(t, got.PromptLogprobs))
	}
	for i := range l.Tokens {
		if l.TextOffset[i] != len(strings.Join(l.Tokens[:i], "")) {
			t.Errorf("token %d: offset %d", i, l.TextOffset[i])
		}
		if i == 0 {
			if l.TokenLogprobs[0] != nil || l.TopLogprobs[0] != nil {
				t.Error("the first token has a logprob")
			}
			continue
		}
		if n := len(l.TopLogprobs[i]); n < 3-1 || n > 4 || l.TopLogprobs[i][l.Tokens[i]] != *l.TokenLogprobs[i] {
			t.Errorf("token %d: %v among %v", i, *l.TokenLogprobs[i], l.TopLogprobs[i])
		}
		if i < 10 {
			found := false
			for _, p := range got.PromptLogprobs[i] {
				found = found || p.Token == l.Tokens[i] && p.Logprob == *l.TokenLogprobs[i] && p.Rank >= 1
			}
			if !found || len(got.PromptLogprobs[i]) < 2 {
				t.Errorf("prompt token %d (%q): %v", i, l.Tokens[i], got.PromptLogprobs[i])
			}
		}
	}
}

// TestCompletionRefusals is about what is answered with 400.
func TestCompletionRefusals(t *testing.T) {
	f := serve(t, "talk", ullm.Options{ContextLen: 64})
	long := `"` + strings.Repeat("many words ", 100) + `"`
	for _, c := range []struct{ body, param string }{
		{``, ""}, {`  `, ""}, {`{`, ""}, {`null`, ""}, {`[]`, ""}, {`"x"`, ""}, {`{"prompt":"x"} {}`, ""}, {`{"prompt":"x"`, ""}, {"\xff\xfe", ""},
		{`{}`, "prompt"}, {`{"prompt":null}`, "prompt"}, {`{"prompt":""}`, "prompt"}, {`{"prompt":[]}`, "prompt"}, {`{"prompt":1}`, "prompt"},
		{`{"prompt":{}}`, "prompt"}, {`{"prompt":["a",1]}`, "prompt"}, {`{"prompt":[1,"a"]}`, "prompt"}, {`{"prompt":[1,null]}`, "prompt"},
		{`{"prompt":[[1],"a"]}`, "prompt"}, {`{"prompt":[[1],[1.5]]}`, "prompt"}, {`{"prompt":["a",null]}`, "prompt"}, {`{"prompt":[null]}`, "prompt"},
		{`{"prompt":[[]]}`, "prompt"}, {`{"prompt":[-1]}`, "prompt"}, {`{"prompt":[100000]}`, "prompt"}, {`{"prompt":[99999999999]}`, "prompt"},
		{`{"prompt":` + long + `}`, "prompt"}, {`{"prompt":["x",` + long + `]}`, "prompt"}, {`{"prompt":[` + strings.Repeat("1,", 63) + `1]}`, "prompt"},
		{`{"prompt":"x","max_tokens":0}`, "max_tokens"}, {`{"prompt":"x","max_tokens":"5"}`, "max_tokens"}, {`{"prompt":"x","max_tokens":1.5}`, "max_tokens"},
		{`{"prompt":"x","temperature":-1}`, "temperature"}, {`{"prompt":"x","temperature":"hot"}`, "temperature"}, {`{"prompt":"x","temperature":1e9}`, "temperature"},
		{`{"prompt":"x","top_p":-0.1}`, "top_p"}, {`{"prompt":"x","top_p":1.1}`, "top_p"}, {`{"prompt":"x","top_k":-2}`, "top_k"}, {`{"prompt":"x","min_p":2}`, "min_p"},
		{`{"prompt":"x","repetition_penalty":0}`, "repetition_penalty"}, {`{"prompt":"x","presence_penalty":3}`, "presence_penalty"},
		{`{"prompt":"x","frequency_penalty":-3}`, "frequency_penalty"}, {`{"prompt":"x","seed":1.5}`, "seed"}, {`{"prompt":"x","seed":"a"}`, "seed"},
		{`{"prompt":"x","n":0}`, "n"}, {`{"prompt":"x","n":1000}`, "n"}, {`{"prompt":["x","y"],"n":65}`, "n"},
		{`{"prompt":"x","stop":1}`, "stop"}, {`{"prompt":"x","stop":[1]}`, "stop"}, {`{"prompt":"x","stop":""}`, "stop"},
		{`{"prompt":"x","stop":["` + strings.Repeat(`a","`, 16) + `b"]}`, "stop"}, {`{"prompt":"x","stop":{}}`, "stop"},
		{`{"prompt":"x","stop_token_ids":[-1]}`, "stop_token_ids"}, {`{"prompt":"x","stop_token_ids":["a"]}`, "stop_token_ids"}, {`{"prompt":"x","stop_token_ids":[null]}`, "stop_token_ids"},
		{`{"prompt":"x","logit_bias":{"a":1}}`, "logit_bias"}, {`{"prompt":"x","logit_bias":{"1":101}}`, "logit_bias"}, {`{"prompt":"x","logit_bias":{"1":"a"}}`, "logit_bias"},
		{`{"prompt":"x","logit_bias":{"5000":1}}`, "logit_bias"}, {`{"prompt":"x","logit_bias":[]}`, "logit_bias"},
		{`{"prompt":"x","logprobs":21}`, "logprobs"}, {`{"prompt":"x","logprobs":-1}`, "logprobs"}, {`{"prompt":"x","logprobs":true}`, "logprobs"},
		{`{"prompt":"x","prompt_logprobs":21}`, "prompt_logprobs"}, {`{"prompt":"x","min_tokens":17}`, "min_tokens"}, {`{"prompt":"x","min_tokens":-1}`, "min_tokens"},
		{`{"prompt":"x","stream_options":{"include_usage":true}}`, "stream_options"}, {`{"prompt":"x","stream":true,"stream_options":{"include_usage":1}}`, "stream_options.include_usage"},
		{`{"prompt":"x","stream":"yes"}`, "stream"},
		{`{"prompt":"x","suffix":"y"}`, "suffix"}, {`{"prompt":"x","best_of":2}`, "best_of"}, {`{"prompt":"x","response_format":{"type":"json_object"}}`, "response_format"},
		{`{"prompt":"x","response_format":"json"}`, "response_format"}, {`{"prompt":"x","guided_regex":"a+"}`, "guided_regex"}, {`{"prompt":"x","guided_grammar":"root ::= x"}`, "guided_grammar"},
		{`{"prompt":"x","guided_json":{"type":"object"}}`, "guided_json"}, {`{"prompt":"x","guided_choice":["a"]}`, "guided_choice"}, {`{"prompt":"x","structured_outputs":{"regex":"a"}}`, "structured_outputs"},
		{`{"prompt":"x","use_beam_search":true}`, "use_beam_search"}, {`{"prompt":"x","bad_words":["a"]}`, "bad_words"}, {`{"prompt":"x","allowed_token_ids":[1]}`, "allowed_token_ids"},
		{`{"prompt":"x","truncate_prompt_tokens":5}`, "truncate_prompt_tokens"}, {`{"prompt_embeds":"AAAA"}`, "prompt_embeds"},
	} {
		resp, b := f.do("POST", "/v1/completions", c.body)
		wantError(t, resp, b, 400, c.param)
		if t.Failed() {
			t.Fatalf("%s: %s", c.body[:min(len(c.body), 200)], b)
		}
	}
	f.idle()
}
