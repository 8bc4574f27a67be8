// Command ullm serves and runs Qwen3 models. This package holds flags, wiring and signals, nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/sched"
)

// version is set by the linker.
var version = "devel"

// The exit codes.
const (
	exitClean  = 0
	exitFailed = 1
	exitUsage  = 2
	exitCut    = 3
	exitLeaked = 4
	exitForced = 130
)

// usageError is a mistake in how the program was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// loggedError has been logged: it decides the exit code and is not printed again.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Serve a model through OpenAI's API, with a chat page."`
	Run      runCommand      `cmd:"" help:"Chat with a model in the terminal, or answer one prompt."`
	Bench    benchCommand    `cmd:"" help:"Measure prefill, decode and serving speed."`
	Pull     pullCommand     `cmd:"" help:"Download a model from the hub."`
	Devices  devicesCommand  `cmd:"" help:"List the devices of every backend, and why a backend cannot be used."`
	Tokenize tokenizeCommand `cmd:"" help:"Show the tokens of a text."`
	Quantize quantizeCommand `cmd:"" help:"Write a model as GGUF in another format."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	Config kong.ConfigFlag `help:"YAML file whose keys are flags." placeholder:"FILE"`
}

const description = `ullm serves Qwen3 models on NVIDIA GPUs, any GPU through Vulkan, or the CPU. ` +
	`MODEL is a Hugging Face directory, a .gguf file, a hub id (Qwen/Qwen3-0.6B), random:0.6b[,q8_0][,seed=1], or nothing for the embedded guide. ` +
	`Every flag is also an environment variable: --max-bs is ULLM_MAX_BS.`

func main() { os.Exit(hosted(os.Args[1:])) }

// run is main with an exit code, under a service manager if there is one.
func run(args []string, manager <-chan os.Signal) int {
	var c commands
	exited := -1
	options := []kong.Option{
		kong.Name("ullm"),
		kong.Description(description),
		kong.DefaultEnvars("ULLM"),
		kong.Configuration(readConfig),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}
	if path := os.Getenv("ULLM_CONFIG"); path != "" {
		config, err := openConfig(path)
		if err != nil {
			return exitCode(usageError{err}, false)
		}
		options = append(options, kong.Resolvers(config))
	}
	parser, err := kong.New(&c, options...)
	if err != nil {
		return exitCode(err, false)
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		return exitCode(usagef("%w; see ullm --help", err), false)
	}
	sig := watchSignals(manager)
	defer sig.stop()
	ctx.BindTo(sig.ctx, (*context.Context)(nil))
	err = ctx.Run(sig)
	return exitCode(err, sig.ctx.Err() != nil)
}

// exitCode prints an error and chooses the code for it. A leak outranks a cut drain; that something was cancelled is a
// clean end if a signal asked for it.
func exitCode(err error, interrupted bool) int {
	if err == nil {
		return exitClean
	}
	code := exitFailed
	var usage usageError
	var logged loggedError
	switch {
	case errors.Is(err, ullm.ErrLeaked):
		code = exitLeaked
	case errors.Is(err, sched.ErrCut):
		code = exitCut
	case errors.As(err, &usage):
		code = exitUsage
	case interrupted && errors.Is(err, context.Canceled):
		return exitClean
	}
	if !errors.As(err, &logged) {
		fmt.Fprintln(os.Stderr, "ullm:", strings.TrimPrefix(err.Error(), "ullm: "))
	}
	return code
}

type versionCommand struct{}

func (versionCommand) Run() error {
	v := version
	if info, ok := debug.ReadBuildInfo(); ok && v == "devel" && info.Main.Version != "(devel)" && info.Main.Version != "" {
		v = info.Main.Version // of go install
	}
	fmt.Printf("ullm %s %s/%s %s\n", v, runtime.GOOS, runtime.GOARCH, runtime.Version())
	return nil
}
