package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ullm/ullm/internal/e2e"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "ullm-cmd")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "ullm")
		if runtime.GOOS == "windows" {
			binary += ".exe"
		}
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// command is the program with a clean environment, but for env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // of a process that hangs
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ULLM_") && !strings.HasPrefix(v, "HF_") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "HF_HOME="+t.TempDir())
	c.Env = append(c.Env, env...)
	return c
}

// result is what a program that has ended left behind.
type result struct {
	code           int
	stdout, stderr string
}

// invoke runs the program to its end.
func invoke(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	return finish(t, stdin, command(t, env, args...))
}

// finish runs a command to its end.
func finish(t *testing.T, stdin string, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want fails unless the program ended with a code and said something.
func (r result) want(t *testing.T, code int, said string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stdout+r.stderr, said) {
		t.Errorf("exit code %d, want %d and %q\nstdout: %s\nstderr: %s", r.code, code, said, r.stdout, r.stderr)
	}
}

// daemon is a server that runs.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	stdout *bufio.Reader
	mu     sync.Mutex
	stderr bytes.Buffer
	copied chan struct{} // closed when stderr is complete
}

// start runs `ullm serve` and waits for its address.
func start(t *testing.T, env []string, args ...string) *daemon {
	t.Helper()
	return serve(t, command(t, env, append([]string{"serve", "--port", "0"}, args...)...))
}

// serve starts a command that serves and waits for its address.
func serve(t *testing.T, c *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: c, copied: make(chan struct{})}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.copied)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			d.mu.Lock()
			fmt.Fprintln(&d.stderr, lines.Text())
			d.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		if d.cmd.ProcessState == nil {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("stderr:\n%s", d.log())
		}
	})
	d.stdout = bufio.NewReader(stdout)
	d.url = d.line()
	if !strings.HasPrefix(d.url, "http") {
		t.Fatalf("the first line is %q", d.url)
	}
	return d
}

// line is the next line of stdout.
func (d *daemon) line() string {
	d.t.Helper()
	line, err := d.stdout.ReadString('\n')
	if err != nil {
		<-d.copied
		d.t.Fatalf("stdout: %v; stderr:\n%s", err, d.log())
	}
	return strings.TrimSpace(line)
}

// ready waits until the model is loaded, which stdout tells.
func (d *daemon) ready() *daemon {
	d.t.Helper()
	if page := d.line(); page != "chat page: "+d.url+"/" {
		d.t.Fatalf("the second line is %q", page)
	}
	if try := d.line(); !strings.HasPrefix(try, "try: curl "+d.url+"/v1/chat/completions ") {
		d.t.Fatalf("the third line is %q", try)
	}
	return d
}

func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stderr.String()
}

// logs waits until the log holds a text, and returns the log: lines take a moment from the program to here.
func (d *daemon) logs(text string) string {
	d.t.Helper()
	for {
		ended := false
		select {
		case <-d.copied:
			ended = true
		case <-time.After(time.Millisecond):
		}
		log := d.log()
		switch {
		case strings.Contains(log, text):
			return log
		case ended:
			d.t.Fatalf("the log ends without %s", text)
		}
	}
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// exit waits for the end and answers with its code.
func (d *daemon) exit() int {
	d.t.Helper()
	<-d.copied
	_, _ = io.Copy(io.Discard, d.stdout)
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

// get asks for a path.
func (d *daemon) get(path string) (status int, body string) {
	d.t.Helper()
	resp, err := http.Get(d.url + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// post sends a body.
func (d *daemon) post(path, body string) *http.Response {
	d.t.Helper()
	resp, err := http.Post(d.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	return resp
}

// readyLine finds the log line that says what was sized, among JSON lines.
func readyLine(t *testing.T, stderr string) map[string]any {
	t.Helper()
	for line := range strings.Lines(stderr) {
		var v map[string]any
		if json.Unmarshal([]byte(line), &v) == nil && v["msg"] == "ready" {
			return v
		}
	}
	t.Fatalf("no line says that the model is ready:\n%s", stderr)
	return nil
}

func talk(t *testing.T) string { return e2e.Load(t, "talk").Path }
