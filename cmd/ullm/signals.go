package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// signals watches for the requests to stop: SIGINT and SIGTERM; on Windows Ctrl-C and Ctrl-Break, and as SIGTERM the
// closing of the console, log-off and shutdown. The first cancels the context; a second ends the process at once.
type signals struct {
	ctx    context.Context
	cancel context.CancelFunc
	first  chan os.Signal // the first signal
	stop   func()
}

func watchSignals() *signals {
	s := &signals{first: make(chan os.Signal, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	incoming := make(chan os.Signal, 2)
	signal.Notify(incoming, os.Interrupt, syscall.SIGTERM)
	quit := make(chan struct{})
	s.stop = func() {
		signal.Stop(incoming)
		close(quit)
		s.cancel()
	}
	go func() {
		for n := 0; ; n++ {
			select {
			case sig := <-incoming:
				if n > 0 {
					os.Exit(exitForced)
				}
				s.first <- sig
				s.cancel()
			case <-quit:
				return
			}
		}
	}()
	return s
}

// context ends with the first signal.
func (s *signals) context() context.Context { return s.ctx }

// drainTimeout is how long requests may go on after the first signal.
func (s *signals) drainTimeout(flag time.Duration) time.Duration {
	select {
	case sig := <-s.first:
		if sig == syscall.SIGTERM {
			return min(flag, terminationGrace)
		}
	default:
	}
	return flag
}
