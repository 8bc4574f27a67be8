package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ullm/ullm/internal/e2e"
)

func TestRunOnce(t *testing.T) {
	model, thinker := talk(t), e2e.Load(t, "think").Path
	for _, c := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{model, "Hello!"}, "Hello! How can I help you?\n"},
		{"", []string{model, "What", "is", "two", "plus", "two?"}, "Two plus two is four.\n"},
		{"Hello!\n", []string{model}, "Hello! How can I help you?\n"},
		{"", []string{"-m", model, "Hello!"}, "Hello! How can I help you?\n"},
		{"", []string{model, "--system", "You are a tiny test model.", "Hello!"}, "Greetings, human.\n"},
		{"", []string{model, "Write a list."}, "- first\n- second\n- third\n"},
		{"", []string{model, "-n", "2", "What is two plus two?"}, "Two\n"},
		{"", []string{thinker, "--think", "Hello!"}, "Hello! How can I help you?\n"}, // the thinking is for a terminal
		{"", []string{thinker, "--no-think", "Hello!"}, "Hello! How can I help you?\n"},
		{"", []string{e2e.Load(t, "talk-q8_0").Path, "Hello!"}, "Hello! How can I help you?\n"},
	} {
		r := invoke(t, c.stdin, nil, append([]string{"run", "--temperature", "0"}, c.args...)...)
		if r.code != 0 || r.stdout != c.want || r.stderr != "" {
			t.Errorf("%v: %d %q %q, want %q", c.args, r.code, r.stdout, r.stderr, c.want)
		}
	}
	seeded := func(seed string) string {
		return invoke(t, "", nil, "run", model, "Hello!", "--temperature", "50", "--seed", seed, "-n", "20").stdout
	}
	if seeded("1") != seeded("1") || seeded("1") == seeded("2") {
		t.Error("--seed does not decide")
	}
	invoke(t, "", nil, "run", model, "--temperature=-1", "x").want(t, 1, "temperature")
	invoke(t, "", nil, "run", model, strings.Repeat("many words ", 1000)).want(t, 1, "context")
}

func TestTokenizeCommand(t *testing.T) {
	m := e2e.Load(t, "talk")
	a := m.Completions[0]
	ids := strings.Trim(fmt.Sprint(a.PromptTokens), "[]") + "\n"
	for _, r := range []result{
		invoke(t, "", nil, "tokenize", "--ids", m.Path, a.Prompt),
		invoke(t, a.Prompt, nil, "tokenize", "--ids", m.Path),
		invoke(t, "", []string{"ULLM_MODEL=" + m.Path}, "tokenize", "--ids", a.Prompt),
	} {
		if r.code != 0 || r.stdout != ids {
			t.Errorf("%d %q %s, want %q", r.code, r.stdout, r.stderr, ids)
		}
	}
	invoke(t, "", nil, "tokenize", m.Path, "The fox").want(t, 0, `"Th`)
	special := strings.Fields(invoke(t, "", nil, "tokenize", "--ids", m.Path, "<|im_end|>").stdout)
	plain := strings.Fields(invoke(t, "", nil, "tokenize", "--ids", "--plain", m.Path, "<|im_end|>").stdout)
	if len(special) != 1 || len(plain) < 3 {
		t.Errorf("special %v, plain %v", special, plain)
	}
}

