package main

import (
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reports is what a manager has heard, for tests.
type reports []serviceStatus

func (r *reports) add(s serviceStatus) { *r = append(*r, s) }

// TestSupervise stops a service that takes 3.5 seconds to end, as a user and as the system's shutdown.
func TestSupervise(t *testing.T) {
	for c, want := range map[serviceControl]os.Signal{serviceStop: os.Interrupt, serviceShutdown: syscall.SIGTERM} {
		synctest.Test(t, func(t *testing.T) {
			var heard reports
			controls, ended := make(chan serviceControl), make(chan int)
			var got []os.Signal
			go func() {
				ended <- supervise(controls, heard.add, func(signals <-chan os.Signal) int {
					got = append(got, <-signals)
					time.Sleep(3500 * time.Millisecond)
					select {
					case s := <-signals:
						got = append(got, s)
					default:
					}
					return exitCut
				})
			}()
			time.Sleep(time.Hour)
			controls <- serviceReport
			controls <- c
			controls <- serviceReport
			controls <- c // again
			if code := <-ended; code != exitCut {
				t.Errorf("exit code %d", code)
			}
			stopping := func(progress uint32) serviceStatus {
				return serviceStatus{stopping: true, progress: progress, hint: stopHint}
			}
			expect := reports{{}, {}, stopping(1), stopping(1), stopping(1), stopping(2), stopping(3), stopping(4)}
			if d := cmp.Diff(expect, heard, cmp.AllowUnexported(serviceStatus{})); d != "" {
				t.Errorf("the manager heard (-want +got)\n%s", d)
			}
			if d := cmp.Diff([]os.Signal{want}, got); d != "" {
				t.Errorf("the program got %v", got)
			}
		})
	}
}

// TestSuperviseFailure: a program that cannot start ends its service with its code.
func TestSuperviseFailure(t *testing.T) {
	var heard reports
	if code := supervise(nil, heard.add, func(<-chan os.Signal) int { return exitUsage }); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if len(heard) != 1 || heard[0].stopping {
		t.Errorf("the manager heard %+v", heard)
	}
}

// TestManagedSignals: under a manager the first wish to stop ends the context, and decides how long requests may go on.
func TestManagedSignals(t *testing.T) {
	for _, c := range []struct {
		sig               os.Signal
		flag, grace, want time.Duration
	}{
		{os.Interrupt, 25 * time.Second, 3 * time.Second, 25 * time.Second},
		{syscall.SIGTERM, 25 * time.Second, 3 * time.Second, 3 * time.Second},
		{syscall.SIGTERM, time.Second, 3 * time.Second, time.Second},
	} {
		manager := make(chan os.Signal, 1)
		s := watchSignals(manager)
		s.grace = c.grace
		manager <- c.sig
		<-s.ctx.Done()
		if got := s.drainTimeout(c.flag); got != c.want {
			t.Errorf("after %v, --drain-timeout %v lasts %v of the %v that there are; want %v", c.sig, c.flag, got, c.grace, c.want)
		}
		s.stop()
	}
}
