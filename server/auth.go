package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/ullm/ullm/server/openai"
)

// authorize asks for the API key, as a bearer token or as Anthropic's clients send it.
func (s *Server) authorize(next http.Handler) http.Handler {
	if s.options.apiKey == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.options.apiKey))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			key = r.Header.Get("X-Api-Key")
		}
		// Hashes have equal lengths, so that the comparison's time tells nothing about the key.
		if have := sha256.Sum256([]byte(key)); subtle.ConstantTimeCompare(have[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, openai.Unauthorized("the API key is missing or wrong; send it as Authorization: Bearer KEY"))
			return
		}
		next.ServeHTTP(w, r)
	})
}
