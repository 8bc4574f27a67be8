// Command ullm serves and runs Qwen3 models. This package holds flags, wiring and signals, nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	kongyaml "github.com/alecthomas/kong-yaml"

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

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Serve a model through OpenAI's API, with a chat page."`
	Run      runCommand      `cmd:"" help:"Chat with a model in the terminal, or answer one prompt."`
	Bench    benchCommand    `cmd:"" help:"Measure prefill, decode and serving speed."`
	Pull     pullCommand     `cmd:"" help:"Download a model from the hub."`
	Devices  devicesCommand  `cmd:"" help:"List the devices of every backend, and why a backend cannot be used."`
	Tokenize tokenizeCommand `cmd:"" help:"Show the tokens of a text."`
	Quantize quantizeCommand `cmd:"" help:"Write a model as GGUF in another format."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	Config kong.ConfigFlag `help:"YAML file whose keys are flags." placeholder:"FILE" env:"ULLM_CONFIG"`
}

func main() { os.Exit(run(os.Args[1:])) }

// run is main with an exit code.
func run(args []string) int {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("ullm"),
		kong.Description("ullm serves Qwen3 models on NVIDIA GPUs, any GPU through Vulkan, or the CPU. MODEL is a Hugging Face directory, a .gguf file, a hub id (Qwen/Qwen3-0.6B), random:0.6b[,q8_0][,seed=1], or nothing for the embedded guide."),
		kong.UsageOnError(),
		kong.DefaultEnvars("ULLM"),
		kong.Configuration(kongyaml.Loader),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ullm:", err)
		return exitFailed
	}
	ctx, err := parser.Parse(args)
	if exited >= 0 {
		return exited // --help
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "ullm: %v\nullm: see ullm --help\n", err)
		return exitUsage
	}
	sig := watchSignals()
	defer sig.stop()
	ctx.BindTo(sig.context(), (*context.Context)(nil))
	return exitCode(ctx.Run(sig))
}

// exitCode reports an error and chooses the code for it. A leak outranks a cut drain.
func exitCode(err error) int {
	if err == nil {
		return exitClean
	}
	code := exitFailed
	var usage usageError
	switch {
	case errors.Is(err, ullm.ErrLeaked):
		code = exitLeaked
	case errors.Is(err, sched.ErrCut):
		code = exitCut
	case errors.As(err, &usage):
		code = exitUsage
	case errors.Is(err, context.Canceled): // a signal, which is a clean end
		return exitClean
	}
	fmt.Fprintln(os.Stderr, "ullm:", strings.TrimPrefix(err.Error(), "ullm: "))
	return code
}

type versionCommand struct{}

func (versionCommand) Run() error {
	fmt.Println("ullm", version)
	return nil
}
