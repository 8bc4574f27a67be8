package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Serving is how a server is started.
type Serving struct {
	Threads int
	Slots   int // requests that run at once
	Context int // tokens of the longest
	Port    int
	Under   []string
}

// Server is a running one.
type Server struct {
	URL    string
	cmd    *exec.Cmd
	ended  chan error
	stderr bytes.Buffer
}

// readyWithin is how long a server may take to load.
const readyWithin = 3 * time.Minute

// start runs a server and waits until the path answers 200.
func start(cmd *exec.Cmd, port int, path string) (*Server, error) {
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), cmd: cmd, ended: make(chan error, 1)}
	cmd.Stderr = &s.stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("engines: %w", err)
	}
	go func() { s.ended <- cmd.Wait() }()
	for begun := time.Now(); time.Since(begun) < readyWithin; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-s.ended:
			return nil, fmt.Errorf("engines: %s ended: %w\n%s", strings.Join(cmd.Args, " "), err, tail(s.stderr.Bytes()))
		default:
		}
		resp, err := http.Get(s.URL + path)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return s, nil
			}
		}
	}
	return nil, errors.Join(fmt.Errorf("engines: %s is not ready after %s", strings.Join(cmd.Args, " "), readyWithin), s.Stop())
}

// PID is the server's process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Stop interrupts the server and waits for it; after half a minute it is killed.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		var exit *exec.ExitError
		if errors.As(err, &exit) { // how an interrupted program ends is its own affair
			return nil
		}
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(context.DeadlineExceeded, s.cmd.Process.Kill())
	}
}
