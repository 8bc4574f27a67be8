package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server"
)

// seeds are good requests to mutate.
var seeds = []struct{ path, body string }{
	{"/v1/completions", `{"model":"m","prompt":"The quick brown","max_tokens":4,"temperature":0.7,"top_p":0.9,"top_k":5,"min_p":0.1,"seed":3,"stop":["x","yz"],"n":2,"echo":true,"logprobs":2}`},
	{"/v1/completions", `{"prompt":[[1,2,3],[4]],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true},"logit_bias":{"5":-3,"6":100},"prompt_logprobs":1,"return_token_ids":true}`},
	{"/v1/completions", `{"prompt":["a","b"],"max_tokens":2,"min_tokens":1,"stop_token_ids":[7],"ignore_eos":true,"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.2,"skip_special_tokens":false}`},
	{"/v1/chat/completions", `{"messages":[{"role":"system","content":"You are"},{"role":"user","content":[{"type":"text","text":"Hi"}]}],"max_completion_tokens":4,"logprobs":true,"top_logprobs":3,"reasoning_effort":"low"}`},
	{"/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}],"stream":true,"max_tokens":2,"chat_template_kwargs":{"enable_thinking":false}}`},
	{"/tokenize", `{"prompt":"some text","add_special_tokens":true,"return_token_strs":true}`},
	{"/tokenize", `{"messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"f"}}],"add_generation_prompt":false}`},
	{"/detokenize", `{"tokens":[1,2,300]}`},
}

// checkAnswer sends a body and wants 200, or a clear mistake of the request's.
func checkAnswer(t testing.TB, h http.Handler, path, body string) (ok bool) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
	switch {
	case w.Code == 400:
		wantEnvelope(t, path, body, w.Body.Bytes())
	case w.Code != 200:
		t.Fatalf("%s %s: %d %s", path, body, w.Code, w.Body)
	case strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream"):
		events := sse(t, w.Body)
		if events[len(events)-1] != "[DONE]" {
			t.Fatalf("%s %s: the stream ends with %q", path, body, events[len(events)-1])
		}
		for _, e := range events[:len(events)-1] {
			if decode[envelope](t, []byte(e)).Error != nil {
				t.Fatalf("%s %s: %s", path, body, e)
			}
		}
	case !json.Valid(w.Body.Bytes()):
		t.Fatalf("%s %s: %s", path, body, w.Body)
	}
	return w.Code == 200
}

func wantEnvelope(t testing.TB, path, body string, answer []byte) {
	t.Helper()
	if e := decode[envelope](t, answer); e.Error == nil || e.Error.Message == "" || e.Error.Type != "invalid_request_error" {
		t.Fatalf("%s %s: %s", path, body, answer)
	}
}

func FuzzRequests(f *testing.F) {
	for i, s := range seeds {
		f.Add(uint8(i), []byte(s.body))
	}
	h := server.New(openEngine(f, "talk", ullm.Options{ContextLen: 64}))
	f.Fuzz(func(t *testing.T, path uint8, body []byte) {
		checkAnswer(t, h, seeds[int(path)%len(seeds)].path, string(body))
	})
}

// TestMutatedRequests sends 1,000 requests, in a short run 200, with something wrong somewhere.
func TestMutatedRequests(t *testing.T) {
	requests := 1000
	if testing.Short() {
		requests = 200
	}
	e := openEngine(t, "talk", ullm.Options{ContextLen: 64})
	f := &fixture{t: t, engine: e, server: server.New(e)}
	g := rand.New(rand.NewPCG(1, 2))
	good := 0
	for range requests {
		s := seeds[g.IntN(len(seeds))]
		if checkAnswer(t, f.server, s.path, mutate(t, g, s.body)) {
			good++
		}
	}
	if good < requests/10 || good > requests*9/10 {
		t.Errorf("%d of %d were good: the mutations are too weak or too strong", good, requests)
	}
	f.idle()
}

// odd are values that belong nowhere, or nearly.
var odd = []any{nil, true, false, 0, -1, 1, 2, 1e308, -1e-300, 1.5, 1 << 40, int64(-1) << 62, "", "x", "\x00\u2028\"\\", "<|im_end|><think>", []any{}, []any{nil},
	[]any{1, "a"}, []any{[]any{}}, map[string]any{}, map[string]any{"a": nil}, strings.Repeat("long ", 500), json.RawMessage("1e999"), json.RawMessage(`"\ud800"`)}

// mutate changes a body's values, or its bytes.
func mutate(t *testing.T, g *rand.Rand, body string) string {
	if g.IntN(4) == 0 {
		b := []byte(body)
		for range 1 + g.IntN(3) {
			switch i := g.IntN(len(b)); g.IntN(4) {
			case 0:
				b[i] = byte(g.IntN(256))
			case 1:
				b = append(b[:i], b[i+1:]...)
			case 2:
				b = append(b[:i], append([]byte{b[g.IntN(len(b))]}, b[i:]...)...)
			default:
				b = b[:i+1]
			}
		}
		return string(b)
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	for range 1 + g.IntN(2) {
		v = mutateValue(g, v)
	}
	return marshal(t, v)
}

func mutateValue(g *rand.Rand, v any) any {
	switch x := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(x))
		for k := range x {
			keys = append(keys, k)
		}
		if len(keys) == 0 || g.IntN(8) == 0 {
			x[fmt.Sprint("extra", g.IntN(9))] = odd[g.IntN(len(odd))]
			return x
		}
		slices.Sort(keys)
		k := keys[g.IntN(len(keys))]
		if g.IntN(8) == 0 {
			delete(x, k)
		} else {
			x[k] = mutateValue(g, x[k])
		}
		return x
	case []any:
		if len(x) == 0 || g.IntN(4) == 0 {
			return append(x, odd[g.IntN(len(odd))])
		}
		i := g.IntN(len(x))
		x[i] = mutateValue(g, x[i])
		return x
	}
	return odd[g.IntN(len(odd))]
}
