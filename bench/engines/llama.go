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

// Measure runs llama-bench for a prompt and llama-batched-bench for decode. A prompt as long as the depth is measured where
// decode gets its context, since computing it is what takes long.
func (l Llama) Measure(ctx context.Context, t Test, f Figures) error {
	threads := strconv.Itoa(t.Threads)
	var cache []string
	if t.KV != "" {
		cache = []string{"-ctk", t.KV, "-ctv", t.KV}
	}
	once := t.Prompt == t.Depth && t.Generate > 0
	if t.Prompt > 0 && !once {
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
			Prefill  float64 `json:"speed_pp"`
			Generate float64 `json:"speed_tg"`
		}
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.Generate <= 0 {
			continue
		}
		found = true
		f.add(Decode(r.Batch), r.Generate)
		if once && r.Batch == 1 {
			f.add(Prefill(t.Prompt), r.Prefill)
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
