package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ullm/ullm/bench/engines"
)

// row is one format: the engines that run it, ullm first, and what was read of each.
type row struct {
	name    string
	engines []engines.Engine
	figures []engines.Figures
}

func (r *row) add(e engines.Engine) {
	r.engines, r.figures = append(r.engines, e), append(r.figures, engines.Figures{})
}

// openvinoWeights are OpenVINO's nearest weights for each format.
var openvinoWeights = map[string]string{"bf16": "fp16", "f16": "fp16", "q8_0": "int8", "q4_0": "int4", "q4_k": "int4"}

// rows prepares the models.
func (o *options) rows(ctx context.Context) ([]*row, error) {
	info, err := os.Stat(o.model)
	if err != nil {
		return nil, fmt.Errorf("-model: %w", err)
	}
	if !info.IsDir() {
		if o.openvino {
			return nil, fmt.Errorf("-model %s: OpenVINO takes no such file; give the model's directory", o.model)
		}
		return []*row{o.row(filepath.Base(o.model), o.model)}, nil
	}
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return nil, err
	}
	python := ""
	if o.openvino {
		fmt.Fprintln(os.Stderr, "installing OpenVINO, unless it is there")
		if python, err = engines.InstallOpenVINO(ctx, filepath.Join(o.cache, "openvino")); err != nil {
			return nil, err
		}
	}
	var rows []*row
	for _, format := range o.formats {
		base := filepath.Join(o.cache, filepath.Base(filepath.Clean(o.model)))
		file := base + "-" + format + ".gguf"
		if err := (engines.Ullm{Program: o.ullm}).Quantize(ctx, o.model, format, file); err != nil {
			return nil, err
		}
		r := o.row(format, file)
		if weights := openvinoWeights[format]; o.openvino && weights != "" {
			exported := base + "-openvino-" + weights
			fmt.Fprintln(os.Stderr, "exporting", exported, "unless it is there")
			if err := engines.ExportOpenVINO(ctx, python, o.model, weights, exported); err != nil {
				return nil, err
			}
			r.add(engines.OpenVINO{Python: python, Model: exported, Precision: o.precision})
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// row is a GGUF file with ullm and, where there is one, llama.cpp.
func (o *options) row(name, file string) *row {
	r := &row{name: name}
	r.add(engines.Ullm{Program: o.ullm, Model: file})
	if o.llama != "" {
		r.add(engines.Llama{Dir: o.llama, Model: file})
	}
	return r
}

// column is one thing that is measured, and what bounds it.
type column struct{ title, key, bound string }

func columns(t engines.Test) (list []column) {
	behind := ""
	if t.Depth > 0 {
		behind = fmt.Sprintf(" behind %d", t.Depth)
	}
	if t.Prompt > 0 {
		list = append(list, column{fmt.Sprintf("prefill %d", t.Prompt), engines.Prefill(t.Prompt), "arithmetic"})
	}
	if t.Generate > 0 {
		for _, b := range t.Batches {
			bound := "arithmetic"
			if b == 1 {
				bound = "bandwidth"
			}
			list = append(list, column{fmt.Sprintf("decode ×%d%s", b, behind), engines.Decode(b), bound})
		}
	}
	return list
}

// figuresTable is Markdown: a line for each test, each peer with its ratio.
func (r *row) figuresTable(t engines.Test) string {
	var b strings.Builder
	b.WriteString("| |")
	for i, e := range r.engines {
		b.WriteString(" " + e.Name() + " |")
		if i > 0 {
			b.WriteString(" ratio |")
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", 2*len(r.engines)-1) + "\n")
	for _, c := range columns(t) {
		fmt.Fprintf(&b, "| %s |", c.title)
		ours := r.figures[0].Median(c.key)
		for i, f := range r.figures {
			fmt.Fprintf(&b, " %.1f |", f.Median(c.key))
			if i > 0 {
				fmt.Fprintf(&b, " %.2f |", ours/f.Median(c.key))
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratiosTable is Markdown: a line for each format, with the ratios to the peers and what share of its bound ullm reaches.
func ratiosTable(rows []*row, t engines.Test) string {
	var b strings.Builder
	list := columns(t)
	b.WriteString("| ullm to its peers |")
	for _, c := range list {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(list)+1) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, c := range list {
			ours := r.figures[0].Median(c.key)
			var cell []string
			for i, e := range r.engines[1:] {
				cell = append(cell, fmt.Sprintf("%.2f × %s", ours/r.figures[i+1].Median(c.key), e.Name()))
			}
			if share := r.figures[0].Median(engines.Share(c.key, c.bound)); share > 0 {
				cell = append(cell, fmt.Sprintf("%.0f %% of %s", 100*share, c.bound))
			}
			fmt.Fprintf(&b, " %s |", strings.Join(cell, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}
