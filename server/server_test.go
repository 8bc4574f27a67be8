package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/server"
	"github.com/ullm/ullm/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a server with a tiny model behind it.
type fixture struct {
	t      testing.TB
	engine *ullm.Engine
	server *server.Server
	url    string
}

// serve opens a model and serves it on loopback.
func serve(t testing.TB, name string, o ullm.Options, opts ...server.Option) *fixture {
	t.Helper()
	f := &fixture{t: t, engine: openEngine(t, name, o)}
	f.server = server.New(f.engine, opts...)
	h := httptest.NewServer(f.server)
	t.Cleanup(func() {
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	f.url = h.URL
	return f
}

func openEngine(t testing.TB, name string, o ullm.Options) *ullm.Engine {
	t.Helper()
	if o.Backend == "" {
		o.Backend = "cpu"
	}
	e, err := ullm.Open(context.Background(), e2e.Load(t, name).Path, ullm.With(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, sched.ErrCut) {
			t.Error(err)
		}
		if r := e.Freed(); r.Leaked != (tensor.Count{}) {
			t.Errorf("leaked %+v", r.Leaked)
		}
	})
	return e
}

// do sends a request and reads the whole answer.
func (f *fixture) do(method, path, body string, header ...string) (*http.Response, []byte) {
	f.t.Helper()
	r, err := http.NewRequest(method, f.url+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, b
}

// post sends a body that must be answered with 200, and decodes the answer.
func post[Answer any](f *fixture, path string, body any) Answer {
	f.t.Helper()
	resp, b := f.do(http.MethodPost, path, marshal(f.t, body))
	if resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s %v: %s %s", path, body, resp.Status, b)
	}
	return decode[Answer](f.t, b)
}

// stream sends a body with "stream": true and decodes the events before [DONE].
func stream[Chunk any](f *fixture, path string, body map[string]any) []Chunk {
	f.t.Helper()
	body["stream"] = true
	resp, b := f.do(http.MethodPost, path, marshal(f.t, body))
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream; charset=utf-8" {
		f.t.Fatalf("%s %v: %s %s %s", path, body, resp.Status, got, b)
	}
	events := sse(f.t, bytes.NewReader(b))
	if len(events) == 0 || events[len(events)-1] != "[DONE]" {
		f.t.Fatalf("the stream does not end with [DONE]: %s", b)
	}
	var chunks []Chunk
	for _, e := range events[:len(events)-1] {
		chunks = append(chunks, decode[Chunk](f.t, []byte(e)))
	}
	return chunks
}

// sse reads server-sent events until the stream ends.
func sse(t testing.TB, r io.Reader) (events []string) {
	t.Helper()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			t.Fatalf("not an event: %q", lines.Text())
		}
		events = append(events, data)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode[T any](t testing.TB, b []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

// envelope is OpenAI's form of an error.
type envelope struct {
	Error *struct {
		Message, Type string
		Param, Code   *string
	}
}

// wantError checks an answer's status and envelope; param "" stands for none.
func wantError(t testing.TB, resp *http.Response, body []byte, status int, param string) {
	t.Helper()
	e := decode[envelope](t, body)
	if resp.StatusCode != status || e.Error == nil || e.Error.Message == "" || e.Error.Type == "" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s, want %d and an error", resp.Status, body, status)
		return
	}
	if got := e.Error.Param; (got == nil) != (param == "") || got != nil && *got != param {
		t.Errorf("%s: want param %q", body, param)
	}
	if again := resp.Header.Get("Retry-After"); (again != "") != (status == 429 || status == 503) {
		t.Errorf("status %d with Retry-After %q", status, again)
	}
}

// idle waits until the engine holds nothing for anyone.
func (f *fixture) idle() {
	f.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		s := f.engine.Stats()
		if s.Running == 0 && s.Waiting == 0 && s.FreePages == s.Pages {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("not idle: %+v", s)
		}
	}
}

func ptr[T any](v T) *T { return &v }
