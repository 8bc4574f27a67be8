package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends"
)

// modelFlags name a model: the first argument, or -m as in llama.cpp, ULLM_MODEL, or model in a config file.
type modelFlags struct {
	Model      string `arg:"" optional:"" name:"model" help:"Model; nothing or \"\" for the embedded guide."`
	ModelFlag  string `short:"m" name:"model" placeholder:"MODEL" help:"The model, when it is not the first argument."`
	HubOffline bool   `help:"Use only models that the hub's cache holds."`
}

// name is the model's; an argument goes before everything else.
func (f *modelFlags) name() string {
	if f.Model != "" {
		return f.Model
	}
	return f.ModelFlag
}

// split is for commands that have arguments behind the model's: when the model is named otherwise, all arguments are
// those.
func (f *modelFlags) split(args []string) (name string, rest []string) {
	if f.ModelFlag != "" && f.Model != "" {
		return f.ModelFlag, append([]string{f.Model}, args...)
	}
	return f.name(), args
}

// logFlags say what stderr shows.
type logFlags struct {
	LogLevel  string `enum:",debug,info,warn,error" default:"" help:"Least severe log lines to print: debug, info, warn or error. The default is info for serve, and warn elsewhere."`
	LogFormat string `default:"text" enum:"text,json" help:"Form of log lines on stderr: text or json."`
	LogFile   string `placeholder:"FILE" help:"Append to FILE what stderr would get."`
}

// AfterApply lets the log file take the place of stderr, also for what the runtime says of a crash.
func (f *logFlags) AfterApply() error {
	if f.LogFile == "" {
		return nil
	}
	file, err := os.OpenFile(f.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("--log-file: %w", err)
	}
	os.Stderr = file
	return debug.SetCrashOutput(file, debug.CrashOptions{})
}

// logger writes to stderr, in colour on a terminal.
func (f *logFlags) logger(defaultLevel slog.Level) *slog.Logger {
	level := defaultLevel
	if f.LogLevel != "" {
		_ = level.UnmarshalText([]byte(f.LogLevel)) // an enum has checked it
	}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(tint.NewHandler(os.Stderr, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !isTerminal(os.Stderr)}))
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// engineFlags choose the model and how it is opened.
type engineFlags struct {
	modelFlags
	logFlags

	Backend              string  `default:"auto" enum:"auto,cuda,vulkan,cpu,ref" help:"Where to compute: auto, cuda, vulkan, cpu or ref."`
	DeviceIDs            []int   `name:"device-ids" help:"Which devices of the backend." placeholder:"0,1"`
	Threads              int     `short:"t" help:"CPU threads; 0: one for each core."`
	CPULevel             string  `name:"cpu-level" default:"auto" enum:"auto,portable,avx2,avx512,avx512bf16,neon,neondot" help:"Instructions that the CPU backend uses: auto, portable, avx2, avx512, avx512bf16, neon or neondot. Answers are the same to the bit on all machines at one level."`
	ContextLen           int     `short:"c" aliases:"max-model-len" help:"Longest sequence in tokens; 0: the model's, lowered when memory is short."`
	MaxBS                int     `name:"max-bs" aliases:"max-num-seqs" default:"256" help:"Sequences that run at once."`
	MaxBatchTokens       int     `aliases:"max-num-batched-tokens" help:"Prompt and new tokens that one step computes at most; 0: 512."`
	KVCacheTokens        int     `name:"kv-cache-tokens" help:"Tokens that the KV cache holds at most; 0: as many as memory allows."`
	GPUMemoryUtilization float64 `name:"gpu-memory-utilization" default:"0.9" help:"Share of the device's free memory to use."`
	KVDType              string  `name:"kv-dtype" default:"auto" enum:"auto,f32,f16,bf16,q8_0" help:"Format of the KV cache: auto, f32, f16, bf16 or q8_0."`

	DisablePrefixCache     bool   `help:"Compute every prompt from its beginning."`
	DisableAsyncScheduling bool   `help:"Plan a step only when the one before it has been read."`
	EnforceEager           bool   `help:"Launch operations one by one, for debugging."`
	ChatTemplate           string `type:"existingfile" placeholder:"FILE" help:"Jinja file that replaces the model's chat template."`
	RopeScaling            string `placeholder:"JSON" help:"Replaces rope_scaling of config.json."`

	TPSize     int    `name:"tp-size" aliases:"tensor-parallel-size" default:"1" help:"Devices that share each layer."`
	PPSize     int    `name:"pp-size" aliases:"pipeline-parallel-size" default:"1" help:"Devices that share the layers."`
	WorkerMode string `default:"thread" enum:"thread,process" help:"Where devices' workers run: thread or process."`
	UseThreads bool   `name:"use-threading" help:"The same as --worker-mode thread."`
	Profile    string `placeholder:"FILE" help:"Write a trace of the device's operations for Perfetto, and print at the end where the time went."`
}

