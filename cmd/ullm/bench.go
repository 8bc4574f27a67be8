package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/bench"
	"github.com/ullm/ullm/model/random"
)

type benchCommand struct {
	engineFlags
	Prompt   []int  `short:"p" default:"512" help:"Lengths of the prompts whose prefill is measured; 0: none."`
	Generate []int  `short:"n" default:"128" help:"Numbers of tokens whose decode is measured; 0: none."`
	Batch    []int  `default:"1" help:"Batch sizes of decode: 1,8,32."`
	Depth    int    `default:"16" help:"Tokens of context before decode begins."`
	Format   string `help:"Weight format of a random: model; default bf16."`
	Reps     int    `default:"5" help:"How often each test runs; the median is printed."`
	JSON     bool   `help:"Print JSON."`
	Workload string `placeholder:"256,100:1024,100:1024,seed=0" help:"Instead, requests with random input and output lengths."`
	URL      string `help:"Send the workload to this OpenAI-compatible server."`
	APIKey   string `name:"api-key" help:"Key for that server."`
	Vocab    int    `default:"100000" help:"Token ids sent to --url are below this."`
}

func (c *benchCommand) Run(sig *signals) error {
	name := c.name()
	if name == "" && c.URL == "" {
		name = random.Prefix + "0.6b"
	}
	if c.Format != "" {
		if !strings.HasPrefix(name, random.Prefix) {
			return usagef("--format is for random: models; quantize a real one first")
		}
		name += "," + c.Format
	}
	if c.Reps < 1 {
		return usagef("--reps must be at least 1")
	}
	if c.URL != "" && c.Workload == "" {
		return usagef("--url needs a --workload")
	}
	report := bench.Report{Model: name}
	var err error
	switch {
	case c.URL != "":
		err = c.workload(sig.ctx, nil, &report)
	case c.Workload != "":
		err = c.withEngine(sig.ctx, name, &report)
	default:
		err = c.steps(sig.ctx, name, &report)
	}
	if len(report.Results) == 0 {
		return err
	}
	return errors.Join(c.print(report), err) // some requests may have failed
}

func (c *benchCommand) workload(ctx context.Context, e *ullm.Engine, report *bench.Report) error {
	w, err := bench.ParseWorkload(c.Workload)
	if err != nil {
		return usageError{err}
	}
	var r bench.Result
	if e != nil {
		r, err = w.Run(ctx, e)
	} else {
		report.Backend, report.Device = "url", c.URL
		r, err = w.RunURL(ctx, c.URL, report.Model, c.APIKey, c.Vocab)
	}
	report.Results = append(report.Results, r)
	return err
}

func (c *benchCommand) withEngine(ctx context.Context, name string, report *bench.Report) error {
	return opening(&c.engineFlags, func(o ullm.Options) (*ullm.Engine, error) {
		return ullm.Open(ctx, name, ullm.With(o))
	}, func(e *ullm.Engine) error {
		d := e.Info().Device
		report.Backend, report.Device = d.Backend, d.Name
		return c.workload(ctx, e, report)
	})
}

// steps measures prefill and decode without a scheduler.
func (c *benchCommand) steps(ctx context.Context, name string, report *bench.Report) error {
	return opening(&c.engineFlags, func(o ullm.Options) (*ullm.Instance, error) {
		return ullm.OpenInstance(ctx, name, o)
	}, func(m *ullm.Instance) error {
		d := m.Device.Info()
		report.Backend, report.Device = d.Backend, d.Name
		return c.measure(ctx, m, report)
	})
}

func (c *benchCommand) measure(ctx context.Context, m *ullm.Instance, report *bench.Report) error {
	cost := bench.CostOf(m.Model.Config(), m.Model.Sizing())
	var bandwidth, flops float64
	if r, ok := m.Device.(bench.Roofline); ok {
		var err error
		if bandwidth, flops, err = r.Roofline(ctx, m.Model.Format()); err != nil {
			return err
		}
	}
	fraction := func(have, most float64) float64 {
		if most == 0 {
			return 0
		}
		return have / most
	}
	for _, n := range c.Prompt {
		if n <= 0 {
			continue
		}
		s, err := bench.Prefill(ctx, m.Model, n, c.Reps)
		if err != nil {
			return err
		}
		report.Results = append(report.Results, bench.Result{Test: fmt.Sprintf("pp%d", n), Batch: 1, TokensPerSecond: s,
			FlopsFraction: fraction(s.Median*cost.Flops, flops)})
	}
	for _, n := range c.Generate {
		for _, batch := range c.Batch {
			if n <= 0 {
				continue
			}
			s, err := bench.Decode(ctx, m.Model, m.Device.Info().Depth, n, batch, c.Depth, c.Reps)
			if err != nil {
				return err
			}
			read := float64(cost.WeightBytes) + float64(batch*(c.Depth+n/2))*float64(cost.KVBytes)
			report.Results = append(report.Results, bench.Result{Test: fmt.Sprintf("tg%d", n), Batch: batch, TokensPerSecond: s,
				BandwidthFraction: fraction(s.Median/float64(batch)*read, bandwidth), FlopsFraction: fraction(s.Median*(cost.Flops+cost.HeadFlops), flops)})
		}
	}
	return nil
}

func (c *benchCommand) print(r bench.Report) error {
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", " ")
		return e.Encode(r)
	}
	fmt.Printf("%s on %s: %s\n", r.Model, r.Backend, r.Device)
	for _, x := range r.Results {
		t := x.TokensPerSecond
		fmt.Printf("%-9s ×%-4d %9.1f tokens/s (%.1f to %.1f)", x.Test, x.Batch, t.Median, t.Min, t.Max)
		if x.BandwidthFraction > 0 {
			fmt.Printf("  %3.0f %% of bandwidth", 100*x.BandwidthFraction)
		}
		if x.FlopsFraction > 0 {
			fmt.Printf("  %3.0f %% of arithmetic", 100*x.FlopsFraction)
		}
		if x.Test == "workload" {
			fmt.Printf("  %d requests, %d failed, first token p50 %.3f s p99 %.3f s, between tokens p50 %.4f s p99 %.4f s",
				x.Requests, x.Failed, x.TTFTP50, x.TTFTP99, x.InterP50, x.InterP99)
		}
		fmt.Println()
	}
	return nil
}
