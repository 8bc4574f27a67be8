package main

import (
	"testing"

	"github.com/ullm/ullm/bench/engines"
)

func TestTables(t *testing.T) {
	test := engines.Test{Prompt: 512, Generate: 8, Batches: []int{1, 8}, Depth: 64}
	r := &row{name: "q8_0"}
	r.add(engines.Ullm{})
	r.add(engines.Llama{})
	r.add(engines.OpenVINO{})
	pp, one, eight := engines.Prefill(512), engines.Decode(1), engines.Decode(8)
	r.figures[0] = engines.Figures{pp: {300, 100, 200}, one: {30}, eight: {80}, engines.Share(pp, "arithmetic"): {0.5}, engines.Share(one, "bandwidth"): {0.904}}
	r.figures[1] = engines.Figures{pp: {100}, one: {20}, eight: {20, 60}}
	r.figures[2] = engines.Figures{pp: {400}, one: {15}, eight: {32}}
	const figures = `| | ullm | llama.cpp | ratio | OpenVINO | ratio |
|---|---|---|---|---|---|
| prefill 512 | 200.0 | 100.0 | 2.00 | 400.0 | 0.50 |
| decode ×1 behind 64 | 30.0 | 20.0 | 1.50 | 15.0 | 2.00 |
| decode ×8 behind 64 | 80.0 | 40.0 | 2.00 | 32.0 | 2.50 |
`
	if have := r.figuresTable(test); have != figures {
		t.Errorf("have\n%s\nwant\n%s", have, figures)
	}
	const ratios = `| ullm to its peers | prefill 512 | decode ×1 behind 64 | decode ×8 behind 64 |
|---|---|---|---|
| q8_0 | 2.00 × llama.cpp, 0.50 × OpenVINO, 50 % of arithmetic | 1.50 × llama.cpp, 2.00 × OpenVINO, 90 % of bandwidth | 2.00 × llama.cpp, 2.50 × OpenVINO |
`
	if have := ratiosTable([]*row{r}, test); have != ratios {
		t.Errorf("have\n%s\nwant\n%s", have, ratios)
	}
}
