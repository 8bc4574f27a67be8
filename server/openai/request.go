package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Sampling is what completions and chat completions have in common, vLLM's additions included.
type Sampling struct {
	Model               string             `json:"model"`
	N                   *int               `json:"n"`
	Stream              bool               `json:"stream"`
	StreamOptions       *StreamOptions     `json:"stream_options"`
	MaxTokens           *int               `json:"max_tokens"`
	MinTokens           int                `json:"min_tokens"`
	Temperature         *float64           `json:"temperature"`
	TopP                *float64           `json:"top_p"`
	TopK                *int               `json:"top_k"`
	MinP                *float64           `json:"min_p"`
	RepetitionPenalty   *float64           `json:"repetition_penalty"`
	PresencePenalty     float64            `json:"presence_penalty"`
	FrequencyPenalty    float64            `json:"frequency_penalty"`
	Seed                *int64             `json:"seed"`
	Stop                StringList         `json:"stop"`
	StopTokenIDs        []int32            `json:"stop_token_ids"`
	IncludeStop         bool               `json:"include_stop_str_in_output"`
	IgnoreEOS           bool               `json:"ignore_eos"`
	SkipSpecialTokens   *bool              `json:"skip_special_tokens"`
	AddSpecialTokens    *bool              `json:"add_special_tokens"`
	LogitBias           map[string]float64 `json:"logit_bias"`
	PromptLogprobs      *int               `json:"prompt_logprobs"`
	ReturnTokenIDs      bool               `json:"return_token_ids"`
	Priority            int                `json:"priority"`
	GuidedJSON          json.RawMessage    `json:"guided_json"`
	GuidedRegex         json.RawMessage    `json:"guided_regex"`
	GuidedGrammar       json.RawMessage    `json:"guided_grammar"`
	GuidedChoice        json.RawMessage    `json:"guided_choice"`
	StructuredOutputs   json.RawMessage    `json:"structured_outputs"`
	ResponseFormat      *ResponseFormat    `json:"response_format"`
	UseBeamSearch       bool               `json:"use_beam_search"`
	KVTransferParams    json.RawMessage    `json:"kv_transfer_params"`
	TruncatePrompt      *int               `json:"truncate_prompt_tokens"`
	AllowedTokenIDs     []int32            `json:"allowed_token_ids"`
	BadWords            []string           `json:"bad_words"`
	LengthPenalty       *float64           `json:"length_penalty"`
	ThinkingTokenBudget *int               `json:"thinking_token_budget"`
}

// StreamOptions of a streamed answer.
type StreamOptions struct {
	IncludeUsage         bool `json:"include_usage"`
	ContinuousUsageStats bool `json:"continuous_usage_stats"`
}

// ResponseFormat asks for structured output.
type ResponseFormat struct {
	Type string `json:"type"`
}

// Unsupported names the first field that is known, used, and not supported.
func (s *Sampling) Unsupported() *Error {
	used := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
	for _, f := range []struct {
		field string
		used  bool
	}{
		{"guided_json", used(s.GuidedJSON)}, {"guided_regex", used(s.GuidedRegex)},
		{"guided_grammar", used(s.GuidedGrammar)}, {"guided_choice", used(s.GuidedChoice)},
		{"structured_outputs", used(s.StructuredOutputs)},
		{"response_format", s.ResponseFormat != nil && s.ResponseFormat.Type != "text"},
		{"use_beam_search", s.UseBeamSearch}, {"kv_transfer_params", used(s.KVTransferParams)},
		{"truncate_prompt_tokens", s.TruncatePrompt != nil}, {"allowed_token_ids", len(s.AllowedTokenIDs) > 0},
		{"bad_words", len(s.BadWords) > 0}, {"length_penalty", s.LengthPenalty != nil && *s.LengthPenalty != 1},
		{"thinking_token_budget", s.ThinkingTokenBudget != nil},
	} {
		if f.used {
			return NotSupported(f.field, f.field+" is not supported yet")
		}
	}
	return nil
}

