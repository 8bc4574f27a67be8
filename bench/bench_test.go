package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const talk = "../model/qwen3/testdata/e2e/talk"

func TestParseWorkload(t *testing.T) {
	for text, want := range map[string]Workload{
		"256,100:1024,100:1024,seed=0":        {Requests: 256, In: [2]int{100, 1024}, Out: [2]int{100, 1024}},
		"1,1:1,2:2":                           {Requests: 1, In: [2]int{1, 1}, Out: [2]int{2, 2}},
		"3,1:2,3:4,concurrency=2,seed=1<<63":  {},
		"3,1:2,3:4,concurrency=2,seed=123456": {Requests: 3, In: [2]int{1, 2}, Out: [2]int{3, 4}, Concurrency: 2, Seed: 123456},
		"1,1:1,1:1,seed=18446744073709551615": {Requests: 1, In: [2]int{1, 1}, Out: [2]int{1, 1}, Seed: 1<<64 - 1},
		"":                                    {}, "1": {}, "1,2:3": {}, "0,1:1,1:1": {}, "x,1:1,1:1": {}, "1,0:1,1:1": {}, "1,2:1,1:1": {}, "1,1:2x,1:1": {},
		"1,1,1:1": {}, "1,1:1,1:1,seed": {}, "1,1:1,1:1,concurrency=-1": {}, "1,1:1,1:1,reps=2": {}, "1,1:1,1:1,": {},
	} {
		have, err := ParseWorkload(text)
		if want.Requests == 0 {
			if err == nil {
				t.Errorf("%q is taken as %+v", text, have)
			}
		} else if err != nil || have != want {
			t.Errorf("%q: %+v, %v", text, have, err)
		}
	}
}

func TestJobs(t *testing.T) {
	w := Workload{Requests: 200, In: [2]int{3, 9}, Out: [2]int{1, 4}, Seed: 5}
	jobs := w.Jobs(17)
	shortest, longest := 9, 3
	for _, j := range jobs {
		shortest, longest = min(shortest, len(j.Prompt)), max(longest, len(j.Prompt))
		if j.Out < 1 || j.Out > 4 || slices.Min(j.Prompt) < 0 || slices.Max(j.Prompt) > 16 {
			t.Fatalf("%+v", j)
		}
	}
	if shortest != 3 || longest != 9 {
		t.Errorf("prompts have %d to %d tokens", shortest, longest)
	}
	same := func(a, b Job) bool { return a.Out == b.Out && slices.Equal(a.Prompt, b.Prompt) }
	if !slices.EqualFunc(jobs, w.Jobs(17), same) {
		t.Error("the same seed gives other requests")
	}
	if w.Seed = 6; slices.EqualFunc(jobs, w.Jobs(17), same) {
		t.Error("another seed gives the same requests")
	}
}

func TestStatistics(t *testing.T) {
	if s := spread([]float64{3, 1, 10, 2}); s != (Spread{Median: 2.5, Min: 1, Max: 10}) {
		t.Errorf("%+v", s)
	}
	if s := spread([]float64{7}); s != (Spread{7, 7, 7}) {
		t.Errorf("%+v", s)
	}
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{.5: 50, .99: 99, 1: 100, 0: 1} {
		if q := quantile(hundred, p); q != want {
			t.Errorf("quantile %g of 1 to 100 is %g", p, q)
		}
	}
	if q := quantile(nil, .5); q != 0 {
		t.Errorf("quantile of nothing is %g", q)
	}
}

func TestCost(t *testing.T) {
	c, _ := model.Published("0.6b")
	cost := CostOf(c, model.Sizing{StepBytes: 123, KVBytes: 16 * 1000, Pages: 1})
	// The model card: 0.6B parameters, 0.44B without the embedding.
	if cost.WeightBytes != 123 || cost.KVBytes != 1000 || cost.Flops != 2*440_401_920 || cost.HeadFlops != 2*155_582_464 {
		t.Errorf("%+v", cost)
	}
}

