package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ullm/ullm/bench/engines"
)

func TestTables(t *testing.T) {
	test := engines.Test{Prompt: 512, Generate: 8, Batches: []int{1, 8}}
	r := &row{name: "q8_0"}
	r.add(engines.Ullm{})
	r.add(engines.Llama{})
	r.add(engines.OpenVINO{})
	pp, one, eight := engines.Prefill(512), engines.Decode(1), engines.Decode(8)
	r.figures[0] = engines.Figures{pp: {300, 100, 200}, one: {30}, eight: {80}, engines.Share(pp, "arithmetic"): {0.5}, engines.Share(one, "bandwidth"): {0.904}, engines.Share(eight, "bandwidth"): {0.5}, engines.Share(eight, "arithmetic"): {0.7}}
	r.figures[1] = engines.Figures{pp: {100}, one: {20}, eight: {20, 60}}
	r.figures[2] = engines.Figures{pp: {400}, one: {15}}
	const figures = `| q8_0 | prefill 512 | decode ×1 | decode ×8 |
|---|---|---|---|
| ullm | 200.0 | 30.0 | 80.0 |
| llama.cpp | 100.0 | 20.0 | 40.0 |
| OpenVINO | 400.0 | 15.0 | |
`
	if have := r.figuresTable(test); have != figures {
		t.Errorf("have\n%s\nwant\n%s", have, figures)
	}
	const ratios = `| ullm is | prefill 512 | decode ×1 | decode ×8 |
|---|---|---|---|
| q8_0 | **2.00 × llama.cpp** (aim 4.00), **0.50 × OpenVINO** (aim 1.30), 50 % of arithmetic | 1.50 × llama.cpp, 2.00 × OpenVINO, **90 % of bandwidth** (aim 95 %) | **2.00 × llama.cpp** (aim 3.00), 70 % of arithmetic |
`
	if have := ratiosTable([]*row{r}, test); have != ratios {
		t.Errorf("have\n%s\nwant\n%s", have, ratios)
	}
	const missed = `
Under their aims:

- q8_0, prefill 512: **2.00 × llama.cpp** (aim 4.00), **0.50 × OpenVINO** (aim 1.30)
- q8_0, decode ×1: **90 % of bandwidth** (aim 95 %)
- q8_0, decode ×8: **2.00 × llama.cpp** (aim 3.00)
`
	if have := missedList([]*row{r}, test); have != missed {
		t.Errorf("have\n%s\nwant\n%s", have, missed)
	}
	r.level = "avx2"
	if have := missedList([]*row{r}, test); have != "" {
		t.Errorf("at a level of its own it is held to llama.cpp's speed alone; have\n%s", have)
	}
	r.level = ""
	test.Depth = 64
	if have := ratiosTable([]*row{r}, test); strings.Contains(have, "aim") || !strings.Contains(have, "decode ×8 behind 64") {
		t.Errorf("behind another depth there are no aims; have\n%s", have)
	}
}

// fake is an engine that counts its runs.
type fake struct {
	name string
	runs *int
}

func (f fake) Name() string                              { return f.name }
func (fake) Version(context.Context) string              { return "1" }
func (fake) Prepare(context.Context, engines.Test) error { return nil }
func (f fake) Measure(_ context.Context, t engines.Test, to engines.Figures) error {
	*f.runs++
	if t.Prompt > 0 {
		to[engines.Prefill(t.Prompt)] = []float64{float64(*f.runs)}
	}
	for _, b := range t.Batches {
		to[engines.Decode(b)] = []float64{float64(*f.runs)}
	}
	return nil
}

// TestPieces measures one piece after the other, until all is in the file.
func TestPieces(t *testing.T) {
	o := options{test: engines.Test{Prompt: 8, Generate: 2, Batches: []int{1}}, rounds: 2, budget: time.Nanosecond}
	path, runs := filepath.Join(t.TempDir(), "results"), 0
	for call := 1; ; call++ {
		r := &row{name: "q8_0"}
		r.add(fake{"ullm", &runs})
		r.add(fake{"other", &runs})
		err := o.measure(t.Context(), []*row{r}, mustOpen(t, path))
		if runs != call {
			t.Fatalf("call %d: %d runs, want one a call", call, runs)
		}
		if err == nil {
			if f := r.figures[1]; runs != 8 || !slices.Equal(f[engines.Prefill(8)], []float64{2, 6}) || !slices.Equal(f[engines.Decode(1)], []float64{4, 8}) {
				t.Errorf("%d runs, figures %v", runs, f)
			}
			break
		}
		if !errors.Is(err, errMore) {
			t.Fatal(err)
		}
	}
	if log := mustOpen(t, path); len(log.list) != 8 {
		t.Errorf("%d lines, want 8", len(log.list))
	}
	other, err := openLog(path, "another test")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if other.find(measurement{Format: "q8_0", Engine: "ullm", Part: "prefill"}) != nil {
		t.Error("another test's figures are taken")
	}
}

func mustOpen(t *testing.T, path string) *resultLog {
	t.Helper()
	log, err := openLog(path, "a test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}
