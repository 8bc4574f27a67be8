// Package server answers OpenAI's HTTP API with an ullm.Engine, plus health, metrics and a chat page. One file holds one
// endpoint; this one holds the routes and what all requests pass through.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

// Server is the handler of all routes.
type Server struct {
	routes  http.Handler
	options options
	log     *slog.Logger
	metrics *metrics

	engine   atomic.Pointer[ullm.Engine] // nil while loading
	draining atomic.Bool

	mu       sync.Mutex
	progress loading
}

// loading is how far the model is.
type loading struct {
	Stage       string
	Done, Total int64
}

type options struct {
	log         *slog.Logger
	apiKey      string
	corsOrigins []string
	version     string
	maxBody     int64
}

// Option changes how a Server answers.
type Option func(*options)

// Log sends a line for each request to a logger.
func Log(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// APIKey asks clients of the API for a bearer token; "" lets everyone in. Health, metrics and the chat page stay open.
func APIKey(key string) Option { return func(o *options) { o.apiKey = key } }

// CORS lets pages from these origins call the API; "*" stands for all.
func CORS(origins []string) Option { return func(o *options) { o.corsOrigins = origins } }

// Version is shown in metrics and in the Server header.
func Version(v string) Option { return func(o *options) { o.version = v } }

// MaxBody bounds the size of a request's body in bytes; 32 MiB where it is not set.
func MaxBody(n int64) Option { return func(o *options) { o.maxBody = n } }

// New serves an engine.
func New(e *ullm.Engine, opts ...Option) *Server {
	s := Loading(opts...)
	s.Attach(e)
	return s
}

// Loading serves an engine that is still to come: until Attach, requests are answered with 503 and readiness shows the
// progress.
func Loading(opts ...Option) *Server {
	o := options{log: slog.New(slog.DiscardHandler), version: "devel", maxBody: 32 << 20}
	for _, f := range opts {
		f(&o)
	}
	s := &Server{options: o, log: o.log}
	s.metrics = newMetrics(s)
	s.routes = s.router()
	return s
}

// Progress tells readiness how far a stage of loading is, in bytes.
func (s *Server) Progress(stage string, done, total int64) {
	s.mu.Lock()
	s.progress = loading{stage, done, total}
	s.mu.Unlock()
}

// Attach begins to serve.
func (s *Server) Attach(e *ullm.Engine) { s.engine.Store(e) }

// Drain refuses new requests with 503; running ones go on.
func (s *Server) Drain() { s.draining.Store(true) }

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

func (s *Server) router() http.Handler {
	r := chi.NewRouter()
	r.Use(s.logRequests, s.recoverPanics)
	if len(s.options.corsOrigins) > 0 {
		r.Use(cors.Handler(cors.Options{
			AllowedOrigins: s.options.corsOrigins,
			AllowedMethods: []string{"GET", "POST", "OPTIONS"},
			AllowedHeaders: []string{"*"},
			MaxAge:         600,
		}))
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, openai.NotFound("there is no "+r.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, openai.MethodNotAllowed(r.Method+" is not allowed on "+r.URL.Path))
	})

	r.Get("/healthz", s.health)
	r.Get("/health", s.health)
	r.Get("/readyz", s.ready)
	r.Get("/metrics", s.metrics.ServeHTTP)
	r.Get("/", s.page)
	r.Get("/web/*", s.page)

	r.Group(func(r chi.Router) {
		r.Use(s.authorize, s.serving, s.limitBody)
		r.Get("/v1/models", s.models)
		r.Get("/v1/models/*", s.model) // a model's name may contain slashes
		r.Post("/v1/completions", s.completions)
		r.Post("/v1/chat/completions", s.chatCompletions)
		r.Post("/tokenize", s.tokenize)
		r.Post("/detokenize", s.detokenize)
		for _, path := range []string{"/v1/embeddings", "/v1/responses", "/v1/messages"} {
			r.Post(path, func(w http.ResponseWriter, r *http.Request) {
				writeError(w, openai.NotSupported("", r.URL.Path+" is not supported yet; use /v1/chat/completions or /v1/completions"))
			})
		}
	})
	return r
}

// logRequests writes a line for each request once it is answered.
func (s *Server) logRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		w.Header().Set("Server", "ullm/"+s.options.version)
		next.ServeHTTP(ww, r)
		level := slog.LevelInfo
		if r.Method == http.MethodGet {
			level = slog.LevelDebug // health checks and metrics
		}
		s.log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", ww.Status(),
			"bytes", ww.BytesWritten(), "seconds", time.Since(begun).Seconds(), "remote", r.RemoteAddr)
	})
}

// recoverPanics keeps a broken invariant in one request from ending the process.
func (s *Server) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				s.log.Error("panic while answering", "path", r.URL.Path, "panic", v)
				writeError(w, openai.Internal("internal error"))
			} else if v != nil {
				panic(v)
			}
		}()
		next.ServeHTTP(w, r)
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
