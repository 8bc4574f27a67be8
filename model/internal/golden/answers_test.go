package golden_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ullm/ullm/model/chat"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/internal/golden"
)

// TestAnswersTexts holds the product's tokenizer and template against what transformers made of the same files: prompts,
// their tokens, and the texts of the answers.
func TestAnswersTexts(t *testing.T) {
	for _, name := range []string{"talk", "think", "talk-q8_0"} {
		t.Run(name, func(t *testing.T) {
			a, err := golden.LoadAnswers(filepath.Join("../../qwen3/testdata/e2e", name))
			if err != nil {
				t.Fatal(err)
			}
			f, err := files.Open(a.Path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if len(f.Config.EOS) != 2 || f.Config.Generation.Temperature == nil || *f.Config.Generation.Temperature != 0.6 {
				t.Errorf("EOS %v, generation defaults %+v", f.Config.EOS, f.Config.Generation)
			}
			tokens, err := f.Tokenizer()
			if err != nil {
				t.Fatal(err)
			}
			template, err := chat.Parse(f.Template)
			if err != nil {
				t.Fatal(err)
			}
			completions := a.Completions
			for _, c := range a.Chats {
				completions = append(completions, c.Completion)
				in := chat.Input{AddGenerationPrompt: true}
				for _, m := range c.Messages {
					in.Messages = append(in.Messages, chat.Message{Role: m.Role, Content: m.Content})
				}
				if c.EnableThinking != nil {
					in.Kwargs = map[string]any{"enable_thinking": *c.EnableThinking}
				}
				if got, err := template.Render(context.Background(), in); err != nil || got != c.Prompt {
					t.Errorf("template: error %v, got %q, want %q", err, got, c.Prompt)
				}
			}
			for _, c := range completions {
				if got := tokens.Encode(c.Prompt, true); !slices.Equal(got, c.PromptTokens) {
					t.Errorf("tokens of %q: got %v, want %v", c.Prompt, got, c.PromptTokens)
				}
				if got := tokens.Decode(c.Tokens, true); got != c.Text {
					t.Errorf("text: got %q, want %q", got, c.Text)
				}
			}
		})
	}
}
