package main_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sized runs a prompt and returns what the log says was sized.
func sized(t *testing.T, env []string, args ...string) map[string]any {
	t.Helper()
	r := invoke(t, "", env, append([]string{"run", "--log-level", "info", "--log-format", "json", "--temperature", "0", "-n", "2"}, args...)...)
	if r.code != 0 {
		t.Fatalf("%v %v: %d %s", env, args, r.code, r.stderr)
	}
	return readyLine(t, r.stderr)
}

func TestFlags(t *testing.T) {
	config := filepath.Join(t.TempDir(), "ullm.yaml")
	write := func(text string) {
		if err := os.WriteFile(config, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	model := talk(t)
	write("max_bs: 3\ncontext-len: 64\nbackend: ref\ncors-origins: [a, b]\n")
	for _, c := range []struct {
		env  []string
		args []string
		want map[string]any
	}{
		{nil, []string{model, "x"}, map[string]any{"max_bs": 256.0, "context": 1024.0, "backend": "cpu", "model": "talk"}},
		{nil, []string{"--max-num-seqs", "5", "--max-model-len=128", "--max-num-batched-tokens", "32", "-t", "1", model, "x"}, map[string]any{"max_bs": 5.0, "context": 128.0, "batch_tokens": 32.0, "threads": 1.0, "depth": 2.0}},
		{nil, []string{"--threads", "3", "--disable-async-scheduling", "--enforce-eager", "--device-ids", "0", "--worker-mode", "process", "--use-threading", model, "x"}, map[string]any{"threads": 3.0, "depth": 1.0}},
		{nil, []string{"-c", "64", "--kv-cache-tokens", "512", model, "x"}, map[string]any{"kv_tokens": 512.0, "full_requests": 8.0}},
		{nil, []string{"-m", model, "-c", "96", "x"}, map[string]any{"context": 96.0}},
		{nil, []string{"--model", model, "--backend", "ref", "--kv-dtype", "q8_0", "x"}, map[string]any{"backend": "ref", "kv_dtype": "q8_0"}},
		{[]string{"ULLM_MODEL=" + model, "ULLM_MAX_BS=7", "ULLM_CONTEXT_LEN=80", "ULLM_BACKEND=ref"}, []string{"x"}, map[string]any{"max_bs": 7.0, "context": 80.0, "backend": "ref", "model": "talk"}},
		{[]string{"ULLM_MAX_BS=7"}, []string{"--max-bs", "9", model, "x"}, map[string]any{"max_bs": 9.0}},
		{nil, []string{"--config", config, model, "x"}, map[string]any{"max_bs": 3.0, "context": 64.0, "backend": "ref"}},
		{[]string{"ULLM_CONFIG=" + config}, []string{model, "x"}, map[string]any{"max_bs": 3.0}},
		{[]string{"ULLM_MAX_BS=7"}, []string{"--config", config, "-c", "48", model, "x"}, map[string]any{"max_bs": 7.0, "context": 48.0, "backend": "ref"}},
	} {
		got := sized(t, c.env, c.args...)
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%v %v: %s is %v, want %v", c.env, c.args, key, got[key], want)
			}
		}
	}
	write("model: " + model + "\nmax-num-seqs: 4\nrope-scaling: {rope_type: linear, factor: 2.0}\n")
	if got := sized(t, nil, "--config", config, "x"); got["max_bs"] != 4.0 || got["context"] != 2048.0 {
		t.Errorf("%v", got)
	}
	write("max-bss: 3\n")
	invoke(t, "", nil, "run", "--config", config, model, "x").want(t, 2, "max-bss")
	write("max-bs: [")
	invoke(t, "", nil, "run", "--config", config, model, "x").want(t, 2, "config")
}

