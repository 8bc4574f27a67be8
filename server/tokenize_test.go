package server_test

import (
	"slices"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
)

type tokenized struct {
	Tokens      []int32
	Count       int
	MaxModelLen int      `json:"max_model_len"`
	TokenStrs   []string `json:"token_strs"`
}

func TestTokenize(t *testing.T) {
	f := serve(t, "think", ullm.Options{})
	m := e2e.Load(t, "think")
	check := func(body map[string]any, want []int32) {
		t.Helper()
		got := post[tokenized](f, "/tokenize", body)
		if !slices.Equal(got.Tokens, want) || got.Count != len(want) || got.MaxModelLen != f.engine.Info().Sizing.Context || got.Tokens == nil {
			t.Errorf("%v: %+v, want %v", body, got, want)
		}
	}
	type detokenized struct{ Prompt string }
	for _, c := range m.Completions {
		check(map[string]any{"prompt": c.Prompt, "model": "any"}, c.PromptTokens)
		check(map[string]any{"prompt": c.Prompt, "add_special_tokens": false}, c.PromptTokens)
		if got := post[detokenized](f, "/detokenize", map[string]any{"tokens": c.PromptTokens}); got.Prompt != c.Prompt {
			t.Errorf("detokenize: %q, want %q", got.Prompt, c.Prompt)
		}
	}
	for _, c := range m.Chats {
		body := map[string]any{"messages": c.Messages}
		if c.EnableThinking != nil {
			body["chat_template_kwargs"] = map[string]any{"enable_thinking": *c.EnableThinking}
		}
		check(body, c.PromptTokens)
		if got := post[detokenized](f, "/detokenize", map[string]any{"tokens": c.PromptTokens}); got.Prompt != c.Prompt {
			t.Errorf("detokenize: %q, want %q", got.Prompt, c.Prompt)
		}
	}
	check(map[string]any{"prompt": ""}, []int32{})
	ask := []any{map[string]any{"role": "user", "content": "Hi"}}
	with := post[tokenized](f, "/tokenize", map[string]any{"messages": ask})
	without := post[tokenized](f, "/tokenize", map[string]any{"messages": ask, "add_generation_prompt": false, "return_token_strs": true})
	if without.Count >= with.Count || !slices.Equal(with.Tokens[:without.Count], without.Tokens) || len(without.TokenStrs) != without.Count || without.TokenStrs[0] != "<|im_start|>" {
		t.Errorf("add_generation_prompt false: %+v, true: %+v", without, with)
	}
	for _, c := range []struct{ path, body, param string }{
		{"/tokenize", `{}`, "prompt"}, {"/tokenize", `{"prompt":"a","messages":[{"role":"user","content":"x"}]}`, "prompt"}, {"/tokenize", `{"prompt":1}`, "prompt"},
		{"/tokenize", `{"messages":[{"role":"x"}]}`, "messages[0].role"}, {"/tokenize", `{"prompt":"x","add_special_tokens":1}`, "add_special_tokens"},
		{"/tokenize", `{"messages":[{"role":"user","content":"x"}],"chat_template":"x"}`, "chat_template"},
		{"/detokenize", `{}`, "tokens"}, {"/detokenize", `{"tokens":"x"}`, "tokens"}, {"/detokenize", `{"tokens":[-1]}`, "tokens"}, {"/detokenize", `{"tokens":[100000]}`, "tokens"},
	} {
		resp, b := f.do("POST", c.path, c.body)
		wantError(t, resp, b, 400, c.param)
	}
}
