// Package engines runs ullm and its peers, llama.cpp and OpenVINO, as programs on this machine, and reads the figures that
// they print.
package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Test is what an engine is measured at.
type Test struct {
	Prompt   int    // tokens of the prompt whose prefill is measured; 0: none
	Generate int    // tokens that each sequence generates; 0: none
	Batches  []int  // sequences at once
	Depth    int    // tokens of context before the first is generated; 0: few
	KV       string // format of the KV cache: f16, bf16, q8_0; "": the engine's own choice
	Threads  int
	Under    []string // a command that each program runs under: taskset -c 0,1
}

// Parts are what can be measured in programs of its own: prefill and decode, as far as the test has them.
func (t Test) Parts() map[string]Test {
	parts := map[string]Test{}
	if t.Prompt > 0 {
		p := t
		p.Generate, p.Batches = 0, nil
		parts["prefill"] = p
	}
	if t.Generate > 0 {
		p := t
		p.Prompt = 0
		parts["decode"] = p
	}
	return parts
}

// Figures are all readings by what was measured: tokens per second under the keys that Prefill and Decode make.
type Figures map[string][]float64

// Prefill and Decode are the keys of tokens per second; Share is that of the share of what the machine could do.
func Prefill(tokens int) string { return fmt.Sprintf("pp%d", tokens) }

// Decode is the key of generating for several sequences at once.
func Decode(sequences int) string { return fmt.Sprintf("tg ×%02d", sequences) }

// Share is the key of what share of the machine's bandwidth or arithmetic the figure under a key is.
func Share(key, of string) string { return key + " of " + of }

func (f Figures) add(key string, value float64) { f[key] = append(f[key], value) }

// Merge adds the readings of other figures.
func (f Figures) Merge(other Figures) {
	for key, values := range other {
		f[key] = append(f[key], values...)
	}
}

// Median of the readings under a key; 0 without any.
func (f Figures) Median(key string) float64 {
	v := slices.Sorted(slices.Values(f[key]))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Engine is one that can be measured.
type Engine interface {
	Name() string
	// Version is the engine's own word for it; "" where it does not tell.
	Version(context.Context) string
	// Prepare makes what the test needs and takes long, where it is not there: never timed.
	Prepare(context.Context, Test) error
	// Measure runs the test once and adds what it reads.
	Measure(context.Context, Test, Figures) error
}

// command is a program under what it is to run under.
func command(ctx context.Context, under []string, program string, args ...string) *exec.Cmd {
	line := append(append(slices.Clone(under), program), args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

// output runs a command and returns what it prints; its error has what the program complained about.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("engines: %s: %w\n%s", strings.Join(cmd.Args, " "), err, tail(stderr.Bytes()))
	}
	return out, nil
}

// tail is the end of what a program printed.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

var errNoFigures = errors.New("engines: the program printed no figures")

// list joins numbers with commas.
func list(numbers []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(numbers), "[]"), " ", ",")
}