func TestDevicesAndVersion(t *testing.T) {
	r := invoke(t, "", nil, "devices")
	for _, want := range []string{"cuda ", "vulkan ", "cpu     0:", "ref     0:", "KV cache", "q4_k", "limits"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	invoke(t, "", nil, "version").want(t, 0, "ullm devel "+runtime.GOOS+"/"+runtime.GOARCH)
}

func TestBenchCommand(t *testing.T) {
	type report struct {
		Model, Backend, Device string
		Results                []struct {
			Test            string
			Batch           int
			TokensPerSecond struct{ Median, Min, Max float64 } `json:"tokens_per_second"`
			Requests        int
			OutputTokens    int `json:"output_tokens"`
		}
	}
	run := func(args ...string) report {
		t.Helper()
		r := invoke(t, "", nil, append([]string{"bench", "--json"}, args...)...)
		var v report
		if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || r.code != 0 {
			t.Fatalf("%v: %d %v\n%s\n%s", args, r.code, err, r.stdout, r.stderr)
		}
		for _, x := range v.Results {
			if s := x.TokensPerSecond; s.Min <= 0 || s.Median < s.Min || s.Max < s.Median {
				t.Errorf("%v: %+v", args, x)
			}
		}
		return v
	}
	tests := func(r report) (all []string) {
		for _, x := range r.Results {
			all = append(all, fmt.Sprint(x.Test, "x", x.Batch))
		}
		return all
	}
	if got := run(talk(t), "-p", "16,32", "-n", "8", "--batch", "1,4", "--reps", "2"); !slices.Equal(tests(got), []string{"pp16x1", "pp32x1", "tg8x1", "tg8x4"}) || got.Backend != "cpu" || got.Device == "" {
		t.Errorf("%+v", got)
	}
	if got := run(talk(t), "-p", "0", "-n", "4", "--reps", "1", "--backend", "ref"); !slices.Equal(tests(got), []string{"tg4x1"}) {
		t.Errorf("%+v", got)
	}
	workload := []string{"--workload", "6,5:20,3:9,seed=1"}
	local := run(append(workload, talk(t))...)
	d := start(t, nil, talk(t)).ready()
	remote := run(append(workload, "--url", d.url, "--vocab", "380")...)
	for _, got := range []report{local, remote} {
		if len(got.Results) != 1 || got.Results[0].Test != "workload" || got.Results[0].Requests != 6 || got.Results[0].OutputTokens < 18 {
			t.Errorf("%+v", got)
		}
	}
	if got := run("random:0.6b", "--format", "q8_0", "-p", "0", "-n", "1", "--depth", "4", "--reps", "1", "-c", "64", "--max-bs", "1"); got.Model != "random:0.6b,q8_0" || !slices.Equal(tests(got), []string{"tg1x1"}) {
		t.Errorf("%+v", got)
	}
	invoke(t, "", nil, "bench", talk(t), "-n", "8", "--batch", "9", "--max-bs", "8").want(t, 1, "batch of 9")
	invoke(t, "", nil, "bench", talk(t), "-p", "8", "-n", "0", "--reps", "1", "--backend", "ref").want(t, 0, "tokens/s")
}

// hub is a model hub with one model, "tiny/talk"; it speaks as much of the hub's API as a download needs.
func hub(t *testing.T) string {
	t.Helper()
	files := map[string][]byte{}
	dir := talk(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	commit := strings.Repeat("c0ffee00", 5)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Repo-Commit", commit)
		if r.URL.Path == "/api/models/tiny/talk/revision/main" {
			type sibling struct {
				Name string `json:"rfilename"`
			}
			var siblings []sibling
			for name := range files {
				siblings = append(siblings, sibling{name})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"id": "tiny/talk", "sha": commit, "siblings": siblings})
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/tiny/talk/resolve/"+commit+"/")
		data, known := files[name]
		if !ok || !known {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestHub(t *testing.T) {
	home := t.TempDir()
	env := []string{"HF_ENDPOINT=" + hub(t), "HF_HOME=" + home}
	r := invoke(t, "", env, "pull", "tiny/talk")
	path := strings.TrimSpace(r.stdout)
	if _, err := os.Stat(filepath.Join(path, "model.safetensors")); r.code != 0 || err != nil || !strings.HasPrefix(path, home) {
		t.Fatalf("%d %q %v\n%s", r.code, r.stdout, err, r.stderr)
	}
	if _, err := os.Stat(filepath.Join(path, "expected.json")); err == nil {
		t.Error("a file was fetched that no model needs")
	}
	offline := []string{"HF_ENDPOINT=http://127.0.0.1:1", "HF_HOME=" + home, "HF_HUB_OFFLINE=1"}
	invoke(t, "", offline, "run", "tiny/talk", "--temperature", "0", "Hello!").want(t, 0, "Hello! How can I help you?\n")
	invoke(t, "", offline, "pull", "tiny/other").want(t, 1, "tiny/other")
	invoke(t, "", []string{env[0]}, "pull", "not a model").want(t, 1, "not a model")

	d := start(t, []string{env[0], "HF_HOME=" + t.TempDir()}, "tiny/talk").ready()
	status, body := d.get("/v1/models")
	if status != http.StatusOK || !strings.Contains(body, `"id":"tiny/talk"`) {
		t.Errorf("%d %s", status, body)
	}
}

func TestQuantizeCommand(t *testing.T) {
	model := talk(t)
	dir := t.TempDir()
	full := filepath.Join(dir, "full.gguf")
	invoke(t, "", nil, "quantize", model, full, "--format", "bf16").want(t, 0, full)
	for format, from := range map[string]string{"q8_0": model, "Q5_1": full} {
		out := filepath.Join(dir, format+".gguf")
		invoke(t, "", nil, "quantize", from, out, "--format", format).want(t, 0, "MB")
		invoke(t, "", nil, "run", out, "--temperature", "0", "Hello!").want(t, 0, "Hello! How can I help you?\n")
		invoke(t, "", nil, "quantize", from, out, "--format", format).want(t, 2, "--force")
		invoke(t, "", nil, "quantize", from, out, "--format", format, "--force").want(t, 0, "MB")
	}
	invoke(t, "", nil, "run", full, "--temperature", "0", "What is two plus two?").want(t, 0, "Two plus two is four.\n")
	invoke(t, "", nil, "quantize", filepath.Join(dir, "q8_0.gguf"), filepath.Join(dir, "x.gguf"), "--format", "q4_0").want(t, 1, "q8_0 already")
	invoke(t, "", nil, "quantize", filepath.Join(dir, "none"), filepath.Join(dir, "x.gguf"), "--format", "q4_0").want(t, 1, "none")
	if left, _ := filepath.Glob(filepath.Join(dir, "x.gguf*")); len(left) > 0 {
		t.Errorf("%v was left behind", left)
	}
}

func TestServeOptions(t *testing.T) {
	cert, key := certificate(t)
	d := start(t, []string{"ULLM_API_KEY=secret"}, talk(t), "--served-model-name", "other", "--tls-cert", cert, "--tls-key", key, "--log-format", "json", "--log-level", "debug")
	if try := d.line() + d.line(); !strings.HasPrefix(d.url, "https://127.0.0.1:") || !strings.Contains(try, "$ULLM_API_KEY") || !strings.Contains(try, "--insecure") {
		t.Errorf("%s: %s", d.url, try)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for key, want := range map[string]int{"secret": 200, "wrong": 401} {
		r, _ := http.NewRequest("POST", d.url+"/v1/chat/completions", strings.NewReader(`{"messages":[{"role":"user","content":"Hello!"}],"temperature":0,"stream":true}`))
		r.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || (want == 200) != strings.HasSuffix(string(b), "data: [DONE]\n\n") || (want == 200) != strings.Contains(string(b), `"model":"other"`) {
			t.Errorf("%s: %s %s", key, resp.Status, b)
		}
	}
	if got := readyLine(t, d.logs(`"msg":"ready"`)); got["kv_tokens"].(float64) <= 0 || got["full_requests"].(float64) < 1 || got["memory"] == "" {
		t.Errorf("%v", got)
	}
	d.logs(`"path":"/v1/chat/completions","status":401`)
	invoke(t, "", nil, "serve", talk(t), "--port", "0", "--tls-cert", key, "--tls-key", cert).want(t, 1, "tls")
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", secret)
}
