package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ullm/ullm"
)

// Workload is a number of requests with random input and output lengths.
type Workload struct {
	Requests    int
	In, Out     [2]int // shortest and longest, in tokens
	Seed        uint64
	Concurrency int // requests at once; 0: all
}

// ParseWorkload reads "256,100:1024,100:1024,seed=0[,concurrency=16]": requests, input lengths, output lengths.
func ParseWorkload(s string) (Workload, error) {
	bad := func() (Workload, error) {
		return Workload{}, fmt.Errorf("bench: workload %q: want REQUESTS,MIN:MAX,MIN:MAX[,seed=N][,concurrency=N]", s)
	}
	fields := strings.Split(s, ",")
	if len(fields) < 3 {
		return bad()
	}
	var w Workload
	var err error
	if w.Requests, err = strconv.Atoi(fields[0]); err != nil || w.Requests < 1 {
		return bad()
	}
	for i, into := range []*[2]int{&w.In, &w.Out} {
		low, high, _ := strings.Cut(fields[1+i], ":")
		var lowErr, highErr error
		into[0], lowErr = strconv.Atoi(low)
		into[1], highErr = strconv.Atoi(high)
		if lowErr != nil || highErr != nil || into[0] < 1 || into[1] < into[0] {
			return bad()
		}
	}
	for _, f := range fields[3:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "seed":
			w.Seed, err = strconv.ParseUint(value, 10, 64)
		case "concurrency":
			w.Concurrency, err = strconv.Atoi(value)
		default:
			return bad()
		}
		if err != nil || w.Concurrency < 0 {
			return bad()
		}
	}
	return w, nil
}

// Job is one request: a prompt of token ids, and how many tokens are to follow it.
type Job struct {
	Prompt []int32 `json:"prompt"`
	Out    int     `json:"out"`
}

// Jobs are the workload's requests, their ids below vocab.
func (w Workload) Jobs(vocab int) []Job {
	g := rand.New(rand.NewPCG(w.Seed, 0))
	between := func(r [2]int) int { return r[0] + g.IntN(r[1]-r[0]+1) }
	jobs := make([]Job, w.Requests)
	for i := range jobs {
		j := Job{Prompt: make([]int32, between(w.In)), Out: between(w.Out)}
		for k := range j.Prompt {
			j.Prompt[k] = int32(g.IntN(vocab))
		}
		jobs[i] = j
	}
	return jobs
}

// client runs one request to its end. It calls token as text arrives, and answers how many tokens were generated.
type client func(ctx context.Context, j Job, token func()) (tokens int, err error)

// Run sends the workload to an engine.
func (w Workload) Run(ctx context.Context, e *ullm.Engine) (Result, error) {
	greedy := 0.0
	return w.run(ctx, e.Tokenizer().Size(), func(ctx context.Context, j Job, token func()) (int, error) {
		n := 0
		for _, err := range e.Generate(ctx, ullm.Request{Tokens: j.Prompt, MaxTokens: j.Out, Temperature: &greedy, IgnoreEOS: true}) {
			if err != nil {
				return n, err
			}
			token()
			n++
		}
		return n, nil
	})
}

// RunURL sends the workload to a server that speaks OpenAI's API. Prompts are token ids below vocab.
func (w Workload) RunURL(ctx context.Context, url, modelName, apiKey string, vocab int) (Result, error) {
	return w.RunEndpoint(ctx, Endpoint{URL: url, Model: modelName, APIKey: apiKey}, vocab)
}

// RunEndpoint sends the workload to a server. Prompts are token ids below vocab.
func (w Workload) RunEndpoint(ctx context.Context, e Endpoint, vocab int) (Result, error) {
	return w.run(ctx, vocab, e.Complete)
}

// Endpoint is a server that speaks OpenAI's API.
type Endpoint struct {
	URL, Model, APIKey string
	Sampling           map[string]any // fields of every request: temperature, top_p, …; nil: greedy
}

