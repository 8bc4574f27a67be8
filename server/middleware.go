package server

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// observe logs a line for each request once it is answered, and keeps a panic in one request from ending the process.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		if r.Method == http.MethodPost {
			s.answers.add(1)
			defer s.answers.add(-1) // when all is written and logged
		}
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

func (s *Server) limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, s.options.maxBody)
		next.ServeHTTP(w, r)
	})
}

// inProgress counts requests that are being answered.
type inProgress struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (p *inProgress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += n
	if p.n == 0 && p.zero != nil {
		close(p.zero)
		p.zero = nil
	}
}

func (p *inProgress) wait(ctx context.Context) error {
	p.mu.Lock()
	if p.n == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.zero == nil {
		p.zero = make(chan struct{})
	}
	zero := p.zero
	p.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
