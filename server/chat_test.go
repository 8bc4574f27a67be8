package server_test

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
)

// chatCompletion is an answer of /v1/chat/completions, whole or a chunk of a stream.
type chatCompletion struct {
	ID, Object, Model string
	Created           int64
	Choices           []chatChoice
	Usage             *usage
	PromptTokenIDs    []int32                    `json:"prompt_token_ids"`
	PromptLogprobs    []map[string]promptLogprob `json:"prompt_logprobs"`
}

type chatChoice struct {
	Index          int
	Message, Delta *struct {
		Role, Content    string
		ReasoningContent string `json:"reasoning_content"`
	}
	FinishReason *string `json:"finish_reason"`
	StopReason   any     `json:"stop_reason"`
	Logprobs     *struct{ Content []chatLogprob }
	TokenIDs     []int32 `json:"token_ids"`
}

type chatLogprob struct {
	Token       string
	Logprob     float64
	Bytes       []byte
	TopLogprobs []chatLogprob `json:"top_logprobs"`
}

// joinChat puts the chunks of a stream together.
func joinChat(t *testing.T, chunks []chatCompletion, choices int) chatCompletion {
	t.Helper()
	whole := chatCompletion{ID: chunks[0].ID, Object: "chat.completion", Model: chunks[0].Model, Created: chunks[0].Created,
		Choices: make([]chatChoice, choices), PromptTokenIDs: chunks[0].PromptTokenIDs, PromptLogprobs: chunks[0].PromptLogprobs}
	for i, chunk := range chunks {
		if chunk.ID != whole.ID || chunk.Object != "chat.completion.chunk" || chunk.Model != whole.Model || chunk.Created != whole.Created {
			t.Fatalf("%+v does not belong to %+v", chunk, whole)
		}
		if i > 0 && (chunk.PromptTokenIDs != nil || chunk.PromptLogprobs != nil) {
			t.Fatalf("chunk %d repeats what is said of the prompt", i)
		}
		if chunk.Usage != nil {
			whole.Usage = chunk.Usage
		}
		for _, part := range chunk.Choices {
			c := &whole.Choices[part.Index]
			if c.Message == nil {
				if part.Delta.Role != "assistant" || part.Delta.Content != "" || part.Delta.ReasoningContent != "" {
					t.Fatalf("the first delta is %+v", part.Delta)
				}
				c.Message, c.Index = part.Delta, part.Index
				continue
			}
			if c.FinishReason != nil || part.Delta.Role != "" {
				t.Fatalf("%s behind %s", marshal(t, part), marshal(t, c))
			}
			c.Message.Content += part.Delta.Content
			c.Message.ReasoningContent += part.Delta.ReasoningContent
			c.FinishReason, c.StopReason = part.FinishReason, part.StopReason
			c.TokenIDs = append(c.TokenIDs, part.TokenIDs...)
			if part.Logprobs != nil {
				if c.Logprobs == nil {
					c.Logprobs = part.Logprobs
				} else {
					c.Logprobs.Content = append(c.Logprobs.Content, part.Logprobs.Content...)
				}
			}
		}
	}
	return whole
}

// bothChats asks whole and streamed; the answers must be the same.
func (f *fixture) bothChats(t *testing.T, body map[string]any, choices int) chatCompletion {
	t.Helper()
	delete(body, "stream")
	delete(body, "stream_options")
	whole := post[chatCompletion](f, "/v1/chat/completions", body)
	body["stream_options"] = map[string]any{"include_usage": true}
	streamed := joinChat(t, stream[chatCompletion](f, "/v1/chat/completions", body), choices)
	for _, c := range []*chatCompletion{&whole, &streamed} {
		if c.ID == "" || c.Created == 0 || c.Usage == nil {
			t.Fatalf("%+v", c)
		}
		c.ID, c.Created, c.Usage.PromptDetails.Cached = "", 0, 0
	}
	if !reflect.DeepEqual(whole, streamed) {
		t.Fatalf("streamed %s\nwhole %s", marshal(t, streamed), marshal(t, whole))
	}
	return whole
}

