package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends"
	"github.com/ullm/ullm/server"
)

type serveCommand struct {
	engineFlags

	Host         string        `default:"127.0.0.1" help:"Address to listen on."`
	Port         int           `default:"8000" help:"Port to listen on; 0: any free one, which is printed."`
	ServedName   string        `name:"served-model-name" help:"The model's name in answers."`
	MaxQueue     int           `help:"Requests that may wait before new ones get 429; 0: no bound."`
	DrainTimeout time.Duration `default:"25s" help:"How long running requests may go on after a signal to stop."`
	APIKey       string        `name:"api-key" help:"Key that clients must send; better set as ULLM_API_KEY."`
	CORSOrigins  []string      `name:"cors-origins" help:"Origins that browsers may call from; * for all."`
	TLSCert      string        `name:"tls-cert" type:"existingfile" help:"Certificate file; serves HTTPS."`
	TLSKey       string        `name:"tls-key" type:"existingfile" help:"Its key file."`
}

// flushTime is how long handlers may take to write what is already decided once the engine has stopped.
const flushTime = 2 * time.Second

// Run listens first and loads then, so that a client can see how far loading is, and a signal can stop it.
func (c *serveCommand) Run(sig *signals) error {
	log := logger(c.LogLevel, c.LogFormat)
	name, err := c.name()
	if err != nil {
		return err
	}
	o, err := c.options(log)
	if err != nil {
		return err
	}
	o.ServedName, o.MaxQueue = c.ServedName, c.MaxQueue
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return usagef("--tls-cert and --tls-key go together")
	}
	if c.MaxQueue < 0 || c.DrainTimeout < 0 {
		return usagef("--max-queue and --drain-timeout must not be negative")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("ullm: cannot listen: %w; choose another --port", err)
	}
	handler := server.Loading(server.Log(log), server.APIKey(c.APIKey), server.CORS(c.CORSOrigins), server.Version(version))
	h := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	served := make(chan error, 1)
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	fmt.Printf("%s://%s\n", scheme, listener.Addr())
	go func() {
		if c.TLSCert != "" {
			served <- h.ServeTLS(listener, c.TLSCert, c.TLSKey)
		} else {
			served <- h.Serve(listener)
		}
	}()
	progress := newProgress(log)
	o.Progress = func(stage string, done, total int64) {
		progress.report(stage, done, total)
		handler.Progress(stage, done, total)
	}
	eng, err := ullm.Open(sig.context(), name, ullm.With(o))
	progress.done()
	if err != nil {
		h.Close()
		if sig.context().Err() != nil {
			log.Info("stopped while loading")
		}
		return err
	}
	handler.Attach(eng)
	printTry(scheme+"://"+listener.Addr().String(), eng.Info().Model)
	return errors.Join(c.untilStopped(sig, eng, handler, h, served, log))
}

// untilStopped waits for a reason to stop, and stops in order: no new requests, the running ones, the engine, the
// connections.
func (c *serveCommand) untilStopped(sig *signals, eng *ullm.Engine, handler *server.Server, h *http.Server, served chan error, log *slog.Logger) error {
	var failure error
	select {
	case <-sig.context().Done():
		timeout := sig.drainTimeout(c.DrainTimeout)
		log.Info("stopping", "running", eng.Stats().Running, "waiting", eng.Stats().Waiting, "drain_timeout", timeout.String())
		handler.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		failure = eng.Shutdown(ctx)
		cancel()
	case <-eng.Done():
		log.Error("the engine stopped", "error", eng.Err())
		handler.Drain()
		failure = errors.Join(eng.Err(), eng.Close())
	case err := <-served:
		handler.Drain()
		failure = errors.Join(fmt.Errorf("ullm: %w", err), eng.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		h.Close() // a client that does not read
	}
	return failure
}

// checkBuilt refuses a backend that is not in this binary.
func checkBuilt(name string) error {
	for _, b := range backends.Table() {
		if b.Name == name && b.Missing != "" {
			return usagef("--backend %s: not in this build: %s", name, b.Missing)
		}
	}
	return nil
}
