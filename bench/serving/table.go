package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ullm/ullm/bench"
)

// table is what one workload gave, the first candidate's results first.
type table struct {
	title   string
	names   []string
	results [][]bench.Result // of each name, one for each round
}

func (t *table) add(name string, r bench.Result) {
	i := slices.Index(t.names, name)
	if i < 0 {
		i = len(t.names)
		t.names, t.results = append(t.names, name), append(t.results, nil)
	}
	t.results[i] = append(t.results[i], r)
}

// median of one figure over the rounds.
func median(results []bench.Result, figure func(bench.Result) float64) float64 {
	var v []float64
	for _, r := range results {
		v = append(v, figure(r))
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// String is Markdown.
func (t table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | output tokens/s | ratio | first token p50 | p99 | between tokens p50 | p99 |\n|---|---|---|---|---|---|---|\n", t.title)
	rate := func(r bench.Result) float64 { return r.TokensPerSecond.Median }
	for i, name := range t.names {
		rs := t.results[i]
		ratio := ""
		if i > 0 {
			ratio = fmt.Sprintf("%.2f", median(t.results[0], rate)/median(rs, rate))
		}
		seconds := func(figure func(bench.Result) float64) string { return fmt.Sprintf("%.3f s", median(rs, figure)) }
		fmt.Fprintf(&b, "| %s | %.1f | %s | %s | %s | %s | %s |\n", name, median(rs, rate), ratio,
			seconds(func(r bench.Result) float64 { return r.TTFTP50 }), seconds(func(r bench.Result) float64 { return r.TTFTP99 }),
			seconds(func(r bench.Result) float64 { return r.InterP50 }), seconds(func(r bench.Result) float64 { return r.InterP99 }))
	}
	return b.String()
}
