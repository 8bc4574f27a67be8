package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// signals watches for the requests to stop: SIGINT and SIGTERM; on Windows Ctrl-C and Ctrl-Break, and as SIGTERM the
// closing of the console, log-off and shutdown. The first ends ctx; a second ends the process at once.
type signals struct {
	ctx  context.Context
	stop func()

	mu        sync.Mutex
	first     os.Signal // that ended ctx
	interrupt func()    // if set, takes interrupts in place of all that
}

func watchSignals() *signals {
	s := &signals{}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	incoming := make(chan os.Signal, 2)
	signal.Notify(incoming, os.Interrupt, syscall.SIGTERM)
	var watcher sync.WaitGroup
	s.stop = func() {
		signal.Stop(incoming)
		close(incoming)
		watcher.Wait()
		cancel()
	}
	watcher.Go(func() {
		for sig := range incoming {
			if s.handle(sig) {
				cancel()
			}
		}
	})
	return s
}

// handle tells whether the signal is the first that asks for the end.
func (s *signals) handle(sig os.Signal) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.first != nil:
		os.Exit(exitForced)
	case sig == os.Interrupt && s.interrupt != nil:
		s.interrupt()
		return false
	}
	s.first = sig
	return true
}

// onInterrupt lets f take interrupts instead of ending the program; nil ends that.
func (s *signals) onInterrupt(f func()) {
	s.mu.Lock()
	s.interrupt = f
	s.mu.Unlock()
}

// drainTimeout is how long requests may go on after the first signal.
func (s *signals) drainTimeout(flag time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == syscall.SIGTERM {
		return min(flag, terminationGrace)
	}
	return flag
}