// Complete sends one request that is not to be ended early, and reads its stream: token is called when text arrives. It
// returns how many tokens were generated.
func (e Endpoint) Complete(ctx context.Context, j Job, token func()) (int, error) {
	url := strings.TrimSuffix(strings.TrimSuffix(e.URL, "/"), "/v1") + "/v1/completions"
	fields := map[string]any{"model": e.Model, "prompt": j.Prompt, "max_tokens": j.Out, "temperature": 0,
		"ignore_eos": true, "stream": true, "stream_options": map[string]any{"include_usage": true}}
	maps.Copy(fields, e.Sampling)
	body, err := json.Marshal(fields)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	if e.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+e.APIKey)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return 0, fmt.Errorf("bench: %s answers %s: %s", url, resp.Status, b)
	}
	return readStream(resp.Body, token)
}

// readStream reads the server-sent events of a completion. The number of tokens is the server's own where it tells, since
// an event may hold several or none.
func readStream(r io.Reader, token func()) (tokens int, err error) {
	told := false
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		if data = strings.TrimSpace(data); data == "[DONE]" {
			return tokens, nil
		}
		var event struct {
			Choices []struct {
				Text   string
				Finish *string `json:"finish_reason"`
			}
			Usage *struct {
				Tokens int `json:"completion_tokens"`
			}
			Error *json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return tokens, fmt.Errorf("bench: the stream holds no JSON: %w", err)
		}
		if event.Error != nil {
			return tokens, fmt.Errorf("bench: the server broke off: %s", *event.Error)
		}
		if c := event.Choices; len(c) > 0 && (c[0].Text != "" || c[0].Finish == nil) { // some servers finish with an event of its own
			token()
			if !told {
				tokens++
			}
		}
		if event.Usage != nil {
			tokens, told = event.Usage.Tokens, true
		}
	}
	if err := lines.Err(); err != nil {
		return tokens, err
	}
	return tokens, fmt.Errorf("bench: the stream broke off: %w", io.ErrUnexpectedEOF)
}

// run sends all requests, as many at once as the workload says, and measures. Requests that fail are counted; the error
// is the first one's.
func (w Workload) run(ctx context.Context, vocab int, c client) (Result, error) {
	jobs := w.Jobs(vocab)
	at := len(jobs)
	if w.Concurrency > 0 {
		at = min(at, w.Concurrency)
	}
	waiting := make(chan int, len(jobs))
	for i := range jobs {
		waiting <- i
	}
	close(waiting)
	var (
		result   = Result{Test: "workload", Batch: at, Requests: len(jobs)}
		arrivals = make([][]float64, len(jobs))
		mu       sync.Mutex
		failure  error
		clients  sync.WaitGroup
	)
	one := func(i int) {
		begun := time.Now()
		tokens, err := c(ctx, jobs[i], func() { arrivals[i] = append(arrivals[i], time.Since(begun).Seconds()) })
		mu.Lock()
		defer mu.Unlock()
		result.OutputSize += tokens
		if err != nil {
			result.Failed++
			failure = cmp.Or(failure, err)
		}
	}
	begun := time.Now()
	for range at {
		clients.Go(func() {
			for i := range waiting {
				one(i)
			}
		})
	}
	clients.Wait()
	result.TokensPerSecond = spread([]float64{float64(result.OutputSize) / time.Since(begun).Seconds()})
	result.Latencies(arrivals)
	return result, failure
}

// Latencies fills in the quantiles of the times to the first token and between tokens, from the times at which each
// request's tokens arrived: in seconds since it was sent.
func (r *Result) Latencies(arrivals [][]float64) {
	var first, inter []float64
	for _, times := range arrivals {
		for i, t := range times {
			if i == 0 {
				first = append(first, t)
			} else {
				inter = append(inter, t-times[i-1])
			}
		}
	}
	r.TTFTP50, r.TTFTP99 = quantile(first, .5), quantile(first, .99)
	r.InterP50, r.InterP99 = quantile(inter, .5), quantile(inter, .99)
}

// quantile is the smallest value that at least the share p of all values do not exceed.
func quantile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[max(int(math.Ceil(p*float64(len(v)))), 1)-1]
}