// CompletionRequest is the body of POST /v1/completions.
type CompletionRequest struct {
	Sampling
	Prompt   Prompt  `json:"prompt"`
	Echo     bool    `json:"echo"`
	Logprobs *int    `json:"logprobs"`
	Suffix   *string `json:"suffix"`
	BestOf   *int    `json:"best_of"`
}

// ChatRequest is the body of POST /v1/chat/completions.
type ChatRequest struct {
	Sampling
	ChatPrompt
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Logprobs            bool            `json:"logprobs"`
	TopLogprobs         *int            `json:"top_logprobs"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ParallelToolCalls   *bool           `json:"parallel_tool_calls"`
	Functions           json.RawMessage `json:"functions"`
	FunctionCall        json.RawMessage `json:"function_call"`
	Modalities          []string        `json:"modalities"`
	Audio               json.RawMessage `json:"audio"`
	ReasoningEffort     string          `json:"reasoning_effort"`
	AddGenerationPrompt *bool           `json:"add_generation_prompt"`
	ContinueFinal       bool            `json:"continue_final_message"`
}

// StringList is a string, a list of strings, or null.
type StringList []string

// UnmarshalJSON reads any of the forms.
func (l *StringList) UnmarshalJSON(b []byte) error {
	var one string
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	if b[0] == '"' {
		if err := json.Unmarshal(b, &one); err != nil {
			return err
		}
		*l = StringList{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return errors.New("want a string or a list of strings")
	}
	*l = many
	return nil
}

// Prompt is one or more prompts, each a text or token ids.
type Prompt []PromptItem

// PromptItem is one prompt: Tokens if they are not nil, else Text.
type PromptItem struct {
	Text   string
	Tokens []int32
}

// UnmarshalJSON reads a string, a list of strings, a list of token ids, or a list of lists of token ids.
func (p *Prompt) UnmarshalJSON(b []byte) error {
	var items []json.RawMessage
	var text string
	if json.Unmarshal(b, &text) == nil && b[0] == '"' {
		*p = Prompt{{Text: text}}
		return nil
	}
	bad := errors.New("want a string, a list of strings, a list of token ids, or a list of lists of token ids")
	if json.Unmarshal(b, &items) != nil || len(items) == 0 {
		return bad
	}
	switch items[0][0] {
	case '"':
		for _, raw := range items {
			if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
				return bad
			}
			*p = append(*p, PromptItem{Text: text})
		}
	case '[':
		for _, raw := range items {
			tokens := []int32{}
			if json.Unmarshal(raw, &tokens) != nil {
				return bad
			}
			*p = append(*p, PromptItem{Tokens: tokens})
		}
	default:
		tokens := []int32{}
		if json.Unmarshal(b, &tokens) != nil {
			return bad
		}
		*p = Prompt{{Tokens: tokens}}
	}
	return nil
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

// Decode reads a request's body, which must be one JSON object.
func Decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	if err := d.Decode(into); err != nil {
		var kind *json.UnmarshalTypeError
		var known *Error
		switch {
		case errors.As(err, &known):
			return known
		case errors.As(err, &kind):
			return Invalid(kind.Field, fmt.Sprintf("%s: a JSON %s cannot be read here", kind.Field, kind.Value))
		case errors.Is(err, io.EOF):
			return Invalid("", "the body is empty; send a JSON object")
		}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
			return Invalid("", "the body is not valid JSON: "+err.Error())
		}
		return bodyError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Invalid("", "there is more behind the JSON object")
	}
	return nil
}

// bodyError keeps errors of the connection, and turns those of our own UnmarshalJSON methods into a mistake of the
// request.
func bodyError(err error) error {
	type timeout interface{ Timeout() bool }
	var t timeout
	if errors.As(err, &t) {
		return err
	}
	var large interface{ Error() string }
	if errors.As(err, &large) && fmt.Sprintf("%T", err) == "*http.MaxBytesError" {
		return err
	}
	return Invalid("", err.Error())
}
