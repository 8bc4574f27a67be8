package golden

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Answers are the greedy answers of a complete model (model/qwen3/testdata/e2e) by transformers' generate, with texts
// as a client of the server would see them.
type Answers struct {
	Path        string       `json:"-"` // what a user would name: a Hugging Face directory or a .gguf file
	Completions []Completion `json:"completions"`
	Chats       []Chat       `json:"chats"`
}

// Completion is a prompt and its greedy continuation.
type Completion struct {
	Prompt       string    `json:"prompt"`
	PromptTokens []int32   `json:"prompt_tokens"`
	MaxTokens    int       `json:"max_tokens"`
	Tokens       []int32   `json:"tokens"`        // generated, the end-of-sequence id included
	Text         string    `json:"text"`          // of Tokens, without special tokens such as <|im_end|>
	FinishReason string    `json:"finish_reason"` // "stop" or "length"
	LogProbs     []float64 `json:"logprobs"`      // of Tokens, in float32
	MinMargin    float64   `json:"min_margin"`    // the closest that a second-best id came, in logprob
}

// Chat is a conversation and its greedy answer. Prompt is what the model's template makes of Messages.
// Where the model thinks, Text holds <think>…</think> and the answer.
type Chat struct {
	Messages       []Message `json:"messages"`
	EnableThinking *bool     `json:"enable_thinking"` // nil: not given to the template
	Completion
}

// Message is one turn of a conversation.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// LoadAnswers reads the answers of one model: dir holds expected.json and either a Hugging Face directory's files or
// model.gguf.
func LoadAnswers(dir string) (Answers, error) {
	a := Answers{Path: dir}
	data, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		return a, fmt.Errorf("golden: %w", err)
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("golden: %s: %w", dir, err)
	}
	if file := filepath.Join(dir, "model.gguf"); exists(file) {
		a.Path = file
	}
	return a, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
