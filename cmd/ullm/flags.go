package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/ullm/ullm"
)

// engineFlags choose the model and how it is opened.
type engineFlags struct {
	Model     string `arg:"" optional:"" name:"model" help:"Model; nothing for the embedded guide." env:"ULLM_MODEL"`
	ModelFlag string `short:"m" name:"model" hidden:"" placeholder:"MODEL" help:"MODEL, as llama.cpp spells it."`

	Backend              string  `default:"auto" enum:"auto,cuda,vulkan,cpu,ref" help:"Where to compute: auto, cuda, vulkan, cpu or ref."`
	DeviceIDs            []int   `name:"device-ids" help:"Which devices of the backend." placeholder:"0,1"`
	Threads              int     `short:"t" help:"CPU threads; 0: one for each core."`
	ContextLen           int     `short:"c" aliases:"max-model-len" help:"Longest sequence in tokens; 0: the model's, lowered when memory is short."`
	MaxBS                int     `name:"max-bs" aliases:"max-num-seqs" default:"256" help:"Sequences that run at once."`
	MaxBatchTokens       int     `aliases:"max-num-batched-tokens" help:"Tokens of one step; 0: the device decides."`
	KVCacheTokens        int     `name:"kv-cache-tokens" help:"Tokens that the KV cache holds at most; 0: as many as memory allows."`
	GPUMemoryUtilization float64 `name:"gpu-memory-utilization" default:"0.9" help:"Share of the device's free memory to use."`
	KVDType              string  `name:"kv-dtype" default:"auto" enum:"auto,f32,f16,bf16,q8_0" help:"Format of the KV cache: auto, f32, f16, bf16 or q8_0."`

	DisablePrefixCache     bool   `help:"Compute every prompt from its beginning."`
	DisableAsyncScheduling bool   `help:"Plan a step only when the one before it has been read."`
	EnforceEager           bool   `help:"Launch operations one by one, for debugging."`
	ChatTemplate           string `type:"existingfile" placeholder:"FILE" help:"Jinja file that replaces the model's chat template."`
	RopeScaling            string `placeholder:"JSON" help:"Replaces rope_scaling of config.json."`
	HubOffline             bool   `help:"Use only models that the hub's cache holds."`

	TPSize     int    `name:"tp-size" aliases:"tensor-parallel-size" default:"1" help:"Devices that share each layer."`
	PPSize     int    `name:"pp-size" aliases:"pipeline-parallel-size" default:"1" help:"Devices that share the layers."`
	WorkerMode string `default:"thread" enum:"thread,process" help:"Where devices' workers run: thread or process."`
	UseThreads bool   `name:"use-threading" hidden:"" help:"--worker-mode thread."`
	Profile    string `placeholder:"FILE" help:"Write a trace for Perfetto."`

	LogLevel  string `default:"info" enum:"debug,info,warn,error" help:"Least severe log lines to print: debug, info, warn or error."`
	LogFormat string `default:"text" enum:"text,json" help:"Form of log lines on stderr: text or json."`
}

// name is MODEL, from wherever it was given.
func (f *engineFlags) name() (string, error) {
	if f.Model != "" && f.ModelFlag != "" && f.Model != f.ModelFlag {
		return "", usagef("two models were given: %s and %s", f.Model, f.ModelFlag)
	}
	if f.Model != "" {
		return f.Model, nil
	}
	return f.ModelFlag, nil
}

// options checks the flags that this build cannot honour and turns the rest into options.
func (f *engineFlags) options(log *slog.Logger) (ullm.Options, error) {
	o := ullm.Options{
		Backend: f.Backend, Threads: f.Threads,
		ContextLen: f.ContextLen, MaxBatchSeqs: f.MaxBS, MaxBatchTokens: f.MaxBatchTokens,
		KVCacheTokens: f.KVCacheTokens, MemoryUtilization: f.GPUMemoryUtilization, KVDType: f.KVDType,
		NoPrefixCache: f.DisablePrefixCache, NoAsync: f.DisableAsyncScheduling, Eager: f.EnforceEager,
		RopeScaling: f.RopeScaling, HubOffline: f.HubOffline, Log: log,
	}
	switch {
	case f.TPSize != 1:
		return o, usagef("--tp-size %d: this build runs a model on one device; use --tp-size 1", f.TPSize)
	case f.PPSize != 1:
		return o, usagef("--pp-size %d: this build runs a model on one device; use --pp-size 1", f.PPSize)
	case f.WorkerMode != "thread":
		return o, usagef("--worker-mode %s: this build runs its worker as a thread; use --worker-mode thread", f.WorkerMode)
	case f.Profile != "":
		return o, usagef("--profile: this build cannot write traces")
	case len(f.DeviceIDs) > 1:
		return o, usagef("--device-ids %v: this build runs a model on one device; name one", f.DeviceIDs)
	case f.GPUMemoryUtilization <= 0 || f.GPUMemoryUtilization > 1:
		return o, usagef("--gpu-memory-utilization %g: must be above 0 and at most 1", f.GPUMemoryUtilization)
	}
	for _, n := range []struct {
		flag  string
		value int
		least int
	}{{"threads", f.Threads, 0}, {"context-len", f.ContextLen, 0}, {"max-bs", f.MaxBS, 1}, {"max-batch-tokens", f.MaxBatchTokens, 0}, {"kv-cache-tokens", f.KVCacheTokens, 0}} {
		if n.value < n.least {
			return o, usagef("--%s %d: must be at least %d", n.flag, n.value, n.least)
		}
	}
	if len(f.DeviceIDs) == 1 {
		o.DeviceID = f.DeviceIDs[0]
	}
	if err := checkBuilt(f.Backend); err != nil {
		return o, err
	}
	if f.ChatTemplate != "" {
		b, err := os.ReadFile(f.ChatTemplate)
		if err != nil {
			return o, usageError{err}
		}
		o.ChatTemplate = string(b)
	}
	return o, nil
}

// logger writes to stderr, in colour on a terminal.
func logger(level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // an enum has checked it
	if format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
	}
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	return slog.New(tint.NewHandler(os.Stderr, &tint.Options{Level: l, TimeFormat: "15:04:05.000", NoColor: !terminal}))
}

// readStdin is what was piped in, "" on a terminal.
func readStdin() (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return "", nil
	}
	b, err := io.ReadAll(os.Stdin)
	return string(b), err
}

// known lists names for a message.
func known(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return fmt.Sprintf("use one of %s", strings.Join(names, ", "))
}
