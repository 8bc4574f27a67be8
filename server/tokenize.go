package server

import (
	"fmt"
	"net/http"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// tokenize answers in vLLM's shape: the tokens of a text, or of a conversation as the chat template renders it.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	e := engineOf(r)
	var q openai.TokenizeRequest
	if err := openai.Decode(r.Body, &q); err != nil {
		writeError(w, errorOf(err))
		return
	}
	text := ""
	switch {
	case q.Prompt != nil && len(q.Messages) == 0:
		text = *q.Prompt
	case q.Prompt == nil && len(q.Messages) > 0:
		if err := checkMessages(q.Messages); err != nil {
			writeError(w, err)
			return
		}
		chat := ullm.Request{Messages: q.Messages, Tools: q.Tools, Kwargs: q.Kwargs}
		var err error
		if text, err = e.Render(r.Context(), &chat, q.AddGenerationPrompt == nil || *q.AddGenerationPrompt); err != nil {
			writeError(w, errorOf(err))
			return
		}
	default:
		writeError(w, openai.Invalid("prompt", "give either prompt or messages"))
		return
	}
	t := e.Tokenizer()
	out := openai.TokenizeResponse{Tokens: t.Encode(text, true), MaxModelLen: e.Info().Sizing.Context}
	addSpecial := q.Prompt != nil // a template writes its own
	if q.AddSpecialTokens != nil {
		addSpecial = *q.AddSpecialTokens
	}
	if addSpecial {
		out.Tokens = t.AddSpecial(out.Tokens)
	}
	out.Count = len(out.Tokens)
	if q.ReturnTokenStrs {
		for _, id := range out.Tokens {
			out.TokenStrs = append(out.TokenStrs, t.TokenString(id))
		}
	}
	writeJSON(w, http.StatusOK, out)
}

// detokenize answers the text of token ids, special tokens kept.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	t := engineOf(r).Tokenizer()
	var q openai.DetokenizeRequest
	if err := openai.Decode(r.Body, &q); err != nil {
		writeError(w, errorOf(err))
		return
	}
	if q.Tokens == nil {
		writeError(w, openai.Invalid("tokens", "is missing"))
		return
	}
	for _, id := range q.Tokens {
		if id < 0 || int(id) >= t.Size() {
			writeError(w, openai.Invalid("tokens", fmt.Sprintf("token id %d is outside the vocabulary of %d", id, t.Size())))
			return
		}
	}
	writeJSON(w, http.StatusOK, openai.DetokenizeResponse{Prompt: t.Decode(q.Tokens, false)})
}
