// Package server answers OpenAI's HTTP API with an ullm.Engine, plus health, metrics and a chat page. One file holds one
// endpoint; this one holds the routes.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

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
	handlers inProgress // requests of any kind
	answers  inProgress // POST requests whose body is there

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

// Wait returns nil when every POST request that has arrived whole has been answered, or the error of ctx.
func (s *Server) Wait(ctx context.Context) error { return s.answers.wait(ctx) }

// Close aborts requests that come from now on, and returns nil when every handler has returned and nothing more will be
// logged, or the error of ctx. Handlers end once their connections are closed, which is left to the caller.
func (s *Server) Close(ctx context.Context) error {
	s.handlers.close()
	return s.handlers.wait(ctx)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

func (s *Server) router() http.Handler {
	r := chi.NewRouter()
	r.Use(s.observe, middleware.GetHead)
	if len(s.options.corsOrigins) > 0 {
		r.Use(cors.Handler(cors.Options{
			AllowedOrigins: s.options.corsOrigins,
			AllowedMethods: []string{"GET", "POST"},
			AllowedHeaders: []string{"*"},
			ExposedHeaders: []string{"Retry-After"},
			MaxAge:         600,
		}))
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, openai.NotFound("there is no "+r.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if r.Match(chi.NewRouteContext(), method, req.URL.Path) {
				w.Header().Add("Allow", method)
			}
		}
		writeError(w, openai.MethodNotAllowed(req.Method+" is not allowed on "+req.URL.Path))
	})

	r.Get("/healthz", s.health)
	r.Get("/health", s.health)
	r.Get("/readyz", s.ready)
	r.Get("/metrics", s.metrics.ServeHTTP)
	page := newPage()
	r.Get("/", page)
	r.Get("/web/*", page)

	r.Group(func(r chi.Router) {
		r.Use(s.authorize, s.serving, s.receive)
		r.Get("/v1/models", s.models)
		r.Get("/v1/models/*", s.model) // a model's name may contain slashes
		r.Post("/v1/completions", s.completions)
		r.Post("/v1/chat/completions", s.chatCompletions)
		r.Post("/tokenize", s.tokenize)
		r.Post("/detokenize", s.detokenize)
		for _, path := range []string{"/v1/embeddings", "/v1/responses", "/v1/messages"} {
			r.Post(path, notBuilt)
		}
	})
	return r
}

// notBuilt refuses an endpoint by its name.
func notBuilt(w http.ResponseWriter, r *http.Request) {
	writeError(w, openai.NotSupported("", r.URL.Path+" is not built yet; use /v1/chat/completions or /v1/completions"))
}
