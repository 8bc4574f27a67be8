package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/internal/e2e"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/server"
)

func TestModels(t *testing.T) {
	f := serve(t, "talk", ullm.Options{ServedName: "Some/Name", ContextLen: 512})
	type model struct {
		ID, Object  string
		OwnedBy     string `json:"owned_by"`
		Created     int64
		MaxModelLen int `json:"max_model_len"`
	}
	check := func(m model) {
		t.Helper()
		if m.ID != "Some/Name" || m.Object != "model" || m.MaxModelLen != 512 || m.OwnedBy == "" || m.Created == 0 {
			t.Errorf("%+v", m)
		}
	}
	_, b := f.do("GET", "/v1/models", "")
	list := decode[struct {
		Object string
		Data   []model
	}](t, b)
	if list.Object != "list" || len(list.Data) != 1 {
		t.Fatalf("%s", b)
	}
	check(list.Data[0])
	for _, path := range []string{"/v1/models/Some/Name", "/v1/models/Some%2FName"} {
		_, b := f.do("GET", path, "")
		check(decode[model](t, b))
	}
	resp, b := f.do("GET", "/v1/models/other", "")
	wantError(t, resp, b, 404, "model")
}

func TestRoutes(t *testing.T) {
	f := serve(t, "talk", ullm.Options{})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/nothing", 404, ""},
		{"POST", "/v1", 404, ""},
		{"GET", "/v1/chat/completions", 405, "POST"},
		{"DELETE", "/v1/models", 405, "GET"},
		{"POST", "/", 405, "GET"},
		{"PUT", "/tokenize", 405, "POST"},
		{"POST", "/v1/embeddings", 400, ""},
		{"POST", "/v1/responses", 400, ""},
		{"POST", "/v1/messages", 400, ""},
	} {
		resp, b := f.do(c.method, c.path, "{}")
		wantError(t, resp, b, c.status, "")
		if got := resp.Header.Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, got, c.allow)
		}
	}
	for _, path := range []string{"/healthz", "/health", "/readyz", "/metrics", "/", "/web/chat.js", "/web/style.css", "/v1/models"} {
		for _, method := range []string{"GET", "HEAD"} {
			if resp, b := f.do(method, path, ""); resp.StatusCode != 200 || (len(b) > 0) != (method == "GET") {
				t.Errorf("%s %s: %s, %d bytes", method, path, resp.Status, len(b))
			}
		}
	}
}

func TestAPIKey(t *testing.T) {
	f := serve(t, "talk", ullm.Options{}, server.APIKey("right"))
	for _, c := range []struct {
		header, value string
		status        int
	}{
		{"Authorization", "Bearer right", 200},
		{"X-Api-Key", "right", 200},
		{"Authorization", "Bearer wrong", 401},
		{"Authorization", "Bearer ", 401},
		{"Authorization", "right", 401},
		{"X-Other", "", 401},
	} {
		resp, b := f.do("GET", "/v1/models", "", c.header, c.value)
		if c.status == 401 {
			wantError(t, resp, b, 401, "")
		} else if resp.StatusCode != c.status {
			t.Errorf("%s: %s: %s", c.header, c.value, resp.Status)
		}
	}
	for _, path := range []string{"/health", "/readyz", "/metrics", "/"} {
		if resp, _ := f.do("GET", path, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %s without a key", path, resp.Status)
		}
	}
	resp, b := f.do("POST", "/v1/embeddings", "{}")
	wantError(t, resp, b, 401, "")
}