func TestChats(t *testing.T) {
	for _, name := range []string{"talk", "think", "talk-q8_0"} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, name, ullm.Options{ServedName: "tiny"})
			for _, want := range e2e.Load(t, name).Chats {
				body := map[string]any{"messages": want.Messages, "max_completion_tokens": want.MaxTokens, "temperature": 0,
					"return_token_ids": true, "logprobs": true, "top_logprobs": 2}
				if want.EnableThinking != nil {
					body["chat_template_kwargs"] = map[string]any{"enable_thinking": *want.EnableThinking}
				}
				got := f.bothChats(t, body, 1)
				c := got.Choices[0]
				reasoning, content := want.Split()
				if c.Message.Role != "assistant" || c.Message.Content != content || c.Message.ReasoningContent != reasoning || *c.FinishReason != want.Finish ||
					!slices.Equal(c.TokenIDs, want.Tokens) || !slices.Equal(got.PromptTokenIDs, want.PromptTokens) || got.Model != "tiny" {
					t.Errorf("%q: %s", want.Prompt, marshal(t, got))
				}
				var bytes []byte
				for i, l := range c.Logprobs.Content {
					bytes = append(bytes, l.Bytes...)
					if math.Abs(l.Logprob-want.Logprobs[i]) > 0.1 || len(l.TopLogprobs) != 2 || l.TopLogprobs[0].Token != l.Token || l.TopLogprobs[0].Logprob < l.TopLogprobs[1].Logprob {
						t.Errorf("%q: logprob %d: %+v, want %g", want.Prompt, i, l, want.Logprobs[i])
					}
				}
				if !strings.HasPrefix(string(bytes), want.Text) {
					t.Errorf("%q: bytes %q, text %q", want.Prompt, bytes, want.Text)
				}
				u := got.Usage
				if u.Prompt != len(want.PromptTokens) || u.Completion != len(want.Tokens) || u.Total != u.Prompt+u.Completion || (u.CompletionDetails.Reasoning > 0) != (reasoning != "") {
					t.Errorf("%q: usage %+v", want.Prompt, u)
				}
			}
			f.idle()
		})
	}
}

// hello is a conversation whose greedy answer is "Hello! How can I help you?"
func hello(more map[string]any) map[string]any {
	body := map[string]any{"messages": []any{map[string]any{"role": "user", "content": "Hello!"}}, "temperature": 0, "max_tokens": 96}
	for k, v := range more {
		body[k] = v
	}
	return body
}

func TestChatFields(t *testing.T) {
	f := serve(t, "think", ullm.Options{})
	const thought, answer = "The user greets me. I greet back.", "Hello! How can I help you?"
	message := func(role string, content any) map[string]any { return map[string]any{"role": role, "content": content} }
	for _, c := range []struct {
		name                       string
		more                       map[string]any
		reasoning, content, finish string
	}{
		{"plain", nil, thought, answer, "stop"},
		{"no limit", map[string]any{"max_tokens": nil}, thought, answer, "stop"},
		{"no thinking", map[string]any{"chat_template_kwargs": map[string]any{"enable_thinking": false}}, "", answer, "stop"},
		{"no effort", map[string]any{"reasoning_effort": "none"}, "", answer, "stop"},
		{"some effort", map[string]any{"reasoning_effort": "low"}, thought, answer, "stop"},
		{"effort and thinking", map[string]any{"reasoning_effort": "none", "chat_template_kwargs": map[string]any{"enable_thinking": true}}, thought, answer, "stop"},
		{"parts", map[string]any{"messages": []any{message("user", []any{map[string]any{"type": "text", "text": "Hello!"}})}}, thought, answer, "stop"},
		{"developer", map[string]any{"messages": []any{message("developer", "You are a tiny test model."), message("user", "Who are you?")}}, "The system prompt tells who I am.", "I am a tiny test model.", "stop"},
		{"stop in the thinking", map[string]any{"stop": "greets"}, "The user ", "", "stop"},
		{"stop in the answer", map[string]any{"stop": []string{"help"}}, thought, "Hello! How can I ", "stop"},
		{"cut in the thinking", map[string]any{"max_tokens": 5}, "The user", "", "length"},
		{"both limits", map[string]any{"max_completion_tokens": 96, "max_tokens": 3}, thought, answer, "stop"},
		{"neutral fields", map[string]any{"tools": []any{}, "tool_choice": "auto", "functions": nil, "modalities": []string{"text"}, "parallel_tool_calls": true,
			"response_format": map[string]any{"type": "text"}, "add_generation_prompt": true}, thought, answer, "stop"},
		{"tools that must not be called", map[string]any{"tools": []any{map[string]any{"type": "function"}}, "tool_choice": "none"}, thought, answer, "stop"},
	} {
		got := f.bothChats(t, hello(c.more), 1)
		m := got.Choices[0].Message
		if c.finish == "length" {
			c.reasoning = m.ReasoningContent // checked by its length only
			if got.Usage.Completion != 5 || got.Usage.CompletionDetails.Reasoning != 5 || !strings.HasPrefix(thought, m.ReasoningContent) {
				t.Errorf("%s: %s", c.name, marshal(t, got))
			}
		}
		if m.ReasoningContent != c.reasoning || m.Content != c.content || *got.Choices[0].FinishReason != c.finish {
			t.Errorf("%s: %s, want %q %q %s", c.name, marshal(t, got.Choices[0]), c.reasoning, c.content, c.finish)
		}
	}
	many := f.bothChats(t, hello(map[string]any{"n": 3, "prompt_logprobs": 1, "return_token_ids": true}), 3)
	for i, c := range many.Choices {
		if c.Index != i || c.Message.Content != answer || c.Message.ReasoningContent != thought {
			t.Errorf("choice %d: %s", i, marshal(t, c))
		}
	}
	if many.Usage.Prompt != 16 || len(many.PromptLogprobs) != 16 || many.PromptLogprobs[0] != nil || len(many.PromptTokenIDs) != 16 || many.Usage.Completion != 3*39 {
		t.Errorf("%s", marshal(t, many))
	}
	chunks := stream[chatCompletion](f, "/v1/chat/completions", hello(map[string]any{"stream_options": map[string]any{"continuous_usage_stats": true}}))
	for _, c := range chunks {
		if c.Usage == nil || c.Usage.Prompt != 16 {
			t.Fatalf("continuous usage: %s", marshal(t, c))
		}
	}
}

