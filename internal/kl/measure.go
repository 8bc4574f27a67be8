package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/internal/logits"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// row is what was measured of a file.
type row struct {
	format, level string
	ours, theirs  mean // theirs is empty without llama.cpp
}

// mean is that of the divergences, and of how likely the oracle's likeliest token is: how peaked the distributions are.
type mean struct {
	n        int
	sum, top float64
	worst    float64
}

func (m *mean) add(want, have []float32) {
	d := logits.Divergence(want, have)
	m.n++
	m.sum += d
	m.top += math.Exp(-surprise(want))
	m.worst = max(m.worst, d)
}

func (m mean) value() float64 { return m.sum / float64(max(m.n, 1)) }

// surprise is −ln of the likeliest one's probability.
func surprise(x []float32) float64 {
	most, sum := math.Inf(-1), 0.0
	for _, v := range x {
		most = max(most, float64(v))
	}
	for _, v := range x {
		sum += math.Exp(float64(v) - most)
	}
	return math.Log(sum)
}

// Of a file's mean divergence at most this share of llama.cpp's is allowed, or this much.
const (
	allowed    = 1.1
	negligible = 1e-6
)

func (r row) fails() bool {
	return r.theirs.n > 0 && r.ours.value() > negligible && r.ours.value() > allowed*r.theirs.value()
}

func judge(rows []row) error {
	var failed []string
	for _, r := range rows {
		if r.fails() {
			failed = append(failed, r.format+" at "+r.level)
		}
	}
	if failed != nil {
		return fmt.Errorf("above %g times llama.cpp's divergence: %s", allowed, strings.Join(failed, ", "))
	}
	return nil
}

// table is Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| | level | ullm: mean | worst | llama.cpp: mean | worst | ratio of means | positions | likeliest token |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		theirs := "| "
		ratio := ""
		if r.theirs.n > 0 {
			theirs = fmt.Sprintf("%.3g | %.3g", r.theirs.value(), r.theirs.worst)
			ratio = fmt.Sprintf("%.2f", r.ours.value()/r.theirs.value())
		}
		fmt.Fprintf(&b, "| %s | %s | %.3g | %.3g | %s | %s | %d | %.2f |\n", r.format, r.level, r.ours.value(), r.ours.worst, theirs, ratio, r.ours.n, r.ours.top/float64(max(r.ours.n, 1)))
	}
	return b.String()
}

// measure compares a file's logits at each level, and llama.cpp's, with the oracle's.
func (o *options) measure(ctx context.Context, name, path string) ([]row, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sequences, err := o.tokens(f)
	if err != nil {
		return nil, err
	}
	oracle, theirs := filepath.Join(o.dir, "oracle.f32"), filepath.Join(o.dir, "llama.f32")
	defer os.Remove(oracle)
	if err := o.peer(ctx, "transformers", path, sequences, oracle); err != nil {
		return nil, err
	}
	var peer mean
	if o.llama != "" {
		defer os.Remove(theirs)
		if err := o.peer(ctx, "llama", path, sequences, theirs, o.library()...); err != nil {
			return nil, err
		}
		if peer, err = compareFiles(oracle, theirs, f.Config.Vocab); err != nil {
			return nil, err
		}
	}
	var rows []row
	for _, level := range o.levels {
		r, err := o.ours(ctx, f, level, sequences, oracle)
		if err != nil {
			return nil, err
		}
		r.format, r.theirs = name, peer
		rows = append(rows, r)
	}
	return rows, nil
}

// ours runs the sequences on the CPU as it serves, with the cache that it has unless told otherwise.
func (o *options) ours(ctx context.Context, f *files.Files, level cpu.Level, sequences [][]int32, oracle string) (r row, err error) {
	d, err := cpu.Open(cpu.Options{Threads: o.threads, Level: level})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	r.level = strings.Split(d.Info().Detail, ", ")[1]
	longest := 0
	for _, s := range sequences {
		longest = max(longest, len(s))
	}
	in, err := logits.Open(ctx, d, f, d.Info().KVFormats[0], longest)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	want, err := openRows(oracle, f.Config.Vocab)
	if err != nil {
		return r, err
	}
	defer want.Close()
	for _, s := range sequences {
		var fault error
		err := in.Prompt(ctx, s, func(_ int, have []float32) {
			w, err := want.next()
			if err != nil {
				fault = errors.Join(fault, err)
				return
			}
			r.ours.add(w, have)
		})
		if err := errors.Join(err, fault); err != nil {
			return r, err
		}
	}
	return r, nil
}

// rowReader reads rows of float32 from a file.
type rowReader struct {
	*os.File
	buffered *bufio.Reader
	bytes    []byte
	row      []float32
}

func openRows(path string, n int) (*rowReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &rowReader{f, bufio.NewReaderSize(f, 1<<20), make([]byte, 4*n), make([]float32, n)}, nil
}

// next is the next row, which the call after it overwrites; io.EOF behind the last.
func (r *rowReader) next() ([]float32, error) {
	if _, err := io.ReadFull(r.buffered, r.bytes); err != nil {
		return nil, err
	}
	for i := range r.row {
		r.row[i] = math.Float32frombits(binary.LittleEndian.Uint32(r.bytes[4*i:]))
	}
	return r.row, nil
}

// compareFiles compares the rows of two files, which must have equally many.
func compareFiles(want, have string, vocab int) (m mean, err error) {
	w, err := openRows(want, vocab)
	if err != nil {
		return m, err
	}
	defer w.Close()
	h, err := openRows(have, vocab)
	if err != nil {
		return m, err
	}
	defer h.Close()
	for {
		a, errA := w.next()
		b, errB := h.next()
		if errA == io.EOF && errB == io.EOF {
			return m, nil
		}
		if err := errors.Join(errA, errB); err != nil {
			return m, fmt.Errorf("after %d rows: %w", m.n, err)
		}
		m.add(a, b)
	}
}

// decoded is a checkpoint whose quantised tensors are handed out as float32, so that they can be quantised anew.
type decoded struct{ weights.Reader }

func asF32(i weights.Info) weights.Info {
	if i.Format.Quantized() {
		i.Format, i.Stored = tensor.F32, "F32"
	}
	return i
}

func (d decoded) Tensors() []weights.Info {
	list := d.Reader.Tensors()
	for i := range list {
		list[i] = asF32(list[i])
	}
	return list
}

func (d decoded) Lookup(name string) (weights.Info, bool) {
	i, ok := d.Reader.Lookup(name)
	return asF32(i), ok
}

func (d decoded) Rows(name string, first, n int, use func([]byte) error) error {
	info, _ := d.Reader.Lookup(name)
	if !info.Format.Quantized() {
		return d.Reader.Rows(name, first, n, use)
	}
	return d.Reader.Rows(name, first, n, func(rows []byte) error {
		values := make([]float32, n*info.Cols())
		quant.Decode(info.Format, values, rows)
		out := make([]byte, 4*len(values))
		quant.Encode(tensor.F32, out, values)
		return use(out)
	})
}