func TestCORS(t *testing.T) {
	f := serve(t, "talk", ullm.Options{}, server.CORS([]string{"https://page.example"}), server.APIKey("key"))
	preflight := func(origin string) http.Header {
		resp, _ := f.do("OPTIONS", "/v1/chat/completions", "", "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization, content-type")
		return resp.Header
	}
	h := preflight("https://page.example")
	if h.Get("Access-Control-Allow-Origin") != "https://page.example" || h.Get("Access-Control-Allow-Methods") != "POST" ||
		!strings.Contains(strings.ToLower(h.Get("Access-Control-Allow-Headers")), "authorization") {
		t.Errorf("preflight: %v", h)
	}
	if got := preflight("https://other.example").Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("another origin is allowed: %q", got)
	}
	resp, _ := f.do("GET", "/v1/models", "", "Origin", "https://page.example") // an error can be read too
	if resp.StatusCode != 401 || resp.Header.Get("Access-Control-Allow-Origin") != "https://page.example" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	plain := serve(t, "talk", ullm.Options{})
	if resp, _ := plain.do("GET", "/v1/models", "", "Origin", "https://page.example"); resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS without being asked for")
	}
}

func TestBodyLimit(t *testing.T) {
	f := serve(t, "talk", ullm.Options{}, server.MaxBody(1000))
	for _, path := range []string{"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"} {
		resp, b := f.do("POST", path, `{"prompt":"`+strings.Repeat("x", 1000)+`"}`)
		wantError(t, resp, b, 413, "")
	}
	resp, b := f.do("POST", "/tokenize", `{"prompt":"`+strings.Repeat("x", 900)+`"}`)
	if resp.StatusCode != 200 {
		t.Errorf("%s %s", resp.Status, b)
	}
}

