package openai

import (
	"encoding/json"

	"github.com/ullm/ullm/model/chat"
)

// ChatPrompt is what a chat template renders.
type ChatPrompt struct {
	Messages []chat.Message    `json:"messages"`
	Tools    []json.RawMessage `json:"tools"`
	Kwargs   map[string]any    `json:"chat_template_kwargs"`
}

// TokenizeRequest is the body of POST /tokenize: Prompt or Messages.
type TokenizeRequest struct {
	ChatPrompt
	Model               string  `json:"model"`
	Prompt              *string `json:"prompt"`
	AddSpecialTokens    *bool   `json:"add_special_tokens"`
	AddGenerationPrompt *bool   `json:"add_generation_prompt"`
	ReturnTokenStrs     bool    `json:"return_token_strs"`
}

// TokenizeResponse is its answer.
type TokenizeResponse struct {
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Tokens      []int32  `json:"tokens"`
	TokenStrs   []string `json:"token_strs,omitempty"`
}

// DetokenizeRequest is the body of POST /detokenize.
type DetokenizeRequest struct {
	Model  string  `json:"model"`
	Tokens []int32 `json:"tokens"`
}

// DetokenizeResponse is its answer.
type DetokenizeResponse struct {
	Prompt string `json:"prompt"`
}
