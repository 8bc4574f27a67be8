// Command peers measures ullm beside llama.cpp on this machine: the same model, the same threads, in turn, and prints
// the medians and their ratios.
//
//	go run ./bench/peers -ullm bin/ullm -llama DIR -model model-bf16.gguf
//
// DIR holds llama-bench and llama-batched-bench.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	ullm := flag.String("ullm", "bin/ullm", "ullm's binary")
	llama := flag.String("llama", "", "directory of llama-bench and llama-batched-bench")
	model := flag.String("model", "", "GGUF file")
	prompt := flag.Int("p", 512, "tokens of the prompt whose prefill is measured; 0: none")
	generate := flag.Int("n", 48, "tokens generated for each sequence")
	batches := flag.String("batch", "1,8,32", "batch sizes of decode")
	threads := flag.Int("t", 2, "threads")
	rounds := flag.Int("rounds", 3, "how often both are measured in turn")
	flag.Parse()
	p := peers{*ullm, *llama, *model, strconv.Itoa(*prompt), strconv.Itoa(*generate), *batches, strconv.Itoa(*threads)}
	if err := p.compare(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

type peers struct{ ullm, llama, model, prompt, generate, batches, threads string }

// figures are tokens per second by test: "pp512", "tg ×8".
type figures map[string][]float64

func (f figures) add(test string, rate float64) { f[test] = append(f[test], rate) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func (p peers) compare(rounds int) error {
	ours, theirs := figures{}, figures{}
	for range rounds {
		if err := p.runUllm(ours); err != nil {
			return err
		}
		if err := p.runLlama(theirs); err != nil {
			return err
		}
	}
	tests := make([]string, 0, len(ours))
	for t := range ours {
		tests = append(tests, t)
	}
	slices.Sort(tests)
	fmt.Printf("%s, %s threads, medians of %d rounds, tokens/s\n\n| | ullm | llama.cpp | ratio |\n|---|---|---|---|\n", filepath.Base(p.model), p.threads, rounds)
	for _, t := range tests {
		a, b := median(ours[t]), median(theirs[t])
		fmt.Printf("| %s | %.1f | %.1f | %.2f |\n", t, a, b, a/b)
	}
	return nil
}

// output runs a command and returns what it prints.
func output(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

func (p peers) runUllm(f figures) error {
	out, err := output(p.ullm, "bench", p.model, "--backend", "cpu", "--threads", p.threads, "-p", p.prompt, "-n", p.generate, "--batch", p.batches,
		"--reps", "1", "--max-bs", "64", "--context-len", "2048", "--json")
	if err != nil {
		return err
	}
	var report struct {
		Results []struct {
			Test            string
			Batch           int
			TokensPerSecond struct{ Median float64 } `json:"tokens_per_second"`
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return err
	}
	for _, r := range report.Results {
		test := r.Test
		if strings.HasPrefix(test, "tg") {
			test = fmt.Sprintf("tg ×%02d", r.Batch)
		}
		f.add(test, r.TokensPerSecond.Median)
	}
	return nil
}

func (p peers) runLlama(f figures) error {
	if p.prompt != "0" {
		out, err := output(filepath.Join(p.llama, "llama-bench"), "-m", p.model, "-t", p.threads, "-p", p.prompt, "-n", "0", "-r", "1", "-o", "json")
		if err != nil {
			return err
		}
		var tests []struct {
			AvgTS float64 `json:"avg_ts"`
		}
		if err := json.Unmarshal(out, &tests); err != nil || len(tests) != 1 {
			return fmt.Errorf("llama-bench answers %s", out)
		}
		f.add("pp"+p.prompt, tests[0].AvgTS)
	}
	out, err := output(filepath.Join(p.llama, "llama-batched-bench"), "-m", p.model, "-t", p.threads, "-tb", p.threads, "-npp", "16", "-ntg", p.generate,
		"-npl", p.batches, "-c", "4096", "--output-format", "jsonl")
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var r struct {
			Batch int     `json:"pl"`
			Speed float64 `json:"speed_tg"`
		}
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Speed > 0 {
			f.add(fmt.Sprintf("tg ×%02d", r.Batch), r.Speed)
		}
	}
	return nil
}
