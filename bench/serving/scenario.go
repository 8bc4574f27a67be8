package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ullm/ullm/bench"
)

// together sends jobs at once and returns when their tokens arrived, in seconds since each was sent.
func together(ctx context.Context, e bench.Endpoint, jobs []bench.Job) ([][]float64, error) {
	arrivals, failures := make([][]float64, len(jobs)), make([]error, len(jobs))
	var wait sync.WaitGroup
	for i, j := range jobs {
		wait.Go(func() {
			begun := time.Now()
			_, failures[i] = e.Complete(ctx, j, func() { arrivals[i] = append(arrivals[i], time.Since(begun).Seconds()) })
		})
	}
	wait.Wait()
	return arrivals, errors.Join(failures...)
}

// jobs draws n requests of fixed lengths.
func jobs(n, in, out, vocab int, seed uint64) []bench.Job {
	return bench.Workload{Requests: n, In: [2]int{in, in}, Out: [2]int{out, out}, Seed: seed}.Jobs(vocab)
}

// sharedPrefix sends requests whose prompts begin with the same 1,024 tokens, and prints how many tokens of prompts the
// server computed, by its own metrics.
func sharedPrefix(ctx context.Context, e bench.Endpoint, vocab int) error {
	const requests, prefix, own, out = 8, 1024, 32, 8
	list := jobs(requests, own, out, vocab, 2)
	beginning := jobs(1, prefix, 1, vocab, 3)[0].Prompt
	for i := range list {
		list[i].Prompt = append(beginning[:prefix:prefix], list[i].Prompt...)
	}
	prompts, hits, err := promptTokens(ctx, e.URL)
	if err != nil {
		return err
	}
	if _, err := together(ctx, e, list); err != nil {
		return err
	}
	promptsAfter, hitsAfter, err := promptTokens(ctx, e.URL)
	if err != nil {
		return err
	}
	computed := (promptsAfter - prompts) - (hitsAfter - hits)
	fmt.Printf("%d requests at once that share %d tokens and have %d of their own: %.0f of %.0f prompt tokens computed; once each would be %d\n\n",
		requests, prefix, own, computed, promptsAfter-prompts, prefix+requests*own)
	return nil
}

// promptTokens reads how many tokens of prompts ullm has seen, and how many of them were cached.
func promptTokens(ctx context.Context, url string) (prompts, hits float64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "ullm_prompt_tokens_total":
			prompts = value
		case "ullm_prefix_cache_hit_tokens_total":
			hits = value
		}
	}
	return prompts, hits, lines.Err()
}

// mixed measures the time between the tokens of running answers while prompts of other requests are computed one after
// another.
func mixed(ctx context.Context, name string, e bench.Endpoint, vocab int) error {
	const running, prompts, prompt = 8, 6, 512
	var r bench.Result
	var failed error
	var wait sync.WaitGroup
	wait.Go(func() {
		var arrivals [][]float64
		arrivals, failed = together(ctx, e, jobs(running, 32, 160, vocab, 4))
		r.Latencies(arrivals)
	})
	var firsts [][]float64
	for _, j := range jobs(prompts, prompt, 1, vocab, 5) {
		times, err := together(ctx, e, []bench.Job{j})
		if err != nil {
			wait.Wait()
			return err
		}
		firsts = append(firsts, times...)
	}
	wait.Wait()
	if failed != nil {
		return failed
	}
	var others bench.Result
	others.Latencies(firsts)
	fmt.Printf("%s: %d answers while %d prompts of %d tokens are computed: between tokens p50 %.3f s, p99 %.3f s (%.1f times); the prompts' first tokens p50 %.3f s\n\n",
		name, running, prompts, prompt, r.InterP50, r.InterP99, r.InterP99/r.InterP50, others.TTFTP50)
	return nil
}