func TestChatRefusals(t *testing.T) {
	f := serve(t, "talk", ullm.Options{ContextLen: 64})
	const ask = `{"messages":[{"role":"user","content":"x"}],`
	for _, c := range []struct{ body, param string }{
		{`{}`, "messages"}, {`{"messages":[]}`, "messages"}, {`{"messages":"x"}`, "messages"}, {`{"messages":["x"]}`, "messages[0]"}, {`{"messages":[null]}`, "messages[0]"},
		{`{"messages":[{"role":"user","content":"x"},{"role":1}]}`, "messages[1]"}, {`{"messages":[{"content":"x"}]}`, "messages[0].role"},
		{`{"messages":[{"role":"robot","content":"x"}]}`, "messages[0].role"}, {`{"messages":[{"role":"user","content":5}]}`, "messages[0]"},
		{`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, "messages[0]"},
		{`{"messages":[{"role":"user","content":"` + strings.Repeat("many words ", 100) + `"}]}`, "messages"},
		{ask + `"max_completion_tokens":0}`, "max_completion_tokens"}, {ask + `"max_tokens":0}`, "max_tokens"}, {ask + `"max_tokens":-1}`, "max_tokens"},
		{ask + `"logprobs":2}`, "logprobs"}, {ask + `"top_logprobs":2}`, "top_logprobs"}, {ask + `"logprobs":true,"top_logprobs":21}`, "logprobs"},
		{ask + `"reasoning_effort":"huge"}`, "reasoning_effort"}, {ask + `"reasoning_effort":1}`, "reasoning_effort"},
		{ask + `"chat_template_kwargs":{"messages":[]}}`, "chat_template_kwargs"}, {ask + `"chat_template_kwargs":[]}`, "chat_template_kwargs"},
		{ask + `"tools":[{"type":"function"}]}`, "tools"}, {ask + `"tools":"x"}`, "tools"}, {ask + `"tool_choice":"required"}`, "tool_choice"},
		{ask + `"tool_choice":{"type":"function"}}`, "tool_choice"}, {ask + `"functions":[{}]}`, "functions"}, {ask + `"function_call":{"name":"f"}}`, "function_call"},
		{ask + `"audio":{"voice":"x"}}`, "audio"}, {ask + `"modalities":["audio"]}`, "modalities"}, {ask + `"response_format":{"type":"json_schema"}}`, "response_format"},
		{ask + `"guided_json":{"a":1}}`, "guided_json"}, {ask + `"add_generation_prompt":false}`, "add_generation_prompt"}, {ask + `"continue_final_message":true}`, "continue_final_message"},
		{ask + `"chat_template":"x"}`, "chat_template"}, {ask + `"documents":[{}]}`, "documents"}, {ask + `"n":129}`, "n"}, {ask + `"stop":[""]}`, "stop"},
	} {
		resp, b := f.do("POST", "/v1/chat/completions", c.body)
		wantError(t, resp, b, 400, c.param)
		if t.Failed() {
			t.Fatalf("%s: %s", c.body[:min(len(c.body), 200)], b)
		}
	}
	f.idle()
}
