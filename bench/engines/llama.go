package engines

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Llama is llama.cpp.
type Llama struct {
	Dir    string // of llama-bench, llama-batched-bench, llama-server, libllama.so
	Model  string // a GGUF file
	Python string // for what is measured behind a deep context, by the library; it needs no packages
	State  string // directory that keeps such contexts
}

// LibLlama is a Python module that opens libllama.so: what scripts that use it begin with.
//
//go:embed libllama.py
var LibLlama string

//go:embed llama.py
var llamaScript string

// Name is llama.cpp.
func (Llama) Name() string { return "llama.cpp" }

// Version is the number of the build.
func (l Llama) Version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, filepath.Join(l.Dir, "llama-bench"), "--version").CombinedOutput()
	if _, text, ok := strings.Cut(string(out), "version: "); ok && err == nil {
		first, _, _ := strings.Cut(text, "\n")
		return first
	}
	return ""
}

// deepContext is from where on a context is computed once and kept: computing it takes minutes.
const deepContext = 2048

// python runs a command of the script.
func (l Llama) python(ctx context.Context, what string, t Test, answer any) error {
	o := map[string]any{"threads": t.Threads, "kv": cmp.Or(t.KV, "f16"), "depth": t.Depth, "generate": t.Generate, "prefill": t.Prompt == t.Depth}
	o["state"] = filepath.Join(l.State, fmt.Sprintf("llama-%s-%s-%d.state", filepath.Base(l.Model), o["kv"], t.Depth))
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	out, err := output(command(ctx, t.Under, l.Python, "-c", LibLlama+llamaScript, what, filepath.Join(l.Dir, "libllama.so"), l.Model, string(text)))
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("engines: llama.cpp's script answers %s: %w", tail(out), err)
	}
	return nil
}

// Prepare computes a deep context.
func (l Llama) Prepare(ctx context.Context, t Test) error {
	if t.Depth < deepContext {
		return nil
	}
	return l.python(ctx, "context", t, nil)
}

// deep measures behind a deep context, for one sequence: decode, and prefill of as many tokens from five pieces of it.
func (l Llama) deep(ctx context.Context, t Test, f Figures) error {
	var answer struct{ Decode, Prefill float64 }
	if err := l.python(ctx, "deep", t, &answer); err != nil {
		return err
	}
	if t.Prompt == t.Depth {
		f.add(Prefill(t.Prompt), answer.Prefill)
	}
	if t.Generate > 0 {
		f.add(Decode(1), answer.Decode)
	}
	return nil
}

// Measure runs llama-bench for a prompt and llama-batched-bench for decode, and behind a deep context the library itself.
func (l Llama) Measure(ctx context.Context, t Test, f Figures) error {
	if t.Depth >= deepContext && (t.Prompt == 0 || t.Prompt == t.Depth) {
		return l.deep(ctx, t, f)
	}
	threads := strconv.Itoa(t.Threads)
	var cache []string
	if t.KV != "" {
		cache = []string{"-ctk", t.KV, "-ctv", t.KV}
	}
	if t.Prompt > 0 {
		args := []string{"-m", l.Model, "-t", threads, "-r", "1", "-o", "json", "-p", strconv.Itoa(t.Prompt), "-n", "0"}
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
		f.add(Prefill(t.Prompt), tests[0].Rate)
	}
	if t.Generate == 0 {
		return nil
	}
	depth, total := max(t.Depth, 16), 0
	for _, b := range t.Batches {
		total = max(total, b*(depth+t.Generate))
	}
	args := []string{"-m", l.Model, "-t", threads, "-tb", threads, "-npp", strconv.Itoa(depth), "-ntg", strconv.Itoa(t.Generate),
		"-npl", list(t.Batches), "-c", strconv.Itoa(total + 256), "--output-format", "jsonl"}
	out, err := output(command(ctx, t.Under, filepath.Join(l.Dir, "llama-batched-bench"), append(args, cache...)...))
	if err != nil {
		return err
	}
	found := false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var r struct {
			Batch    int     `json:"pl"`
			Generate float64 `json:"speed_tg"`
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Generate <= 0 {
			continue
		}
		found = true
		f.add(Decode(r.Batch), r.Generate)
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