func TestUsage(t *testing.T) {
	model := talk(t)
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		said string
		env  []string
		args []string
	}{
		{"expected", nil, nil},
		{"unexpected", nil, []string{"dance"}},
		{"--nonsense", nil, []string{"serve", "--nonsense"}},
		{"--tp-size", nil, []string{"serve", model, "--tp-size", "2"}},
		{"--tp-size", nil, []string{"serve", model, "--tensor-parallel-size", "2"}},
		{"--pp-size", nil, []string{"serve", model, "--pipeline-parallel-size", "2"}},
		{"--tp-size", []string{"ULLM_TP_SIZE=4"}, []string{"serve", model}},
		{"one device", nil, []string{"serve", model, "--device-ids", "0,1"}},
		{"--device-ids", nil, []string{"serve", model, "--device-ids=-1"}},
		{"--worker-mode", nil, []string{"serve", model, "--worker-mode", "process"}},
		{"--profile", nil, []string{"serve", model, "--profile", "no/such/x.json"}},
		{"--backend", nil, []string{"serve", model, "--backend", "abacus"}},
		{"not in this build", nil, []string{"serve", model, "--backend", "cuda"}},
		{"--gpu-memory-utilization", nil, []string{"serve", model, "--gpu-memory-utilization", "1.5"}},
		{"--gpu-memory-utilization", nil, []string{"serve", model, "--gpu-memory-utilization", "NaN"}},
		{"--max-bs", nil, []string{"serve", model, "--max-bs", "0"}},
		{"--context-len", nil, []string{"serve", model, "--context-len=-1"}},
		{"--kv-dtype", nil, []string{"serve", model, "--kv-dtype", "q4_k"}},
		{"--rope-scaling", nil, []string{"serve", model, "--rope-scaling", "{"}},
		{"--port", nil, []string{"serve", model, "--port", "70000"}},
		{"--max-queue", nil, []string{"serve", model, "--max-queue=-1"}},
		{"--drain-timeout", nil, []string{"serve", model, "--drain-timeout", "soon"}},
		{"--tls-cert", nil, []string{"serve", model, "--tls-cert", model + "/config.json"}},
		{"missing", nil, []string{"serve", model, "--chat-template", missing}},
		{"missing", nil, []string{"serve", model, "--config", missing}},
		{"missing", []string{"ULLM_CONFIG=" + missing}, []string{"serve", model}},
		{"--log-level", nil, []string{"serve", model, "--log-level", "loud"}},
		{"no prompt", nil, []string{"run", model}},
		{"--format", nil, []string{"bench", model, "--format", "q8_0"}},
		{"--url", nil, []string{"bench", "--url", "http://127.0.0.1:1"}},
		{"workload", nil, []string{"bench", model, "--workload", "many"}},
		{"--reps", nil, []string{"bench", model, "--reps", "0"}},
		{"--format", nil, []string{"quantize", model, missing}},
		{"--format", nil, []string{"quantize", model, missing, "--format", "q9"}},
		{"--force", nil, []string{"quantize", model, model + "/config.json", "--format", "q8_0"}},
	} {
		if r := invoke(t, "", c.env, c.args...); r.code != 2 || !strings.Contains(r.stderr, c.said) || r.stdout != "" || !strings.HasPrefix(r.stderr, "ullm: ") {
			t.Errorf("%v %v: exit code %d\nstdout: %s\nstderr: %s\nwant 2 and %q", c.env, c.args, r.code, r.stdout, r.stderr, c.said)
		}
	}
	invoke(t, "", nil, "--help").want(t, 0, "serve")
	invoke(t, "", nil, "serve", "--help").want(t, 0, "--max-bs")
}

// TestServeFlags sees the flags of serve that the log's line does not show doing what they say.
func TestServeFlags(t *testing.T) {
	type usage struct {
		Usage struct {
			Details struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	cached := func(d *daemon) (n int) {
		t.Helper()
		for range 2 { // the second time the prompt is known
			resp := d.post("/v1/completions", `{"prompt":"Once upon a time there was a small model that knew a few sentences","max_tokens":1}`)
			var u usage
			if err := json.NewDecoder(resp.Body).Decode(&u); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status, err)
			}
			resp.Body.Close()
			n = u.Usage.Details.Cached
		}
		return n
	}
	preflight := func(d *daemon) string {
		t.Helper()
		r, err := http.NewRequest("OPTIONS", d.url+"/v1/completions", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", "https://a.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.Header.Get("Access-Control-Allow-Origin")
	}
	template := filepath.Join(t.TempDir(), "fox.jinja")
	if err := os.WriteFile(template, []byte("The quick brown fox"), 0o666); err != nil {
		t.Fatal(err)
	}
	d := start(t, nil, talk(t)).ready()
	if n, origin := cached(d), preflight(d); n == 0 || origin != "" {
		t.Errorf("%d tokens are cached, %q may call", n, origin)
	}
	d = start(t, []string{"ULLM_DISABLE_PREFIX_CACHE=true"}, talk(t), "--cors-origins", "https://b.example,https://a.example", "--chat-template", template, "--log-level", "error").ready()
	if n, origin := cached(d), preflight(d); n != 0 || origin != "https://a.example" {
		t.Errorf("%d tokens are cached, %q may call", n, origin)
	}
	resp := d.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"temperature":0}`)
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), `" jumps over the lazy dog."`) {
		t.Errorf("with a template of its own: %s", b)
	}
	if log := d.log(); log != "" {
		t.Errorf("errors only, and the log has %s", log)
	}
}

func TestStartErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	invoke(t, "", nil, "serve", talk(t), "--port", port).want(t, 1, "cannot listen")
	empty := t.TempDir()
	invoke(t, "", nil, "serve", empty, "--port", "0").want(t, 1, empty)
	invoke(t, "", nil, "run", filepath.Join(empty, "no.gguf"), "x").want(t, 1, "no.gguf")
	invoke(t, "", nil, "run", "random:9b", "x").want(t, 1, "0.6b")
	invoke(t, "", nil, "serve", talk(t), "--port", "0", "--context-len", "5000").want(t, 1, "1024")
	invoke(t, "", nil, "serve", talk(t), "--port", "0", "--host", "192.0.2.1").want(t, 1, "cannot listen") // nobody's address
	invoke(t, "", nil, "run", talk(t), "x", "--gpu-memory-utilization", "1e-6").want(t, 1, "memory")
	invoke(t, "", nil, "run", talk(t), "x", "--kv-cache-tokens", "64", "-c", "256").want(t, 1, "--kv-cache-tokens")
	invoke(t, "", nil, "run", talk(t), "x", "--backend", "ref", "--device-ids", "7").want(t, 1, "device")
	invoke(t, "", nil, "run", "some/model", "x", "--hub-offline").want(t, 1, "some/model")
	template := filepath.Join(empty, "bad.jinja")
	if err := os.WriteFile(template, []byte("{% for %}"), 0o666); err != nil {
		t.Fatal(err)
	}
	invoke(t, "", nil, "run", talk(t), "x", "--chat-template", template).want(t, 1, "template")
}
