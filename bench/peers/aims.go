package main

import (
	"fmt"
	"strings"

	"github.com/ullm/ullm/bench/engines"
)

// aim is what a cell is held to; zeros ask for nothing.
type aim struct{ share, llama, openvino float64 }

// aims are those of prefill 512 and of decode for 1, 8 and 32 sequences, in Qwen3-0.6B's shape.
var aims = map[string]map[string]aim{
	"bf16": {engines.Prefill(512): {0.75, 2, 1.15}, engines.Decode(1): {0.95, 1, 0}, engines.Decode(8): {0.85, 2, 1.5}, engines.Decode(32): {0.80, 0, 0}},
	"q8_0": {engines.Prefill(512): {0, 4, 1.3}, engines.Decode(1): {0.95, 1.05, 0}, engines.Decode(8): {0, 3, 2}, engines.Decode(32): {0, 4, 1.75}},
	"q4_0": four,
	"q4_k": four,
}

var four = map[string]aim{engines.Prefill(512): {0, 2.5, 1.3}, engines.Decode(1): {0.85, 1.1, 0}, engines.Decode(8): {0, 3.5, 2}, engines.Decode(32): {0, 3, 1.75}}

// deepAims are those behind a context of 8,192 tokens, in every format.
var deepAims = map[string]aim{engines.Prefill(8192): {0, 2, 0}, engines.Decode(1): {0, 1.3, 0}}

// aim is what a cell of a test is held to. At a level of instructions that was chosen, the peer is a llama.cpp built for it.
func (r *row) aim(key string, t engines.Test) aim {
	switch {
	case r.level != "":
		return aim{llama: 1}
	case t.Depth == 0:
		return aims[r.name][key]
	case t.Depth == 8192:
		return deepAims[key]
	}
	return aim{}
}

// ratio is one figure of a cell beside its aim.
type ratio struct {
	have, want float64
	text       string // of what, and how it is printed
}

func (r ratio) missed() bool { return r.want > 0 && r.have < r.want }

// ratios are a cell's figures: beside each peer, and the share of the bound.
func (r *row) ratios(c column, t engines.Test) (list []ratio) {
	ours, want := r.figures[0].Median(c.key), r.aim(c.key, t)
	for i, e := range r.engines[1:] {
		theirs := r.figures[i+1].Median(c.key)
		if theirs == 0 {
			continue
		}
		x := ratio{have: ours / theirs, text: "× " + e.Name()}
		switch e.(type) {
		case engines.Llama:
			x.want = want.llama
		case engines.OpenVINO:
			x.want = want.openvino
		}
		list = append(list, x)
	}
	bound, share := "", 0.0
	for _, b := range c.bounds {
		if s := r.figures[0].Median(engines.Share(c.key, b)); s > share {
			bound, share = b, s
		}
	}
	if share > 0 {
		list = append(list, ratio{share, want.share, "of " + bound})
	}
	return list
}

// String is the figure, with its aim where that is missed.
func (r ratio) String() string {
	number := func(v float64) string {
		if strings.HasPrefix(r.text, "of") {
			return fmt.Sprintf("%.0f %%", 100*v)
		}
		return fmt.Sprintf("%.2f", v)
	}
	s := number(r.have) + " " + r.text
	if r.missed() {
		return "**" + s + "** (aim " + number(r.want) + ")"
	}
	return s
}

// missedList names the cells that miss an aim, as a Markdown list to put the reasons behind.
func missedList(rows []*row, t engines.Test) string {
	var b strings.Builder
	for _, r := range rows {
		for _, c := range columns(t) {
			var missed []string
			for _, x := range r.ratios(c, t) {
				if x.missed() {
					missed = append(missed, x.String())
				}
			}
			if missed != nil {
				fmt.Fprintf(&b, "- %s, %s: %s\n", r.name, c.title, strings.Join(missed, ", "))
			}
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nUnder their aims:\n\n" + b.String()
}
