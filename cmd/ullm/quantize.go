package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/model/weights/convert"
	"github.com/ullm/ullm/model/weights/quantize"
	"github.com/ullm/ullm/tensor"
)

type quantizeCommand struct {
	logFlags
	In     string `arg:"" help:"Hugging Face directory, .gguf file or hub id."`
	Out    string `arg:"" help:"GGUF file to write."`
	Format string `required:"" help:"Format as llama-quantize means it: q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k, f16, bf16 or f32."`
	Force  bool   `short:"f" help:"Write over a file that is there."`
}

func (c *quantizeCommand) Run(ctx context.Context) error {
	format, err := tensor.ParseFormat(strings.TrimSuffix(strings.ToLower(c.Format), "_m")) // Q4_K_M is all that Q4_K can mean
	if err != nil {
		return usagef("--format: %w", err)
	}
	if _, err := os.Stat(c.Out); err == nil && !c.Force {
		return usagef("%s is there already; use --force to write over it", c.Out)
	}
	log := c.logger(slog.LevelWarn)
	p := newProgress(log)
	defer p.done()
	path, err := ullm.Locate(ctx, c.In, ullm.Options{Log: log, Progress: p.report})
	if err != nil {
		return err
	}
	in, err := quantizeInput(path)
	if err != nil {
		return err
	}
	err = quantize.Quantize(ctx, in, c.Out, format, func(done, total int64) { p.report("quantize", done, total) })
	p.done()
	if err := errors.Join(err, in.Tensors.Close()); err != nil {
		return err
	}
	before, after := in.Tensors.Size(), int64(0)
	if info, err := os.Stat(c.Out); err == nil {
		after = info.Size()
	}
	fmt.Printf("%s: %.1f MB of weights became %.1f MB\n", c.Out, float64(before)/1e6, float64(after)/1e6)
	return nil
}

func quantizeInput(path string) (quantize.Input, error) {
	info, err := os.Stat(path)
	if err != nil {
		return quantize.Input{}, err
	}
	if info.IsDir() {
		return convert.FromHuggingFace(path)
	}
	g, err := weights.OpenGGUF(path)
	if err != nil {
		return quantize.Input{}, err
	}
	return quantize.FromGGUF(g), nil
}
