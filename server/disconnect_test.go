package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server"
)

// endless is a request that runs to the end of the context.
const endless = `{"prompt":"Once upon a time","ignore_eos":true,"max_tokens":100000,"n":%d,"stream":%t,"logprobs":20}`

// TestDisconnect goes away in the middle of answers: their pages become free, and nobody generates for those who have gone.
func TestDisconnect(t *testing.T) {
	f := serve(t, "talk", unending)
	for _, c := range []struct {
		n      int
		stream bool
	}{{1, true}, {3, true}, {1, false}, {3, false}} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "POST", f.url+"/v1/completions", strings.NewReader(fmt.Sprintf(endless, c.n, c.stream)))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if resp, err := http.DefaultClient.Do(r); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
		for f.engine.Stats().Running < c.n {
			time.Sleep(time.Millisecond)
		}
		if s := f.engine.Stats(); s.FreePages == s.Pages {
			t.Fatalf("%+v", s)
		}
		cancel()
		f.idle()
		<-ended
		if err := f.server.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	// Fewer tokens than one context holds, of eight: nobody generated for those who had gone.
	if s, context := f.engine.Stats(), f.engine.Info().Sizing.Context; context < 60_000 || s.GeneratedTokens > int64(context) {
		t.Errorf("%d tokens were generated in contexts of %d", s.GeneratedTokens, context)
	}
}

// TestAbortedStep closes a generation and counts the steps that its pages outlive: those in flight, and the one that is
// being planned.
func TestAbortedStep(t *testing.T) {
	e := openEngine(t, "talk", unending)
	for range 20 {
		g, err := e.Start(t.Context(), ullm.Request{Prompt: "Once upon a time", IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := g.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		g.Close()
		before := e.Stats().Steps // not earlier: any number may pass between two lines
		for s := e.Stats(); s.Running > 0; s = e.Stats() {
			if s.Steps > before+1 {
				t.Fatalf("%d steps after the abort: %+v", s.Steps-before, s)
			}
		}
		if s := e.Stats(); s.FreePages != s.Pages {
			t.Fatalf("%+v", s)
		}
	}
}

// TestClientThatReadsNothing sends requests and never reads: others are served meanwhile, and the engine does not wait.
func TestClientThatReadsNothing(t *testing.T) {
	f := &fixture{t: t, engine: openEngine(t, "talk", ullm.Options{})}
	f.server = server.New(f.engine)
	h := httptest.NewUnstartedServer(f.server)
	h.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(1 << 12) // whatever this machine's connections would hold
		return ctx
	}
	h.Start()
	t.Cleanup(func() {
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	f.url = h.URL
	address := strings.TrimPrefix(f.url, "http://")
	for _, stream := range []bool{true, false} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
		body := fmt.Sprintf(endless, 4, stream)
		if _, err := fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		got := post[completion](f, "/v1/completions", fox(nil))
		if got.Choices[0].Text != " jumps over the lazy dog." {
			t.Errorf("%+v", got)
		}
	}
	for f.engine.Stats().GeneratedTokens < 8*1000 {
		time.Sleep(time.Millisecond)
	}
	f.idle() // the answers are complete although nobody reads them
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f.server.Wait(ctx) == nil {
		t.Error("everything was written: the test needs longer answers")
	}
}

// promise sends the head of a request with a body of so many bytes, and returns when the handler waits for it.
func (f *fixture) promise(length int) *net.TCPConn {
	f.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", length)
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))); err != nil {
		f.t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// TestHalfRequest sends the beginning of a request: it is waited for, but not at a shutdown, and refused when it stays
// half.
func TestHalfRequest(t *testing.T) {
	f := serve(t, "talk", ullm.Options{})
	body := marshal(t, fox(nil))
	conn := f.promise(len(body))
	if err := f.server.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	fmt.Fprint(conn, body[:len(body)/2])
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	wantError(t, resp, b, 400, "")
}

// TestClose checks that nothing is logged behind Close: it waits for a handler that a half request keeps, and no handler
// begins after it.
func TestClose(t *testing.T) {
	var logged lockedBuffer
	f := serve(t, "talk", ullm.Options{}, server.Log(slog.New(slog.NewTextHandler(&logged, nil))))
	conn := f.promise(100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close while a handler waits: %v", err)
	}
	conn.Close()
	if err := f.server.Close(t.Context()); err != nil {
		t.Error(err)
	}
	before := logged.String()
	if n := strings.Count(before, "msg=request"); n != 1 {
		t.Errorf("%d requests in the log when Close returns", n)
	}
	if resp, err := http.Post(f.url+"/v1/completions", "application/json", strings.NewReader(marshal(t, fox(nil)))); err == nil {
		resp.Body.Close()
		t.Errorf("a request behind Close: %s", resp.Status)
	}
	if after := logged.String(); after != before {
		t.Errorf("logged behind Close: %s", after[len(before):])
	}
}

// lockedBuffer can be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