func TestStepsOnModel(t *testing.T) {
	ctx := t.Context()
	in, err := ullm.OpenInstance(ctx, talk, ullm.Options{Backend: "ref", MaxBatchSeqs: 3, ContextLen: 100, MaxBatchTokens: 32, KVCacheTokens: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}()
	for what, run := range map[string]func() (Spread, error){
		"a prompt in four chunks": func() (Spread, error) { return Prefill(ctx, in.Model, 99, 2) },
		"one sequence":            func() (Spread, error) { return Decode(ctx, in.Model, 2, 5, 1, 20, 3) },
		"three sequences":         func() (Spread, error) { return Decode(ctx, in.Model, 2, 5, 3, 20, 1) },
		"one step at a time":      func() (Spread, error) { return Decode(ctx, in.Model, 1, 5, 2, 0, 1) },
	} {
		if s, err := run(); err != nil || !(s.Min > 0 && s.Min <= s.Median && s.Median <= s.Max) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for what, c := range map[string]struct {
		says string
		run  func() (Spread, error)
	}{
		"longer than the context":   {"context holds 100", func() (Spread, error) { return Prefill(ctx, in.Model, 101, 1) }},
		"more than the cache holds": {"208 tokens for 3", func() (Spread, error) { return Decode(ctx, in.Model, 2, 60, 3, 20, 1) }},
		"too many sequences":        {"only 3", func() (Spread, error) { return Decode(ctx, in.Model, 2, 1, 4, 1, 1) }},
		"interrupted":               {"canceled", func() (Spread, error) { return Decode(ended, in.Model, 2, 5, 1, 20, 1) }},
	} {
		if _, err := c.run(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestWorkloadOnEngine(t *testing.T) {
	e, err := ullm.Open(t.Context(), talk, ullm.Backend("ref"), ullm.ContextLen(64))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	w := Workload{Requests: 6, In: [2]int{1, 20}, Out: [2]int{2, 9}, Concurrency: 3}
	want := 0
	for _, j := range w.Jobs(e.Tokenizer().Size()) {
		want += j.Out
	}
	r, err := w.Run(t.Context(), e)
	if err != nil || r.OutputSize != want || r.Failed != 0 || r.Requests != 6 || r.Batch != 3 || !(r.TokensPerSecond.Median > 0) ||
		!(r.TTFTP50 > 0 && r.TTFTP50 <= r.TTFTP99) || !(r.InterP50 > 0 && r.InterP50 <= r.InterP99) {
		t.Errorf("%+v, %v; want %d tokens", r, err, want)
	}
	w.In = [2]int{20, 80} // some do not fit the context
	if r, err = w.Run(t.Context(), e); err == nil || r.Failed == 0 || r.Failed == 6 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReadStream(t *testing.T) {
	text := func(s string) string {
		return fmt.Sprintf("data: {\"choices\":[{\"text\":%q,\"finish_reason\":null}]}\n\n", s)
	}
	const done = "data: [DONE]\n\n"
	for _, c := range []struct {
		stream         string
		tokens, events int
		fails          string
	}{
		{text("a") + text("") + text("b") + done, 3, 3, ""},
		{text("a") + `data:{"choices":[{"text":"","finish_reason":"length"}]}` + "\n\n: a comment\n" + done, 1, 1, ""},
		{text("a") + `data: {"choices":[{"text":"b","finish_reason":"stop"}],"error":null}` + "\r\n\r\n" + done, 2, 2, ""},
		{text("ab") + `data: {"choices":[],"usage":{"completion_tokens":5}}` + "\n\n" + done, 5, 1, ""},
		{text("a") + `data: {"error":{"message":"shutting down"}}` + "\n\n", 1, 1, "shutting down"},
		{text("a"), 1, 1, io.ErrUnexpectedEOF.Error()},
		{"data: <html>\n\n", 0, 0, "no JSON"},
	} {
		events := 0
		tokens, err := readStream(strings.NewReader(c.stream), func() { events++ })
		if tokens != c.tokens || events != c.events || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q: %d tokens in %d events, %v", c.stream, tokens, events, err)
		}
	}
}

func TestWorkloadOnURL(t *testing.T) {
	served := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model      string
			Prompt     []int32
			MaxTokens  int `json:"max_tokens"`
			Stream     bool
			IgnoreEOS  bool `json:"ignore_eos"`
			StreamOpts struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Model != "m" || len(body.Prompt) == 0 || !body.Stream ||
			!body.IgnoreEOS || !body.StreamOpts.IncludeUsage || r.URL.Path != "/v1/completions" || r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s, %+v, %v", r.URL, body, err)
		}
		if served++; served == 3 {
			http.Error(w, "the queue is full", http.StatusTooManyRequests)
			return
		}
		for range body.MaxTokens {
			fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"x\"}]}\n\n")
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	w := Workload{Requests: 4, In: [2]int{1, 5}, Out: [2]int{2, 2}, Concurrency: 1}
	r, err := w.RunURL(t.Context(), s.URL+"/v1/", "m", "secret", 10)
	if r.OutputSize != 6 || r.Failed != 1 || err == nil || !strings.Contains(err.Error(), "queue is full") || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%+v, %v", r, err)
	}
}
