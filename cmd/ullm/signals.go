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
	ctx   context.Context
	stop  func()
	grace time.Duration // the longest that requests may go on after SIGTERM

	mu        sync.Mutex
	first     os.Signal // that ended ctx
	interrupt func()    // if set, takes interrupts in place of all that
}

// watchSignals listens to a service manager if there is one, else to the system. Never to both: Windows tells every
// console program of a user's log-off, and a service goes on after that.
func watchSignals(manager <-chan os.Signal) *signals {
	s := &signals{grace: terminationGrace}
	ctx, cancel := context.WithCancel(context.Background())
	s.ctx = ctx
	incoming, unregister := manager, func() {}
	if manager == nil {
		system := make(chan os.Signal, 2)
		signal.Notify(system, os.Interrupt, syscall.SIGTERM)
		incoming, unregister = system, func() { signal.Stop(system) }
	}
	stopped := make(chan struct{})
	var watcher sync.WaitGroup
	s.stop = func() {
		unregister()
		close(stopped)
		watcher.Wait()
		cancel()
	}
	watcher.Go(func() {
		for {
			select {
			case sig := <-incoming:
				if s.handle(sig) {
					cancel()
				}
			case <-stopped:
				return
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
		return min(flag, s.grace)
	}
	return flag
}
