package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ullm/ullm/bench"
)

// TestLoad: every scenario runs against a server that counts prompts as ullm does.
func TestLoad(t *testing.T) {
	seen, prompts, hits := map[string]bool{}, 0, 0
	requests := make(chan []int32, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			for len(requests) > 0 {
				prompt := <-requests
				prompts += len(prompt)
				if len(prompt) < 1024 {
					continue
				}
				if key := fmt.Sprint(prompt[:1024]); seen[key] {
					hits += 1024
				} else {
					seen[key] = true
				}
			}
			fmt.Fprintf(w, "# HELP x y\nullm_prompt_tokens_total %d\nullm_prefix_cache_hit_tokens_total %d\n", prompts, hits)
			return
		}
		var body struct {
			Prompt    []int32
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		requests <- body.Prompt
		for range body.MaxTokens {
			fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"x\"}]}\n\n")
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	o := options{url: s.URL, prefix: true, mixed: true, vocab: 1000, rounds: 2}
	if err := o.setWorkloads("3,1:4,2:5;2,1:1,1:1;"); err != nil {
		t.Fatal(err)
	}
	if err := o.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if hits != 15*1024 { // of 16 requests in two rounds, one came first
		t.Errorf("%d tokens of prefixes were met again", hits)
	}
}

func TestTable(t *testing.T) {
	result := func(rate, first float64) bench.Result {
		return bench.Result{TokensPerSecond: bench.Spread{Median: rate}, TTFTP50: first, TTFTP99: 2, InterP50: 0.01, InterP99: 0.02}
	}
	work := table{title: "work"}
	work.add("ullm", result(100, 1))
	work.add("other", result(50, 3))
	work.add("ullm", result(120, 1))
	const want = `| work | output tokens/s | ratio | first token p50 | p99 | between tokens p50 | p99 |
|---|---|---|---|---|---|---|
| ullm | 110.0 |  | 1.000 s | 2.000 s | 0.010 s | 0.020 s |
| other | 50.0 | 2.20 | 3.000 s | 2.000 s | 0.010 s | 0.020 s |
`
	if have := work.String(); have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
}

func TestWorkloads(t *testing.T) {
	var o options
	if err := o.setWorkloads("1,2:3"); err == nil || !strings.Contains(err.Error(), "want REQUESTS") {
		t.Errorf("error %v", err)
	}
	o.serving.Slots = 16
	if err := o.setWorkloads("64,1:2,1:2;100,1:2,1:2,concurrency=20"); err != nil || o.most() != 64 {
		t.Errorf("%v, %d at once", err, o.most())
	}
}
