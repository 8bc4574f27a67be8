// Command serving measures servers under load on this machine: requests with random input and output lengths, sent all at
// once to any server that speaks OpenAI's API, or to ullm, llama-server and OpenVINO's continuous batching in turn.
//
//	go run ./bench/serving -url http://127.0.0.1:8000
//	go run ./bench/serving -model model.gguf -llama DIR -openvino-python PYTHON -openvino-model DIR
//
// It also measures what only a server can show: that a prompt's beginning is computed once for all requests that share it,
// and how evenly tokens come while other prompts are computed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/ullm/ullm/bench"
	"github.com/ullm/ullm/bench/engines"
)

func main() {
	var o options
	flag.StringVar(&o.url, "url", "", "a running server; none: servers are started")
	flag.StringVar(&o.ullm, "ullm", "bin/ullm", "ullm's binary; empty: without it")
	flag.StringVar(&o.llama, "llama", "", "directory of llama-server; none: without it")
	flag.StringVar(&o.python, "openvino-python", "", "Python that has OpenVINO, such as .cache/peers/openvino/bin/python; none: without it")
	flag.StringVar(&o.exported, "openvino-model", "", "the model as OpenVINO takes it")
	flag.StringVar(&o.precision, "precision", "bf16", "OpenVINO's arithmetic: bf16 or f32")
	flag.StringVar(&o.model, "model", "", "GGUF file, or for -url the model's name")
	workloads := flag.String("workloads", "16,32:192,32:192;64,16:64,16:64", "workloads, as ullm bench --workload takes them")
	sampling := flag.String("sampling", "{}", `fields of every request, such as {"temperature": 1, "top_p": 0.95}; none: greedy (not for OpenVINO)`)
	flag.BoolVar(&o.prefix, "prefix", false, "also: requests that share a prefix of 1,024 tokens (ullm)")
	flag.BoolVar(&o.mixed, "mixed", false, "also: how even tokens come while prompts are computed (ullm, llama-server)")
	flag.IntVar(&o.serving.Threads, "t", 2, "threads")
	flag.IntVar(&o.serving.Slots, "slots", 16, "requests that a server runs at once; ullm and OpenVINO take as many as come")
	flag.IntVar(&o.serving.Context, "context", 2048, "tokens of the longest request")
	flag.IntVar(&o.serving.Port, "port", 18080, "port for servers that are started")
	flag.IntVar(&o.vocab, "vocab", 100000, "token ids sent are below this")
	flag.IntVar(&o.rounds, "rounds", 1, "how often all are measured in turn")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.setWorkloads(*workloads)
	if err == nil {
		err = json.Unmarshal([]byte(*sampling), &o.sampling)
	}
	if err == nil {
		err = o.run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "serving:", err)
		os.Exit(1)
	}
}

type options struct {
	url, ullm, llama, python, exported, precision, model string
	workloads                                            []bench.Workload
	sampling                                             map[string]any
	prefix, mixed                                        bool
	serving                                              engines.Serving
	vocab, rounds                                        int
}

func (o *options) setWorkloads(text string) error {
	for w := range strings.SplitSeq(text, ";") {
		if w == "" {
			continue
		}
		workload, err := bench.ParseWorkload(w)
		if err != nil {
			return err
		}
		o.workloads = append(o.workloads, workload)
	}
	return nil
}

// run measures every candidate in turn and prints a table for each workload.
func (o *options) run(ctx context.Context) error {
	tables := make([]table, len(o.workloads))
	for i, w := range o.workloads {
		tables[i].title = fmt.Sprintf("%d requests, %d to %d tokens in, %d to %d out", w.Requests, w.In[0], w.In[1], w.Out[0], w.Out[1])
	}
	for range o.rounds {
		for _, c := range o.candidates() {
			fmt.Fprintln(os.Stderr, c.name)
			if err := c.measure(ctx, tables); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, t := range tables {
		fmt.Println(t)
	}
	return nil
}

// candidate is one that is measured.
type candidate struct {
	name    string
	measure func(context.Context, []table) error
}

func (o *options) candidates() (list []candidate) {
	if o.url != "" {
		return []candidate{{o.url, func(ctx context.Context, tables []table) error { return o.load(ctx, "server", o.url, tables) }}}
	}
	started := func(name string, serve func(context.Context, engines.Serving) (*engines.Server, error)) {
		list = append(list, candidate{name, func(ctx context.Context, tables []table) (err error) {
			s, err := serve(ctx, o.serving)
			if err != nil {
				return err
			}
			defer func() {
				if stopped := s.Stop(); err == nil {
					err = stopped
				}
			}()
			return o.load(ctx, name, s.URL, tables)
		}})
	}
	if o.ullm != "" {
		started("ullm", func(ctx context.Context, s engines.Serving) (*engines.Server, error) {
			s.Slots = o.most()
			return engines.Ullm{Program: o.ullm, Model: o.model}.Serve(ctx, s)
		})
	}
	if o.llama != "" {
		started("llama-server", engines.Llama{Dir: o.llama, Model: o.model}.Serve)
	}
	if o.python != "" {
		list = append(list, candidate{"OpenVINO", func(ctx context.Context, tables []table) error {
			s, e := o.serving, engines.OpenVINO{Python: o.python, Model: o.exported, Precision: o.precision}
			s.Slots = o.most()
			for i, w := range o.workloads {
				r, err := e.Requests(ctx, s, w.Jobs(o.vocab))
				if err != nil {
					return err
				}
				tables[i].add("OpenVINO", r)
			}
			return nil
		}})
	}
	return list
}

// most is how many requests any workload sends at once.
func (o *options) most() int {
	n := o.serving.Slots
	for _, w := range o.workloads {
		if w.Concurrency == 0 {
			n = max(n, w.Requests)
		}
		n = max(n, w.Concurrency)
	}
	return n
}

// load sends all that was asked for to one server.
func (o *options) load(ctx context.Context, name, url string, tables []table) error {
	endpoint := bench.Endpoint{URL: url, Model: o.model, Sampling: o.sampling}
	warm := bench.Workload{Requests: 2, In: [2]int{16, 16}, Out: [2]int{4, 4}, Seed: 1 << 40}
	if _, err := warm.RunEndpoint(ctx, endpoint, o.vocab); err != nil {
		return err
	}
	for i, w := range o.workloads {
		r, err := w.RunEndpoint(ctx, endpoint, o.vocab)
		if err != nil {
			return err
		}
		tables[i].add(name, r)
	}
	if o.prefix && name != "llama-server" {
		if err := sharedPrefix(ctx, endpoint, o.vocab); err != nil {
			return err
		}
	}
	if o.mixed {
		return mixed(ctx, name, endpoint, o.vocab)
	}
	return nil
}
