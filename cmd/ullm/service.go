package main

import (
	"os"
	"syscall"
	"time"
)

// What a service manager and a program under it tell each other, in the terms of Windows and without its calls.

// serviceControl is what the manager asks for.
type serviceControl int

const (
	serviceReport   serviceControl = iota // what is the status?
	serviceStop                           // somebody stops the service
	serviceShutdown                       // the machine goes down: it waits 5 seconds
)

// serviceStatus is what the manager is told.
type serviceStatus struct {
	stopping bool          // else running, and ready to be asked to stop
	progress uint32        // grows while stopping goes on
	hint     time.Duration // the manager hears again within that time
}

const (
	stopReport = time.Second      // how often a service that is stopping reports
	stopHint   = 10 * time.Second // generous: a manager that misses a report calls the service hung
)

// supervise runs the program until it ends and returns its exit code. The program counts as running from its first
// moment, since only then may it be stopped, while a model is loading too; how far it is, /readyz tells.
func supervise(controls <-chan serviceControl, report func(serviceStatus), program func(signals <-chan os.Signal) int) int {
	signals := make(chan os.Signal, 1)
	ended := make(chan int, 1)
	go func() { ended <- program(signals) }()
	var status serviceStatus
	var again <-chan time.Time
	report(status)
	for {
		select {
		case code := <-ended:
			return code
		case <-again:
			status.progress++
			report(status)
		case c := <-controls:
			if c == serviceReport || status.stopping { // a second wish to stop is no reason to cut requests off
				report(status)
				continue
			}
			status = serviceStatus{stopping: true, progress: 1, hint: stopHint}
			report(status)
			ticker := time.NewTicker(stopReport)
			defer ticker.Stop()
			again = ticker.C
			if c == serviceShutdown {
				signals <- syscall.SIGTERM // which leaves as little time as there is
			} else {
				signals <- os.Interrupt
			}
		}
	}
}
