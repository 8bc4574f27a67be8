// Command peers measures ullm beside llama.cpp and OpenVINO on this machine: the same model, the same threads, in turn,
// and prints the medians and their ratios.
//
//	go run ./bench/peers -llama DIR -openvino -model DIR
//
// The llama.cpp directory holds llama-bench, llama-batched-bench and libllama.so. The model is a Hugging Face directory,
// which is written in each of the formats that are compared, or one GGUF file, which OpenVINO does not take.
//
// On a machine that cannot be kept quiet for long, the work is done in pieces: -results names a file that keeps what was
// measured, -budget ends the command, with status 75, when that much time has passed; the same command goes on then.
//
//	peers … -prepare
//	while quietly peers … -results FILE -budget 60s; [ $? = 75 ]; do :; done
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/ullm/ullm/bench/engines"
)

// exitMore: there is more to measure (EX_TEMPFAIL of sysexits.h).
const exitMore = 75

func main() {
	var o options
	flag.StringVar(&o.ullm, "ullm", "bin/ullm", "ullm's binary")
	flag.StringVar(&o.level, "cpu-level", "", "instructions that ullm uses, as its flag of that name; none: the best. For a llama.cpp that was built without AVX-512: avx2")
	flag.StringVar(&o.llama, "llama", "", "directory of llama.cpp's programs; none: without it")
	flag.BoolVar(&o.openvino, "openvino", false, "measure OpenVINO too: it is installed from PyPI into the cache")
	flag.StringVar(&o.precision, "precision", "bf16", "OpenVINO's arithmetic: bf16 or f32")
	flag.StringVar(&o.model, "model", "", "Hugging Face directory or GGUF file")
	flag.StringVar(&o.cache, "cache", ".cache/peers", "where what is installed and converted lies")
	formats := flag.String("formats", "bf16,q8_0,q4_0,q4_k", "formats that a directory is written in")
	flag.IntVar(&o.test.Prompt, "p", 512, "tokens of the prompt whose prefill is measured; 0: none")
	flag.IntVar(&o.test.Generate, "n", 48, "tokens generated for each sequence; 0: none")
	batches := flag.String("batch", "1,8,32", "batch sizes of decode")
	flag.IntVar(&o.test.Depth, "depth", 0, "tokens of context before decode begins; 0: few. From 2048 on llama.cpp's is computed once and kept in the cache")
	flag.StringVar(&o.test.KV, "kv", "", "format of the KV cache: f16, bf16 or q8_0; none: each engine's own choice")
	flag.IntVar(&o.test.Threads, "t", 2, "threads")
	flag.IntVar(&o.rounds, "rounds", 3, "how often all are measured in turn")
	flag.BoolVar(&o.prepare, "prepare", false, "install, convert and compute what is needed, and measure nothing")
	flag.StringVar(&o.results, "results", "", "file that keeps each measurement, as a line of JSON; what it holds is not measured anew")
	flag.DurationVar(&o.budget, "budget", 0, "begin no more measurements after this time, and end with status 75; 0: measure all")
	under := flag.String("under", "", "command that every measured program runs under: taskset -c 0,1")
	flag.Parse()
	o.formats, o.test.Under = strings.Split(*formats, ","), strings.Fields(*under)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.setBatches(*batches)
	if err == nil && o.budget > 0 && o.results == "" {
		err = errors.New("-budget needs -results")
	}
	if err == nil {
		err = o.compare(ctx)
	}
	stop()
	switch {
	case errors.Is(err, errMore):
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(exitMore)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

type options struct {
	ullm, level, llama, model, cache, precision string
	openvino, prepare                           bool
	formats                                     []string
	test                                        engines.Test
	rounds                                      int
	results                                     string
	budget                                      time.Duration
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
	for _, r := range rows {
		for _, e := range r.engines {
			if err := e.Prepare(ctx, o.test); err != nil {
				return err
			}
		}
	}
	if o.prepare {
		return nil
	}
	log, err := openLog(o.results, fmt.Sprintf("%+v %s %s", o.test, o.level, o.precision))
	if err != nil {
		return err
	}
	if err := errors.Join(o.measure(ctx, rows, log), log.Close()); err != nil {
		return err
	}
	fmt.Printf("%s, %s, %d threads; %s; medians of %d rounds, tokens/s\n\n", time.Now().Format("2 January 2006"), processor(), o.test.Threads, o.versions(ctx, rows), o.rounds)
	for _, r := range rows {
		fmt.Printf("%s\n", r.figuresTable(o.test))
	}
	fmt.Print(ratiosTable(rows, o.test))
	fmt.Print(missedList(rows, o.test))
	return nil
}

// measure runs what the log has not yet: engines next to each other in time, one part of the test after the other.
func (o *options) measure(ctx context.Context, rows []*row, log *resultLog) error {
	begun, ran, left := time.Now(), 0, 0
	for round := range o.rounds {
		for _, r := range rows {
			for _, part := range []string{"prefill", "decode"} {
				test, ok := o.test.Parts()[part]
				if !ok {
					continue
				}
				for i, e := range r.engines {
					m := measurement{Format: r.name, Engine: e.Name(), Part: part, Round: round}
					if f := log.find(m); f != nil {
						r.figures[i].Merge(f)
						continue
					}
					if o.budget > 0 && ran > 0 && time.Since(begun) > o.budget {
						left++
						continue
					}
					fmt.Fprintf(os.Stderr, "round %d of %d: %s, %s, %s\n", round+1, o.rounds, r.name, part, e.Name())
					m.Figures = engines.Figures{}
					if err := e.Measure(ctx, test, m.Figures); err != nil {
						return err
					}
					ran++
					r.figures[i].Merge(m.Figures)
					if err := log.add(m); err != nil {
						return err
					}
				}
			}
		}
	}
	if left > 0 {
		return fmt.Errorf("%w: %d measurements", errMore, left)
	}
	return nil
}

var errMore = errors.New("more is left to measure")

// versions names each engine once.
func (o *options) versions(ctx context.Context, rows []*row) string {
	var list []string
	seen := map[string]bool{}
	for _, r := range rows {
		for _, e := range r.engines {
			if !seen[e.Name()] {
				seen[e.Name()] = true
				list = append(list, strings.TrimSpace(e.Name()+" "+e.Version(ctx)))
			}
		}
	}
	if o.level != "" {
		list[0] += " at " + o.level
	}
	return strings.Join(list, ", ")
}
