package server

import (
	"net/http"

	"github.com/ullm/ullm/server/openai"
)

// health is 200 while the process can still answer, and 503 once the engine is dead.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if e := s.engine.Load(); e != nil && e.Err() != nil {
		writeError(w, openai.Unavailable("the engine has stopped: "+e.Err().Error()))
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ready is 200 while requests are taken.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	e := s.engine.Load()
	status := map[string]any{"status": "ready"}
	switch {
	case s.draining.Load():
		status["status"] = "draining"
	case e == nil:
		s.mu.Lock()
		p := s.progress
		s.mu.Unlock()
		status["status"], status["stage"], status["done_bytes"], status["total_bytes"] = "loading", p.Stage, p.Done, p.Total
	case e.Err() != nil:
		status["status"] = "failed"
	default:
		writeJSON(w, http.StatusOK, status)
		return
	}
	w.Header().Set("Retry-After", retryAfter)
	writeJSON(w, http.StatusServiceUnavailable, status)
}
