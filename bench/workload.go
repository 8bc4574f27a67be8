package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
		if n, err := fmt.Sscanf(fields[1+i], "%d:%d", &into[0], &into[1]); err != nil || n != 2 || into[0] < 1 || into[1] < into[0] {
			return bad()
		}
	}
	for _, f := range fields[3:] {
		key, value, _ := strings.Cut(f, "=")
		n, err := strconv.ParseUint(value, 10, 31)
		switch {
		case err == nil && key == "seed":
			w.Seed = n
		case err == nil && key == "concurrency":
			w.Concurrency = int(n)
		default:
			return bad()
		}
	}
	return w, nil
}

// job is one request.
type job struct {
	prompt []int32
	out    int
}

func (w Workload) jobs(vocab int) []job {
	g := rand.New(rand.NewPCG(w.Seed, 0))
	between := func(r [2]int) int { return r[0] + g.IntN(r[1]-r[0]+1) }
	jobs := make([]job, w.Requests)
	for i := range jobs {
		j := job{prompt: make([]int32, between(w.In)), out: between(w.Out)}
		for k := range j.prompt {
			j.prompt[k] = int32(g.IntN(vocab))
		}
		jobs[i] = j
	}
	return jobs
}

// client runs one request to its end and calls token for each token.
type client func(ctx context.Context, j job, token func()) error

// Run sends the workload to an engine.
func (w Workload) Run(ctx context.Context, e *ullm.Engine) (Result, error) {
	greedy := 0.0
	return w.run(ctx, e.Tokenizer().Size(), func(ctx context.Context, j job, token func()) error {
		for _, err := range e.Generate(ctx, ullm.Request{Tokens: j.prompt, MaxTokens: j.out, Temperature: &greedy, IgnoreEOS: true}) {
			if err != nil {
				return err
			}
			token()
		}
		return nil
	})
}

// RunURL sends the workload to a server that speaks OpenAI's API. Prompts are token ids below vocab.
func (w Workload) RunURL(ctx context.Context, url, modelName, apiKey string, vocab int) (Result, error) {
	url = strings.TrimSuffix(strings.TrimSuffix(url, "/"), "/v1") + "/v1/completions"
	return w.run(ctx, vocab, func(ctx context.Context, j job, token func()) error {
		body, err := json.Marshal(map[string]any{"model": modelName, "prompt": j.prompt, "max_tokens": j.out, "temperature": 0, "ignore_eos": true, "stream": true})
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		if apiKey != "" {
			r.Header.Set("Authorization", "Bearer "+apiKey)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
			return fmt.Errorf("bench: %s answers %s: %s", url, resp.Status, b)
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var chunk struct{ Choices []json.RawMessage }
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if ok && json.Unmarshal([]byte(data), &chunk) == nil && len(chunk.Choices) > 0 {
				token()
			}
		}
		return lines.Err()
	})
}

func (w Workload) run(ctx context.Context, vocab int, c client) (Result, error) {
	jobs := w.jobs(vocab)
	at := len(jobs)
	if w.Concurrency > 0 {
		at = min(at, w.Concurrency)
	}
	var (
		mu          sync.Mutex
		first       []float64
		inter       []float64
		result      = Result{Test: "workload", Batch: at, Requests: len(jobs)}
		firstErr    error
		clients     sync.WaitGroup
		waiting     = make(chan job, len(jobs))
		begun       = time.Now()
		oneAtATime  = func(f func()) { mu.Lock(); f(); mu.Unlock() }
		outputCount int
	)
	for _, j := range jobs {
		waiting <- j
	}
	close(waiting)
	for range at {
		clients.Go(func() {
			for j := range waiting {
				last, n := time.Now(), 0
				err := c(ctx, j, func() {
					now := time.Now()
					oneAtATime(func() {
						if n == 0 {
							first = append(first, now.Sub(last).Seconds())
						} else {
							inter = append(inter, now.Sub(last).Seconds())
						}
						outputCount++
					})
					last = now
					n++
				})
				if err != nil {
					oneAtATime(func() {
						result.Failed++
						if firstErr == nil {
							firstErr = err
						}
					})
				}
			}
		})
	}
	clients.Wait()
	result.OutputSize = outputCount
	result.TokensPerSecond = spread([]float64{float64(outputCount) / time.Since(begun).Seconds()})
	result.TTFTP50, result.TTFTP99 = quantile(first, .5), quantile(first, .99)
	result.InterP50, result.InterP99 = quantile(inter, .5), quantile(inter, .99)
	return result, firstErr
}

func quantile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(len(v)-1, int(p*float64(len(v))))]
}
