// Package sdktest talks to the server with the clients that its users have. It stands apart because compiling OpenAI's
// takes minutes.
package sdktest

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
	"github.com/ullm/ullm/server"
)

// TestOpenAIClient talks to the server with OpenAI's own client.
func TestOpenAIClient(t *testing.T) {
	m := e2e.Load(t, "think")
	engine, err := ullm.Open(t.Context(), m.Path, ullm.With(ullm.Options{Backend: "cpu", ServedName: "Tiny/Thinker"}))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	f := httptest.NewServer(server.New(engine, server.APIKey("secret")))
	defer f.Close()
	client := openai.NewClient(option.WithBaseURL(f.URL+"/v1"), option.WithAPIKey("secret"), option.WithMaxRetries(0))
	ctx := t.Context()

	models, err := client.Models.List(ctx)
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "Tiny/Thinker" {
		t.Fatalf("models %+v, %v", models, err)
	}
	if m, err := client.Models.Get(ctx, "Tiny/Thinker"); err != nil || m.ID != "Tiny/Thinker" {
		t.Errorf("model %+v, %v", m, err)
	}
	var refused *openai.Error
	if _, err := client.Models.Get(ctx, "gpt"); !errors.As(err, &refused) || refused.StatusCode != 404 || refused.Code != "model_not_found" {
		t.Errorf("a model that is not there: %v", err)
	}

	for _, want := range m.Chats[:6] {
		params := openai.ChatCompletionNewParams{Model: "Tiny/Thinker", Temperature: openai.Float(0), MaxCompletionTokens: openai.Int(int64(want.MaxTokens)),
			Logprobs: openai.Bool(true), TopLogprobs: openai.Int(2)}
		for _, m := range want.Messages {
			switch m.Role {
			case "system":
				params.Messages = append(params.Messages, openai.SystemMessage(m.Content))
			case "user":
				params.Messages = append(params.Messages, openai.UserMessage(m.Content))
			default:
				params.Messages = append(params.Messages, openai.AssistantMessage(m.Content))
			}
		}
		var more []option.RequestOption
		if want.EnableThinking != nil {
			more = append(more, option.WithJSONSet("chat_template_kwargs.enable_thinking", *want.EnableThinking))
		}
		_, content := want.Split()
		whole, err := client.Chat.Completions.New(ctx, params, more...)
		if err != nil {
			t.Fatal(err)
		}
		c := whole.Choices[0]
		if c.Message.Content != content || c.FinishReason != want.Finish || int(whole.Usage.CompletionTokens) != len(want.Tokens) || len(c.Logprobs.Content) != len(want.Tokens) {
			t.Errorf("%q: %s", want.Prompt, whole.RawJSON())
		}
		params.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(ctx, params, more...)
		var all openai.ChatCompletionAccumulator
		for stream.Next() {
			if !all.AddChunk(stream.Current()) {
				t.Fatalf("a chunk does not fit: %s", stream.Current().RawJSON())
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if got := all.Choices[0]; got.Message.Content != content || got.FinishReason != want.Finish || all.Usage.TotalTokens != whole.Usage.TotalTokens {
			t.Errorf("%q, streamed: %+v", want.Prompt, all)
		}
	}

	completion, err := client.Completions.New(ctx, openai.CompletionNewParams{Model: "Tiny/Thinker", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("The quick brown fox")},
		Temperature: openai.Float(0), MaxTokens: openai.Int(64), Stop: openai.CompletionNewParamsStopUnion{OfStringArray: []string{"lazy"}}})
	if err != nil || completion.Choices[0].Text != " jumps over the " {
		t.Errorf("completion %+v, %v", completion, err)
	}

	if _, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("x")},
		Temperature: openai.Float(-1)}); !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Param != "temperature" || refused.Message == "" {
		t.Errorf("a bad temperature: %v", err)
	}
	stranger := openai.NewClient(option.WithBaseURL(f.URL+"/v1"), option.WithAPIKey("guess"), option.WithMaxRetries(0))
	if _, err := stranger.Models.List(ctx); !errors.As(err, &refused) || refused.StatusCode != 401 || refused.Code != "invalid_api_key" {
		t.Errorf("a wrong key: %v", err)
	}
	if _, err := client.Embeddings.New(ctx, openai.EmbeddingNewParams{Input: openai.EmbeddingNewParamsInputUnion{OfString: openai.String("x")}}); !errors.As(err, &refused) || refused.StatusCode != 400 {
		t.Errorf("embeddings: %v", err)
	}
}