func TestLoadingAndDraining(t *testing.T) {
	f := &fixture{t: t, server: server.Loading()}
	h := httptest.NewServer(f.server)
	defer h.Close()
	defer http.DefaultClient.CloseIdleConnections()
	f.url = h.URL
	type status struct {
		Status, Stage string
		Done          int64 `json:"done_bytes"`
		Total         int64 `json:"total_bytes"`
	}
	ready := func(code int, want status) {
		t.Helper()
		resp, b := f.do("GET", "/readyz", "")
		if got := decode[status](t, b); resp.StatusCode != code || got != want || (resp.Header.Get("Retry-After") == "") != (code == 200) {
			t.Errorf("%s %+v, want %d %+v", resp.Status, got, code, want)
		}
	}
	refused := func() {
		t.Helper()
		for _, path := range []string{"/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"} {
			resp, b := f.do("POST", path, `{"prompt":"x","tokens":[1]}`)
			wantError(t, resp, b, 503, "")
		}
		resp, b := f.do("GET", "/v1/models", "")
		wantError(t, resp, b, 503, "")
		if resp, _ := f.do("GET", "/healthz", ""); resp.StatusCode != 200 {
			t.Errorf("healthz: %s", resp.Status)
		}
		if resp, _ := f.do("GET", "/metrics", ""); resp.StatusCode != 200 {
			t.Errorf("metrics: %s", resp.Status)
		}
	}
	ready(503, status{Status: "loading"})
	f.server.Progress("load", 3, 10)
	ready(503, status{"loading", "load", 3, 10})
	refused()
	f.engine = openEngine(t, "talk", unending)
	f.server.Attach(f.engine)
	ready(200, status{Status: "ready"})

	// Streams that are open while the server drains go on: one to its end, one until its client leaves.
	stream := func(tokens int) *http.Response {
		t.Helper()
		body := fmt.Sprintf(`{"prompt":"Once upon","max_tokens":%d,"ignore_eos":true,"stream":true}`, tokens)
		resp, err := http.Post(f.url+"/v1/completions", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp, left := stream(100), stream(60_000)
	defer resp.Body.Close()
	f.server.Drain()
	ready(503, status{Status: "draining"})
	refused()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.server.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait with a stream open: %v", err)
	}
	done := make(chan error)
	go func() { done <- f.engine.Drain(t.Context()) }()
	if events := sse(t, resp.Body); len(events) != 101 {
		t.Errorf("%d events, want 101", len(events))
	}
	left.Body.Close()
	if err := <-done; err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := f.server.Wait(t.Context()); err != nil {
		t.Errorf("Wait: %v", err)
	}
	refused()
}

// longer gives the model a context that no test lives to see the end of.
const longer = `{"rope_type":"linear","factor":64}`

// unending has room for some answers that are as long.
var unending = ullm.Options{Backend: "ref", RopeScaling: longer, KVCacheTokens: 1 << 17}

// TestCutStreams drains with no time left: open streams end with an error event, and whole answers with 503.
func TestCutStreams(t *testing.T) {
	f := serve(t, "talk", unending)
	body := `{"prompt":"Once upon","max_tokens":60000,"ignore_eos":true,"stream":true}`
	resp, err := http.Post(f.url+"/v1/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	whole := make(chan int)
	go func() {
		resp, err := http.Post(f.url+"/v1/completions", "application/json", strings.NewReader(strings.Replace(body, "true}", "false}", 1)))
		if err != nil {
			t.Error(err)
			whole <- 0
			return
		}
		resp.Body.Close()
		whole <- resp.StatusCode
	}()
	for f.engine.Stats().Running < 2 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.engine.Drain(ctx); !errors.Is(err, sched.ErrCut) {
		t.Errorf("drain: %v", err)
	}
	events := sse(t, resp.Body)
	if n := len(events); n < 2 || events[n-1] != "[DONE]" || decode[envelope](t, []byte(events[n-2])).Error == nil {
		t.Errorf("the stream ends with %q", events[max(0, n-2):])
	}
	if status := <-whole; status != 503 {
		t.Errorf("whole answer: %d", status)
	}
}

func TestQueueFull(t *testing.T) {
	f := serve(t, "talk", ullm.Options{Backend: "ref", MaxBatchSeqs: 1, MaxQueue: 1, RopeScaling: longer, KVCacheTokens: 1 << 17})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begin := func() {
		r, _ := http.NewRequestWithContext(ctx, "POST", f.url+"/v1/completions", strings.NewReader(`{"prompt":"Once","max_tokens":60000,"ignore_eos":true,"stream":true}`))
		go func() {
			if resp, err := http.DefaultClient.Do(r); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}()
	}
	wait := func(running, waiting int) {
		for s := f.engine.Stats(); s.Running != running || s.Waiting != waiting; s = f.engine.Stats() {
			time.Sleep(time.Millisecond)
		}
	}
	begin()
	wait(1, 0)
	begin()
	wait(1, 1)
	for _, stream := range []string{"true", "false"} {
		resp, b := f.do("POST", "/v1/completions", `{"prompt":"x","stream":`+stream+`}`)
		wantError(t, resp, b, 429, "")
	}
	cancel()
	f.idle()
	// What the queue could never hold is the request's fault, not the hour's.
	for path, body := range map[string]string{
		"/v1/completions":      `{"prompt":["x","y"],"max_tokens":1}`,
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"x"}],"max_tokens":1,"n":2,"stream":true}`,
	} {
		resp, b := f.do("POST", path, body)
		wantError(t, resp, b, 400, "n")
	}
	if resp, b := f.do("POST", "/v1/completions", `{"prompt":"x"}`); resp.StatusCode != 200 {
		t.Errorf("with room in the queue: %s %s", resp.Status, b)
	}
}

func TestMetrics(t *testing.T) {
	f := serve(t, "talk", ullm.Options{}, server.Version("v1"))
	m := e2e.Load(t, "talk")
	for range 2 { // the second finds its prefix
		post[map[string]any](f, "/v1/completions", map[string]any{"prompt": strings.Repeat(m.Completions[0].Prompt, 4), "max_tokens": 5, "ignore_eos": true})
	}
	_, b := f.do("GET", "/metrics", "")
	text := string(b)
	for _, want := range []string{
		"ullm_requests_running 0", "ullm_requests_waiting 0", "ullm_kv_cache_usage_ratio 0", "ullm_generated_tokens_total 10",
		"ullm_time_to_first_token_seconds_count 2", "ullm_inter_token_seconds_count 8", `ullm_requests_finished_total{reason="length"} 2`,
		`ullm_device_memory_bytes{use="weights"}`, `ullm_device_memory_bytes{use="kv"}`, `ullm_build_info{version="v1"} 1`,
		"ullm_prefix_cache_hit_tokens_total 32",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
