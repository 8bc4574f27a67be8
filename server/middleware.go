package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// observe logs a line for each request once it is answered, and keeps a panic in one request from ending the process.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		if !s.handlers.begin() {
			panic(http.ErrAbortHandler) // after Close, on a connection that is about to end
		}
		defer s.handlers.end() // when all is written and logged
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		w.Header().Set("Server", "ullm/"+s.options.version)
		defer func() {
			v := recover()
			if v != nil {
				s.log.Error("panic while answering", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
				if ww.Status() != 0 {
					panic(http.ErrAbortHandler) // too late for another answer
				}
				writeError(ww, openai.Internal("internal error"))
			}
			level := slog.LevelInfo
			if r.Method != http.MethodPost {
				level = slog.LevelDebug // health checks and metrics
			}
			s.log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", ww.Status(),
				"bytes", ww.BytesWritten(), "seconds", time.Since(begun).Seconds(), "remote", r.RemoteAddr)
		}()
		next.ServeHTTP(ww, r)
	})
}

// engineKey is under which serving puts the engine into a request's context.
type engineKey struct{}

// serving refuses requests while there is no engine to answer them.
func (s *Server) serving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := s.engine.Load()
		switch {
		case s.draining.Load():
			writeError(w, openai.Unavailable("the server is shutting down"))
		case e == nil:
			writeError(w, openai.Unavailable("the model is still loading"))
		case e.Err() != nil:
			writeError(w, openai.Unavailable("the engine has stopped: "+e.Err().Error()))
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), engineKey{}, e)))
		}
	})
}

// engineOf is the engine that serves a request.
func engineOf(r *http.Request) *ullm.Engine { return r.Context().Value(engineKey{}).(*ullm.Engine) }

// receive reads the body, up to its limit. Until it is there the request counts as not begun: a client that sends half of
// one must not hold up a shutdown.
func (s *Server) receive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.options.maxBody))
		s.answers.begin()
		defer s.answers.end()
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeError(w, openai.TooLarge(fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)))
		case err != nil:
			writeError(w, openai.Invalid("", "the body is incomplete: "+err.Error()))
		default:
			r.Body = io.NopCloser(bytes.NewReader(b))
			next.ServeHTTP(w, r)
		}
	})
}
