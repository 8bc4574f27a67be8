package engines

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ullm/ullm/bench"
)

// OpenVINO runs in a Python of its own.
type OpenVINO struct {
	Python    string // with the packages of openvino.txt
	Model     string // an exported model's directory
	Precision string // of the arithmetic: bf16, f32
}

//go:embed openvino.py
var openvinoScript string

//go:embed openvino.txt
var openvinoRequirements []byte

// InstallOpenVINO makes a virtual environment in dir with OpenVINO and what exports models to it, from PyPI, unless it is
// there. It returns its Python.
func InstallOpenVINO(ctx context.Context, dir string) (python string, err error) {
	python = filepath.Join(dir, "bin", "python")
	stamp := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256(openvinoRequirements))[:16])
	if _, err := os.Stat(stamp); err == nil {
		return python, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	wanted := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(wanted, openvinoRequirements, 0o644); err != nil {
		return "", err
	}
	if _, err := output(exec.CommandContext(ctx, "python3", "-m", "venv", dir)); err != nil {
		return "", err
	}
	if _, err := output(exec.CommandContext(ctx, python, "-m", "pip", "install", "-q", "-r", wanted)); err != nil {
		return "", err
	}
	return python, os.WriteFile(stamp, nil, 0o644)
}

// ExportOpenVINO writes a Hugging Face model directory as OpenVINO takes it, with fp16, int8 or int4 weights, unless it was
// done before.
func ExportOpenVINO(ctx context.Context, python, model, weights, to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	unfinished := to + ".partial"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(python), "optimum-cli"), "export", "openvino", "-m", model,
		"--task", "text-generation-with-past", "--weight-format", weights, unfinished)
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1")
	if _, err := output(cmd); err != nil {
		return err
	}
	return os.Rename(unfinished, to)
}

// Name is OpenVINO.
func (OpenVINO) Name() string { return "OpenVINO" }

// Version is the pinned one.
func (OpenVINO) Version(context.Context) string {
	for line := range strings.Lines(string(openvinoRequirements)) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "openvino=="); ok {
			return version
		}
	}
	return ""
}

// Prepare has nothing to do: InstallOpenVINO and ExportOpenVINO come before there is an engine.
func (OpenVINO) Prepare(context.Context, Test) error { return nil }

// run runs a command of the script and decodes what it prints.
func (o OpenVINO) run(ctx context.Context, under []string, what string, options map[string]any, in []byte, answer any) error {
	options["precision"] = o.Precision
	text, err := json.Marshal(options)
	if err != nil {
		return err
	}
	cmd := command(ctx, under, o.Python, "-c", openvinoScript, what, o.Model, string(text))
	cmd.Stdin = bytes.NewReader(in)
	out, err := output(cmd)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("engines: OpenVINO's script answers %s: %w", tail(out), err)
	}
	return nil
}

// Measure runs prefill through OpenVINO's pipeline, and decode step by step on the compiled model: without the pipeline's
// sampling, which is to its advantage. It has no choice of KV format.
func (o OpenVINO) Measure(ctx context.Context, t Test, f Figures) error {
	var answer struct {
		Prefill float64
		Decode  map[string]float64
	}
	if err := o.run(ctx, t.Under, "steps", map[string]any{"threads": t.Threads, "prompt": t.Prompt, "generate": t.Generate,
		"batches": t.Batches, "depth": max(t.Depth, 16)}, nil, &answer); err != nil {
		return err
	}
	if t.Prompt > 0 {
		f.add(Prefill(t.Prompt), answer.Prefill)
	}
	for rows, rate := range answer.Decode {
		n, err := strconv.Atoi(rows)
		if err != nil {
			return fmt.Errorf("engines: OpenVINO's script answers for a batch of %s", rows)
		}
		f.add(Decode(n), rate)
	}
	return nil
}

// Requests runs requests by continuous batching, all at once and in the script's process: OpenVINO brings no HTTP server, so
// it is spared that cost.
func (o OpenVINO) Requests(ctx context.Context, s Serving, jobs []bench.Job) (bench.Result, error) {
	in, err := json.Marshal(jobs)
	if err != nil {
		return bench.Result{}, err
	}
	var answer struct {
		Seconds  float64
		Arrivals [][]float64
	}
	if err := o.run(ctx, s.Under, "requests", map[string]any{"threads": s.Threads, "seqs": s.Slots}, in, &answer); err != nil {
		return bench.Result{}, err
	}
	r := bench.Result{Test: "workload", Batch: len(jobs), Requests: len(jobs)}
	for _, times := range answer.Arrivals {
		r.OutputSize += len(times)
	}
	rate := float64(r.OutputSize) / answer.Seconds
	r.TokensPerSecond = bench.Spread{Median: rate, Min: rate, Max: rate}
	r.Latencies(answer.Arrivals)
	return r, nil
}