// options checks the flags that this build cannot honour and turns the rest into options.
func (f *engineFlags) options(log *slog.Logger) (ullm.Options, error) {
	o := ullm.Options{
		Backend: f.Backend, Threads: f.Threads, CPULevel: f.CPULevel,
		ContextLen: f.ContextLen, MaxBatchSeqs: f.MaxBS, MaxBatchTokens: f.MaxBatchTokens, KVCacheTokens: f.KVCacheTokens,
		MemoryUtilization: f.GPUMemoryUtilization, KVDType: f.KVDType,
		NoPrefixCache: f.DisablePrefixCache, NoAsync: f.DisableAsyncScheduling, Eager: f.EnforceEager,
		RopeScaling: f.RopeScaling, HubOffline: f.HubOffline, Log: log,
	}
	switch {
	case f.TPSize != 1:
		return o, usagef("--tp-size %d: this build runs a model on one device; use --tp-size 1", f.TPSize)
	case f.PPSize != 1:
		return o, usagef("--pp-size %d: this build runs a model on one device; use --pp-size 1", f.PPSize)
	case f.WorkerMode != "thread" && !f.UseThreads:
		return o, usagef("--worker-mode %s: this build runs its worker as a thread; use --worker-mode thread", f.WorkerMode)
	case len(f.DeviceIDs) > 1:
		return o, usagef("--device-ids %v: this build runs a model on one device; name one", f.DeviceIDs)
	case !(f.GPUMemoryUtilization > 0 && f.GPUMemoryUtilization <= 1):
		return o, usagef("--gpu-memory-utilization %g: must be above 0 and at most 1", f.GPUMemoryUtilization)
	case f.RopeScaling != "" && !json.Valid([]byte(f.RopeScaling)):
		return o, usagef("--rope-scaling %s: is no JSON", f.RopeScaling)
	}
	if len(f.DeviceIDs) == 1 {
		o.DeviceID = f.DeviceIDs[0]
	}
	for _, n := range []struct {
		flag         string
		value, least int
	}{
		{"device-ids", o.DeviceID, 0}, {"threads", f.Threads, 0}, {"context-len", f.ContextLen, 0}, {"max-bs", f.MaxBS, 1},
		{"max-batch-tokens", f.MaxBatchTokens, 0}, {"kv-cache-tokens", f.KVCacheTokens, 0},
	} {
		if n.value < n.least {
			return o, usagef("--%s %d: must be at least %d", n.flag, n.value, n.least)
		}
	}
	for _, b := range backends.Table() {
		if b.Name == f.Backend && b.Missing != "" {
			return o, usagef("--backend %s: not in this build: %s", b.Name, b.Missing)
		}
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

// readStdin is what was piped in, "" on a terminal.
func readStdin() (string, error) {
	if isTerminal(os.Stdin) {
		return "", nil
	}
	b, err := io.ReadAll(os.Stdin)
	return strings.TrimSpace(string(b)), err
}
