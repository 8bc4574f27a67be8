// Package e2e finds, for tests, the complete tiny models of model/qwen3/testdata/e2e: they know a few sentences by heart,
// and expected.json beside each has the greedy answers that transformers gives.
package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Model is one of them: "talk", "think" or "talk-q8_0".
type Model struct {
	Path        string // what a user would name
	Completions []Answer
	Chats       []Chat
}

// Answer is a prompt and what must follow.
type Answer struct {
	Prompt       string
	PromptTokens []int32 `json:"prompt_tokens"`
	MaxTokens    int     `json:"max_tokens"`
	Tokens       []int32 // the one that ends the answer included
	Text         string  // without special tokens
	Finish       string  `json:"finish_reason"`
	Logprobs     []float64
}

// Chat is a conversation and what must follow; Prompt is what the chat template makes of the messages.
type Chat struct {
	Messages       []Message
	EnableThinking *bool `json:"enable_thinking"`
	Answer
}

// Message is one message.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Split cuts a chat's text into thinking and answer.
func (c Chat) Split() (reasoning, content string) {
	if rest, ok := strings.CutPrefix(c.Text, "<think>\n"); ok {
		reasoning, content, _ = strings.Cut(rest, "\n</think>\n\n")
		return reasoning, content
	}
	return "", c.Text
}

// Load reads a model's answers.
func Load(t testing.TB, name string) Model {
	t.Helper()
	dir := filepath.Join(Root(t), "model/qwen3/testdata/e2e", name)
	b, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := Model{Path: dir}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	if file := filepath.Join(dir, "model.gguf"); exists(file) {
		m.Path = file
	}
	if len(m.Completions) == 0 || len(m.Chats) == 0 {
		t.Fatalf("%s has no answers", dir)
	}
	return m
}

// Root is the directory of go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
