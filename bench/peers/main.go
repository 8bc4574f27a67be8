// Command peers measures ullm beside llama.cpp and OpenVINO on this machine: the same model, the same threads, in turn,
// and prints the medians and their ratios.
//
//	go run ./bench/peers -llama DIR -openvino -model DIR
//
// The llama.cpp directory holds llama-bench and llama-batched-bench. The model is a Hugging Face directory, which is
// written in each of the formats that are compared, or one GGUF file, which OpenVINO does not take.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/ullm/ullm/bench/engines"
)

func main() {
	var o options
	flag.StringVar(&o.ullm, "ullm", "bin/ullm", "ullm's binary")
	flag.StringVar(&o.llama, "llama", "", "directory of llama.cpp's programs; none: without it")
	flag.BoolVar(&o.openvino, "openvino", false, "measure OpenVINO too: it is installed from PyPI into the cache")
	flag.StringVar(&o.precision, "precision", "bf16", "OpenVINO's arithmetic: bf16 or f32")
	flag.StringVar(&o.model, "model", "", "Hugging Face directory or GGUF file")
	flag.StringVar(&o.cache, "cache", ".cache/peers", "where what is installed and converted lies")
	formats := flag.String("formats", "bf16,q8_0,q4_0,q4_k", "formats that a directory is written in")
	flag.IntVar(&o.test.Prompt, "p", 512, "tokens of the prompt whose prefill is measured; 0: none")
	flag.IntVar(&o.test.Generate, "n", 48, "tokens generated for each sequence; 0: none")
	batches := flag.String("batch", "1,8,32", "batch sizes of decode")
	flag.IntVar(&o.test.Depth, "depth", 0, "tokens of context before decode begins; 0: few")
	flag.StringVar(&o.test.KV, "kv", "", "format of the KV cache: f16, bf16 or q8_0; none: each engine's own choice")
	flag.IntVar(&o.test.Threads, "t", 2, "threads")
	flag.IntVar(&o.rounds, "rounds", 3, "how often all are measured in turn")
	under := flag.String("under", "", "command that every measured program runs under: taskset -c 0,1")
	flag.Parse()
	o.formats, o.test.Under = strings.Split(*formats, ","), strings.Fields(*under)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.setBatches(*batches)
	if err == nil {
		err = o.compare(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

type options struct {
	ullm, llama, model, cache, precision string
	openvino                             bool
	formats                              []string
	test                                 engines.Test
	rounds                               int
}

func (o *options) setBatches(text string) error {
	for b := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(b)
		if err != nil || n < 1 {
			return fmt.Errorf("-batch %s: want numbers of sequences", text)
		}
		o.test.Batches = append(o.test.Batches, n)
	}
	return nil
}

// compare measures all rows in turn, and prints what was read.
func (o *options) compare(ctx context.Context) error {
	rows, err := o.rows(ctx)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		for _, r := range rows {
			for i, e := range r.engines {
				fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s\n", round+1, o.rounds, r.name, e.Name())
				if err := e.Measure(ctx, o.test, r.figures[i]); err != nil {
					return err
				}
			}
		}
	}
	for _, r := range rows {
		fmt.Printf("%s, %d threads, medians of %d rounds, tokens/s\n\n%s\n", r.name, o.test.Threads, o.rounds, r.figuresTable(o.test))
	}
	fmt.Print(ratiosTable(rows, o.test))
	return nil
}
