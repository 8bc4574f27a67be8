package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends"
	"github.com/ullm/ullm/tensor"
)

type pullCommand struct {
	Model   string `arg:"" help:"Hub id: Qwen/Qwen3-0.6B[@revision] or Qwen/Qwen3-0.6B-GGUF:Q8_0."`
	Offline bool   `name:"hub-offline" help:"Only look into the cache."`
}

func (c *pullCommand) Run(ctx context.Context) error {
	log := logger("info", "text")
	p := newProgress(log)
	path, err := ullm.Pull(ctx, c.Model, ullm.Options{Log: log, HubOffline: c.Offline, Progress: p.report})
	p.done()
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

type devicesCommand struct{}

func (devicesCommand) Run() error {
	for _, b := range backends.Table() {
		if b.Missing != "" {
			fmt.Printf("%-7s not in this build: %s\n", b.Name, b.Missing)
			continue
		}
		infos, err := b.Devices()
		if err != nil {
			fmt.Printf("%-7s not usable: %v\n", b.Name, err)
			continue
		}
		for i, d := range infos {
			fmt.Printf("%-7s %d: %s\n", b.Name, i, d.Name)
			if d.Detail != "" {
				fmt.Printf("          %s\n", d.Detail)
			}
			if d.Threads > 0 {
				fmt.Printf("          threads     %d\n", d.Threads)
			}
			if d.Memory > 0 {
				fmt.Printf("          memory      %.1f GiB, %.1f GiB free\n", gib(d.Memory), gib(d.Free))
			}
			fmt.Printf("          weights     %s\n", formatNames(d.Formats))
			fmt.Printf("          KV cache    %s\n", formatNames(d.KVFormats))
		}
	}
	return nil
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

func formatNames(formats []tensor.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, f.String())
	}
	return strings.Join(names, " ")
}

type tokenizeCommand struct {
	Model string   `arg:"" optional:"" help:"Model; nothing or \"\" for the embedded guide."`
	Text  []string `arg:"" optional:"" help:"Text; standard input if there is none."`
	IDs   bool     `help:"Print ids only, on one line."`
	Plain bool     `help:"Read special tokens as plain text."`
}

func (c *tokenizeCommand) Run(ctx context.Context) error {
	f, err := ullm.Files(ctx, c.Model, ullm.Options{Log: logger("warn", "text")})
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := f.Tokenizer()
	if err != nil {
		return err
	}
	text := strings.Join(c.Text, " ")
	if len(c.Text) == 0 {
		if text, err = readStdin(); err != nil {
			return err
		}
	}
	ids := t.Encode(text, !c.Plain)
	if c.IDs {
		fmt.Println(strings.Trim(fmt.Sprint(ids), "[]"))
		return nil
	}
	for _, id := range ids {
		fmt.Printf("%7d  %q\n", id, t.TokenBytes(id))
	}
	fmt.Fprintf(os.Stderr, "%d tokens\n", len(ids))
	return nil
}

type quantizeCommand struct {
	In     string `arg:"" help:"Hugging Face directory or .gguf file."`
	Out    string `arg:"" help:"GGUF file to write."`
	Format string `required:"" help:"q8_0, q4_0, q4_k, q5_k, q6_k, bf16, …"`
}

func (c *quantizeCommand) Run(ctx context.Context) error {
	return errors.New("ullm: quantize is not in this build yet")
}
