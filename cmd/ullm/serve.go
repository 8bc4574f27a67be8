package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/server"
)

type serveCommand struct {
	engineFlags

	Host         string        `default:"127.0.0.1" help:"Address to listen on."`
	Port         uint16        `default:"8000" help:"Port to listen on; 0: any free one, which is printed."`
	ServedName   string        `name:"served-model-name" placeholder:"NAME" help:"The model's name in answers."`
	MaxQueue     int           `help:"Requests that may wait before new ones get 429; 0: no bound."`
	DrainTimeout time.Duration `default:"25s" help:"How long running requests may go on after a signal to stop."`
	APIKey       string        `name:"api-key" placeholder:"KEY" help:"Key that clients must send; better set as ULLM_API_KEY."`
	CORSOrigins  []string      `name:"cors-origins" placeholder:"ORIGIN,…" help:"Origins that browsers may call from; * for all."`
	TLSCert      string        `name:"tls-cert" type:"existingfile" placeholder:"FILE" help:"Certificate; serves HTTPS."`
	TLSKey       string        `name:"tls-key" type:"existingfile" placeholder:"FILE" help:"Its key."`
}

const (
	// readTime is how long a request may take to arrive.
	readTime = 2 * time.Minute
	// flushTime is how long handlers may take at least to write what is decided when requests have been cut off.
	flushTime = time.Second
	// closeTime is how long connections may take to close on which nothing is being answered.
	closeTime = 250 * time.Millisecond
)

// serving is a server from its first moment to its last.
type serving struct {
	sig     *signals
	log     *slog.Logger
	url     string
	handler *server.Server
	http    *http.Server
	ended   chan error // the listener's end
	drain   time.Duration
}

// Run listens first and loads then, so that a client can see how far loading is, and a signal can stop it.
func (c *serveCommand) Run(sig *signals) (err error) {
	log := c.logger(slog.LevelInfo)
	o, err := c.options(log)
	if err != nil {
		return err
	}
	o.ServedName, o.MaxQueue = c.ServedName, c.MaxQueue
	if c.MaxQueue < 0 || c.DrainTimeout < 0 {
		return usagef("--max-queue and --drain-timeout must not be negative")
	}
	profiled, err := c.startProfile(&o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiled()) }()
	s, err := c.listen(sig, log)
	if err != nil {
		return err
	}
	eng, err := s.open(c.name(), o)
	if err != nil {
		return errors.Join(err, s.http.Close())
	}
	s.handler.Attach(eng)
	if n := runtime.GOMAXPROCS(0); eng.Info().Device.Threads == n {
		// Every processor that Go uses computes: with one more, requests and tokens need not wait until Go takes one of
		// those away, which it does after 10 ms.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n + 1))
	}
	fmt.Printf("chat page: %s/\n%s\n", s.url, c.curl(runtime.GOOS, s.url, eng.Info().Model))
	return s.untilStopped(eng)
}

// listen begins to answer, so far that the model is loading.
func (c *serveCommand) listen(sig *signals, log *slog.Logger) (*serving, error) {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return nil, usagef("--tls-cert and --tls-key go together")
	}
	s := &serving{sig: sig, log: log, drain: c.DrainTimeout, ended: make(chan error, 1)}
	s.handler = server.Loading(server.Log(log), server.APIKey(c.APIKey), server.CORS(c.CORSOrigins), server.Version(version))
	s.http = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTime, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	scheme := "http"
	if c.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("ullm: %w", err)
		}
		scheme, s.http.TLSConfig = "https", &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))))
	if err != nil {
		return nil, fmt.Errorf("ullm: cannot listen: %w; choose another --host or --port", err)
	}
	s.url = scheme + "://" + listener.Addr().String()
	fmt.Println(s.url)
	go func() {
		if s.http.TLSConfig != nil {
			s.ended <- s.http.ServeTLS(listener, "", "")
		} else {
			s.ended <- s.http.Serve(listener)
		}
	}()
	return s, nil
}

// curl is a line that tries the server, to be pasted into a shell; on Windows into cmd.exe.
func (c *serveCommand) curl(goos, url, model string) string {
	quote, key := func(s string) string { return "'" + s + "'" }, "$ULLM_API_KEY"
	if goos == "windows" {
		quote = func(s string) string { return `"` + strings.NewReplacer(`\"`, `\\\"`, `"`, `\"`).Replace(s) + `"` }
		key = "%ULLM_API_KEY%"
	}
	line := fmt.Sprintf("try: curl %s/v1/chat/completions -H %s", url, quote("Content-Type: application/json"))
	if c.APIKey != "" {
		line += fmt.Sprintf(` -H "Authorization: Bearer %s"`, key)
	}
	if strings.HasPrefix(url, "https:") {
		line += " --insecure"
	}
	return line + " -d " + quote(fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"What is ullm?"}]}`, model))
}

// open loads the model; a signal stops that.
func (s *serving) open(name string, o ullm.Options) (*ullm.Engine, error) {
	said := context.AfterFunc(s.sig.ctx, func() { s.log.Info("stopping while the model is loading") })
	defer said()
	progress := newProgress(s.log)
	defer progress.done()
	o.Progress = func(stage string, done, total int64) {
		progress.report(stage, done, total)
		s.handler.Progress(stage, done, total)
	}
	return ullm.Open(s.sig.ctx, name, ullm.With(o))
}

// untilStopped waits for a reason to stop, and stops in order: no new requests, the running ones, the connections, the
// engine.
func (s *serving) untilStopped(eng *ullm.Engine) error {
	var failure error
	timeout := time.Duration(0)
	select {
	case <-s.sig.ctx.Done():
		timeout = s.sig.drainTimeout(s.drain)
		s.log.Info("stopping", "running", eng.Stats().Running, "waiting", eng.Stats().Waiting, "drain_timeout", timeout.String())
	case <-eng.Done():
		failure = eng.Err()
		s.log.Error("the engine stopped", "error", failure)
	case err := <-s.ended:
		failure = fmt.Errorf("ullm: %w", err)
		s.log.Error("the server stopped", "error", failure)
	}
	s.handler.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := errors.Join(failure, eng.Drain(ctx), s.closeConnections(ctx), eng.Close())
	if err != nil {
		err = loggedError{err}
	}
	return err
}

// closeConnections lets handlers write what is decided, as long as ctx allows and a moment at least. A client that has
// not read its answer by then is cut off.
func (s *serving) closeConnections(ctx context.Context) error {
	begun := time.Now()
	enough := begun.Add(flushTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.After(enough) {
		enough = deadline
	}
	waiting, cancel := context.WithDeadline(context.Background(), enough)
	defer cancel()
	err := s.handler.Wait(waiting)
	if err == nil {
		closing, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = s.http.Shutdown(closing) // connections on which nothing was ever asked are closed below
	}
	s.http.Close()
	last, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	_ = s.handler.Close(last) // handlers notice at their next read or write
	if err != nil {
		err = fmt.Errorf("%w: a client did not read its answer", sched.ErrCut)
		s.log.Warn("shutdown", "stage", "connections", "seconds", time.Since(begun).Seconds(), "error", err)
		return err
	}
	s.log.Info("shutdown", "stage", "connections", "seconds", time.Since(begun).Seconds())
	return nil
}
