package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends"
	"github.com/ullm/ullm/tensor"
)

type pullCommand struct {
	logFlags
	Model      string `arg:"" help:"Hub id: Qwen/Qwen3-0.6B[@revision] or Qwen/Qwen3-0.6B-GGUF:Q8_0."`
	HubOffline bool   `help:"Only look into the cache."`
}

func (c *pullCommand) Run(ctx context.Context) error {
	log := c.logger(slog.LevelInfo)
	p := newProgress(log)
	path, err := ullm.Pull(ctx, c.Model, ullm.Options{Log: log, HubOffline: c.HubOffline, Progress: p.report})
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
			printDevice(b.Name, i, d)
		}
	}
	return nil
}

func printDevice(backend string, id int, d tensor.Info) {
	fmt.Printf("%-7s %d: %s\n", backend, id, d.Name)
	line := func(name, format string, args ...any) {
		fmt.Printf("          %-12s "+format+"\n", append([]any{name}, args...)...)
	}
	if d.Lacks != "" {
		line("not usable", "it lacks %s", d.Lacks)
	}
	if d.Detail != "" {
		line("detail", "%s", d.Detail)
	}
	for i, l := range d.Limits {
		line([]string{"driver", ""}[min(i, 1)], "%s", l)
	}
	if d.Threads > 0 {
		line("threads", "%d", d.Threads)
	}
	if d.Memory > 0 {
		line("memory", "%.1f GiB, %.1f GiB free", gib(d.Memory), gib(d.Free))
	}
	line("limits", "%d steps in flight, %d rows of logits", d.Depth, d.HeadRows)
	line("weights", "%s", formatNames(d.Formats))
	line("KV cache", "%s", formatNames(d.KVFormats))
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
	modelFlags
	logFlags
	Text  []string `arg:"" optional:"" help:"Text; standard input if there is none."`
	IDs   bool     `name:"ids" help:"Print ids only, on one line."`
	Plain bool     `help:"Read special tokens as plain text."`
}

func (c *tokenizeCommand) Run(ctx context.Context) error {
	name, args := c.split(c.Text)
	f, err := ullm.Files(ctx, name, ullm.Options{Log: c.logger(slog.LevelWarn), HubOffline: c.HubOffline})
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := f.Tokenizer()
	if err != nil {
		return err
	}
	text := strings.Join(args, " ")
	if len(args) == 0 {
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
