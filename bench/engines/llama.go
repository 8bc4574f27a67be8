package engines

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
)

// Llama is llama.cpp.
type Llama struct {
	Dir   string // of llama-bench, llama-batched-bench, llama-server
	Model string // a GGUF file
}

// Name is llama.cpp.
func (Llama) Name() string { return "llama.cpp" }

// Measure runs llama-bench for a prompt and for what is generated behind a deep context, llama-batched-bench for batches.
func (l Llama) Measure(ctx context.Context, t Test, f Figures) error {
	threads := strconv.Itoa(t.Threads)
	var cache []string
	if t.KV != "" {
		cache = []string{"-ctk", t.KV, "-ctv", t.KV}
	}
	bench := func(key string, args ...string) error {
		args = append([]string{"-m", l.Model, "-t", threads, "-r", "1", "-o", "json"}, args...)
		out, err := output(command(ctx, t.Under, filepath.Join(l.Dir, "llama-bench"), append(args, cache...)...))
		if err != nil {
			return err
		}
		var tests []struct {
			Rate float64 `json:"avg_ts"`
		}
		if err := json.Unmarshal(out, &tests); err != nil || len(tests) != 1 {
			return fmt.Errorf("engines: llama-bench answers %s", tail(out))
		}
		f.add(key, tests[0].Rate)
		return nil
	}
	if t.Prompt > 0 {
		if err := bench(Prefill(t.Prompt), "-p", strconv.Itoa(t.Prompt), "-n", "0"); err != nil {
			return err
		}
	}
	if t.Generate == 0 {
		return nil
	}
	if t.Depth > 0 && len(t.Batches) == 1 && t.Batches[0] == 1 {
		return bench(Decode(1), "-p", "0", "-n", strconv.Itoa(t.Generate), "-d", strconv.Itoa(t.Depth))
	}
	context := 0
	for _, b := range t.Batches {
		context = max(context, b*(max(t.Depth, 16)+t.Generate))
	}
	args := []string{"-m", l.Model, "-t", threads, "-tb", threads, "-npp", strconv.Itoa(max(t.Depth, 16)), "-ntg", strconv.Itoa(t.Generate),
		"-npl", list(t.Batches), "-c", strconv.Itoa(context + 256), "--output-format", "jsonl"}
	out, err := output(command(ctx, t.Under, filepath.Join(l.Dir, "llama-batched-bench"), append(args, cache...)...))
	if err != nil {
		return err
	}
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var r struct {
			Batch int     `json:"pl"`
			Speed float64 `json:"speed_tg"`
		}
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Speed > 0 {
			f.add(Decode(r.Batch), r.Speed)
			found = true
		}
	}
	if !found {
		return errNoFigures
	}
	return nil
}

// Serve starts llama-server, which divides its context among its slots.
func (l Llama) Serve(ctx context.Context, o Serving) (*Server, error) {
	threads := strconv.Itoa(o.Threads)
	args := []string{"-m", l.Model, "-t", threads, "-tb", threads, "--port", strconv.Itoa(o.Port), "-np", strconv.Itoa(o.Slots),
		"-c", strconv.Itoa(o.Context * o.Slots), "--log-disable"}
	return start(command(ctx, o.Under, filepath.Join(l.Dir, "llama-server"), args...), o.Port, "/health")
}
