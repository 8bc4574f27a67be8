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
	level   string // of instructions, where one was chosen
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
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return nil, err
	}
	if !info.IsDir() {
		if o.openvino {
			return nil, fmt.Errorf("-model %s: OpenVINO takes no such file; give the model's directory", o.model)
		}
		return []*row{o.row(filepath.Base(o.model), o.model)}, nil
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
	r := &row{name: name, level: o.level}
	r.add(engines.Ullm{Program: o.ullm, Model: file, Level: o.level})
	if o.llama != "" {
		r.add(engines.Llama{Dir: o.llama, Model: file, Python: "python3", State: o.cache})
	}
	return r
}

// column is one thing that is measured, and what may bound it: of several, what it has the largest share of.
type column struct {
	title, key string
	bounds     []string
}

func columns(t engines.Test) (list []column) {
	behind := ""
	if t.Depth > 0 {
		behind = fmt.Sprintf(" behind %d", t.Depth)
	}
	if t.Prompt > 0 {
		list = append(list, column{fmt.Sprintf("prefill %d", t.Prompt), engines.Prefill(t.Prompt), []string{"arithmetic"}})
	}
	if t.Generate > 0 {
		for _, b := range t.Batches {
			list = append(list, column{fmt.Sprintf("decode ×%d%s", b, behind), engines.Decode(b), []string{"bandwidth", "arithmetic"}})
		}
	}
	return list
}

// figuresTable is Markdown: the format, a line for each engine, what was read in each test.
func (r *row) figuresTable(t engines.Test) string {
	list := columns(t)
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |", r.name)
	for _, c := range list {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(list)) + "\n")
	for i, e := range r.engines {
		fmt.Fprintf(&b, "| %s |", e.Name())
		for _, c := range list {
			if v := r.figures[i].Median(c.key); v > 0 {
				fmt.Fprintf(&b, " %.1f |", v)
			} else {
				b.WriteString(" |") // not measured
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// ratiosTable is Markdown: a line for each format, with the ratios to the peers and what share of its bound ullm reaches;
// what misses its aim is bold, with the aim.
func ratiosTable(rows []*row, t engines.Test) string {
	var b strings.Builder
	list := columns(t)
	b.WriteString("| ullm is |")
	for _, c := range list {
		b.WriteString(" " + c.title + " |")
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(list)+1) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, c := range list {
			var cell []string
			for _, x := range r.ratios(c, t) {
				cell = append(cell, x.String())
			}
			fmt.Fprintf(&b, " %s |", strings.Join(cell, ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}
