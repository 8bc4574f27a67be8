package openai

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Sampling is what completions and chat completions have in common, vLLM's additions included.
type Sampling struct {
	Model             string             `json:"model"`
	N                 *int               `json:"n"`
	Stream            bool               `json:"stream"`
	StreamOptions     *StreamOptions     `json:"stream_options"`
	MaxTokens         *int               `json:"max_tokens"`
	MinTokens         int                `json:"min_tokens"`
	Temperature       *float64           `json:"temperature"`
	TopP              *float64           `json:"top_p"`
	TopK              *int               `json:"top_k"`
	MinP              *float64           `json:"min_p"`
	RepetitionPenalty *float64           `json:"repetition_penalty"`
	PresencePenalty   float64            `json:"presence_penalty"`
	FrequencyPenalty  float64            `json:"frequency_penalty"`
	Seed              *int64             `json:"seed"`
	Stop              StringList         `json:"stop"`
	StopTokenIDs      TokenIDs           `json:"stop_token_ids"`
	IncludeStop       bool               `json:"include_stop_str_in_output"`
	IgnoreEOS         bool               `json:"ignore_eos"`
	SkipSpecialTokens *bool              `json:"skip_special_tokens"`
	AddSpecialTokens  *bool              `json:"add_special_tokens"`
	LogitBias         map[string]float64 `json:"logit_bias"`
	PromptLogprobs    *int               `json:"prompt_logprobs"`
	ReturnTokenIDs    bool               `json:"return_token_ids"`
	Priority          int                `json:"priority"`
}

// StreamOptions of a streamed answer.
type StreamOptions struct {
	IncludeUsage         bool `json:"include_usage"`
	ContinuousUsageStats bool `json:"continuous_usage_stats"`
}

// Bias reads logit_bias, whose keys are token ids as strings.
func (s *Sampling) Bias() (map[int32]float32, *Error) {
	if len(s.LogitBias) == 0 {
		return nil, nil
	}
	out := make(map[int32]float32, len(s.LogitBias))
	for k, v := range s.LogitBias {
		id, err := strconv.ParseInt(k, 10, 32)
		if err != nil {
			return nil, Invalid("logit_bias", fmt.Sprintf("%q is no token id", k))
		}
		out[int32(id)] = float32(v)
	}
	return out, nil
}

// refusedByAll are fields of both kinds of completions.
var refusedByAll = []refusal{
	{field: "response_format", neutral: []string{`{"type":"text"}`}, instead: "structured output is not built yet"},
	{field: "guided_json", instead: "structured output is not built yet"},
	{field: "guided_regex", instead: "structured output is not built yet"},
	{field: "guided_grammar", instead: "structured output is not built yet"},
	{field: "guided_choice", instead: "structured output is not built yet"},
	{field: "structured_outputs", instead: "structured output is not built yet"},
	{field: "best_of", neutral: []string{"1"}, instead: "use n"},
	{field: "use_beam_search"},
	{field: "length_penalty", neutral: []string{"1", "1.0"}},
	{field: "truncate_prompt_tokens", instead: "shorten the prompt"},
	{field: "allowed_token_ids", instead: "use logit_bias"},
	{field: "bad_words", instead: "use logit_bias"},
	{field: "logits_processors"},
	{field: "return_tokens_as_token_ids", instead: "use return_token_ids"},
	{field: "kv_transfer_params"},
}

// CompletionRequest is the body of POST /v1/completions.
type CompletionRequest struct {
	Sampling
	Prompt   Prompt `json:"prompt"`
	Echo     bool   `json:"echo"`
	Logprobs *int   `json:"logprobs"`
}

func (*CompletionRequest) refused() []refusal {
	return append([]refusal{
		{field: "suffix", instead: "this model does not fill in"},
		{field: "prompt_embeds", instead: "send text or token ids"},
	}, refusedByAll...)
}

// ChatPrompt is what a chat template renders.
type ChatPrompt struct {
	Messages            Messages          `json:"messages"`
	Tools               []json.RawMessage `json:"tools"`
	Kwargs              map[string]any    `json:"chat_template_kwargs"`
	AddGenerationPrompt *bool             `json:"add_generation_prompt"`
}

// refusedInChats are fields of whatever has a ChatPrompt.
var refusedInChats = []refusal{
	{field: "continue_final_message"},
	{field: "chat_template", instead: "serve with --chat-template"},
	{field: "documents", instead: "put them into a message"},
	{field: "mm_processor_kwargs"},
}

// ChatRequest is the body of POST /v1/chat/completions.
type ChatRequest struct {
	Sampling
	ChatPrompt
	MaxCompletionTokens *int   `json:"max_completion_tokens"`
	Logprobs            bool   `json:"logprobs"`
	TopLogprobs         *int   `json:"top_logprobs"`
	ReasoningEffort     string `json:"reasoning_effort"`
	ToolChoice          any    `json:"tool_choice"`
}

func (q *ChatRequest) refused() []refusal {
	r := []refusal{
		{field: "tool_choice", neutral: []string{`"none"`, `"auto"`}, instead: "tool calls are not built yet"},
		{field: "functions", instead: "tool calls are not built yet"},
		{field: "function_call", neutral: []string{`"none"`, `"auto"`}, instead: "tool calls are not built yet"},
		{field: "modalities", neutral: []string{`["text"]`}},
		{field: "audio"},
		{field: "web_search_options"},
		{field: "echo"},
		{field: "thinking_token_budget"},
	}
	if q.ToolChoice != "none" {
		r = append(r, refusal{field: "tools", instead: "tool calls are not built yet"})
	}
	return append(append(r, refusedInChats...), refusedByAll...)
}

// TokenizeRequest is the body of POST /tokenize: Prompt or Messages.
type TokenizeRequest struct {
	ChatPrompt
	Prompt           *string `json:"prompt"`
	AddSpecialTokens *bool   `json:"add_special_tokens"`
	ReturnTokenStrs  bool    `json:"return_token_strs"`
}

func (*TokenizeRequest) refused() []refusal { return refusedInChats }

// DetokenizeRequest is the body of POST /detokenize.
type DetokenizeRequest struct {
	Tokens TokenIDs `json:"tokens"`
}
