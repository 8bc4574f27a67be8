package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/ullm/ullm/bench"
)

// Ullm is this engine.
type Ullm struct {
	Program string // bin/ullm
	Model   string // as ullm takes it
	Level   string // of instructions, as --cpu-level takes it; "": the best
}

// Name is ullm.
func (Ullm) Name() string { return "ullm" }

// Version is what the program says.
func (u Ullm) Version(ctx context.Context) string {
	out, err := output(exec.CommandContext(ctx, u.Program, "version"))
	if err != nil {
		return ""
	}
	if words := strings.Fields(string(out)); len(words) > 1 { // ullm VERSION PLATFORM GO
		return words[1]
	}
	return ""
}

// Prepare has nothing to do.
func (Ullm) Prepare(context.Context, Test) error { return nil }

// Measure runs ullm bench.
func (u Ullm) Measure(ctx context.Context, t Test, f Figures) error {
	args := []string{"bench", u.Model, "--backend", "cpu", "--threads", strconv.Itoa(t.Threads), "--reps", "1", "--json",
		"-p", strconv.Itoa(t.Prompt), "-n", strconv.Itoa(t.Generate), "--batch", list(t.Batches)}
	most, context := 1, max(t.Prompt, t.Depth+t.Generate+8, 1024)
	for _, b := range t.Batches {
		most = max(most, b)
	}
	args = append(args, "--max-bs", strconv.Itoa(most), "--context-len", strconv.Itoa(context))
	if t.Depth > 0 {
		args = append(args, "--depth", strconv.Itoa(t.Depth))
	}
	if t.KV != "" {
		args = append(args, "--kv-dtype", t.KV)
	}
	if u.Level != "" {
		args = append(args, "--cpu-level", u.Level)
	}
	out, err := output(command(ctx, t.Under, u.Program, args...))
	if err != nil {
		return err
	}
	var report bench.Report
	if err := json.Unmarshal(out, &report); err != nil {
		return fmt.Errorf("engines: ullm bench answers %s: %w", tail(out), err)
	}
	for _, r := range report.Results {
		key := Decode(r.Batch)
		if strings.HasPrefix(r.Test, "pp") {
			key = Prefill(t.Prompt)
		}
		f.add(key, r.TokensPerSecond.Median)
		f.add(Share(key, "bandwidth"), r.BandwidthFraction)
		f.add(Share(key, "arithmetic"), r.FlopsFraction)
	}
	return nil
}

// Quantize writes a model as a GGUF file, unless it is there.
func (u Ullm) Quantize(ctx context.Context, model, format, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	unfinished := strings.TrimSuffix(to, ".gguf") + ".partial.gguf"
	if _, err := output(exec.CommandContext(ctx, u.Program, "quantize", model, unfinished, "--format", format, "--force")); err != nil {
		return err
	}
	return os.Rename(unfinished, to)
}

// Serve starts ullm serve.
func (u Ullm) Serve(ctx context.Context, o Serving) (*Server, error) {
	args := []string{"serve", u.Model, "--backend", "cpu", "--threads", strconv.Itoa(o.Threads), "--port", strconv.Itoa(o.Port),
		"--context-len", strconv.Itoa(o.Context), "--max-bs", strconv.Itoa(o.Slots), "--log-level", "warn"}
	return start(command(ctx, o.Under, u.Program, args...), o.Port, "/readyz")
}
