package openai

// Model is an entry of GET /v1/models.
type Model struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	OwnedBy     string `json:"owned_by"`
	MaxModelLen int    `json:"max_model_len"`
}

// ModelList is the body of GET /v1/models.
type ModelList struct {
	Object string  `json:"object"`
	Data   []Model `json:"data"`
}

// Usage counts tokens.
type Usage struct {
	PromptTokens            int                      `json:"prompt_tokens"`
	CompletionTokens        int                      `json:"completion_tokens"`
	TotalTokens             int                      `json:"total_tokens"`
	PromptTokensDetails     *PromptTokensDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *CompletionTokensDetails `json:"completion_tokens_details,omitempty"`
}

// PromptTokensDetails says how many tokens of the prompt were cached.
type PromptTokensDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

// CompletionTokensDetails says how many tokens of the answer were thinking.
type CompletionTokensDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
}

// Add sums usages; the prompt counts once however many answers it has.
func (u *Usage) Add(completion, reasoning int) {
	u.CompletionTokens += completion
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	if u.CompletionTokensDetails == nil {
		u.CompletionTokensDetails = &CompletionTokensDetails{}
	}
	u.CompletionTokensDetails.ReasoningTokens += reasoning
}

// PromptLogprobs has, for each token of the prompt, what was likely there, by token id; null for the first.
type PromptLogprobs []map[string]PromptLogprob

// PromptLogprob is vLLM's entry of prompt_logprobs.
type PromptLogprob struct {
	Logprob float64 `json:"logprob"`
	Rank    int     `json:"rank"`
	Token   string  `json:"decoded_token"`
}

// Completion is an answer of POST /v1/completions, whole or a chunk of a stream.
type Completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []CompletionChoice `json:"choices"`
	Usage   *Usage             `json:"usage,omitempty"`
}

// CompletionChoice is one answer.
type CompletionChoice struct {
	Index          int                 `json:"index"`
	Text           string              `json:"text"`
	Logprobs       *CompletionLogprobs `json:"logprobs"`
	FinishReason   *string             `json:"finish_reason"`
	StopReason     any                 `json:"stop_reason"`
	PromptLogprobs PromptLogprobs      `json:"prompt_logprobs,omitempty"`
	PromptTokenIDs []int32             `json:"prompt_token_ids,omitempty"`
	TokenIDs       []int32             `json:"token_ids,omitempty"`
}

// CompletionLogprobs are logprobs as completions have them.
type CompletionLogprobs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogprobs []*float64           `json:"token_logprobs"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

// Chat is an answer of POST /v1/chat/completions.
type Chat struct {
	ID             string         `json:"id"`
	Object         string         `json:"object"`
	Created        int64          `json:"created"`
	Model          string         `json:"model"`
	Choices        []ChatChoice   `json:"choices"`
	Usage          *Usage         `json:"usage,omitempty"`
	PromptLogprobs PromptLogprobs `json:"prompt_logprobs,omitempty"`
	PromptTokenIDs []int32        `json:"prompt_token_ids,omitempty"`
}

// ChatChoice is one answer: Message in a whole one, Delta in a chunk of a stream.
type ChatChoice struct {
	Index        int           `json:"index"`
	Message      *ChatMessage  `json:"message,omitempty"`
	Delta        *ChatDelta    `json:"delta,omitempty"`
	Logprobs     *ChatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	StopReason   any           `json:"stop_reason"`
	TokenIDs     []int32       `json:"token_ids,omitempty"`
}

// ChatMessage is an answer.
type ChatMessage struct {
	Role             string  `json:"role"`
	Content          string  `json:"content"`
	ReasoningContent *string `json:"reasoning_content,omitempty"`
	Refusal          *string `json:"refusal"`
}

// ChatDelta is what a chunk adds to an answer.
type ChatDelta struct {
	Role             string  `json:"role,omitempty"`
	Content          *string `json:"content,omitempty"`
	ReasoningContent *string `json:"reasoning_content,omitempty"`
}

// ChatLogprobs are logprobs as chat completions have them.
type ChatLogprobs struct {
	Content []TokenLogprob `json:"content"`
}

// TokenLogprob is a token, how likely it was, and what else was.
type TokenLogprob struct {
	TopLogprob
	TopLogprobs []TopLogprob `json:"top_logprobs"`
}

// TopLogprob is a token and how likely it was. Bytes are its bytes where the token is no whole character.
type TopLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// TokenizeResponse is the body of POST /tokenize.
type TokenizeResponse struct {
	Count       int      `json:"count"`
	MaxModelLen int      `json:"max_model_len"`
	Tokens      []int32  `json:"tokens"`
	TokenStrs   []string `json:"token_strs,omitempty"`
}

// DetokenizeResponse is the body of POST /detokenize.
type DetokenizeResponse struct {
	Prompt string `json:"prompt"`
}
