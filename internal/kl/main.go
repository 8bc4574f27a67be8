// Command kl measures how far the CPU backend and llama.cpp are from Hugging Face transformers on the same quantised files:
// the mean Kullback-Leibler divergence of the next token's distribution over the positions of some sequences. transformers
// computes in float32 on the weights as the gguf package decodes them. The command fails where ullm's is above 1.1 times
// llama.cpp's and above 10⁻⁶.
//
//	go run ./internal/kl -llama DIR -python PYTHON [-model DIR]
//
// Without a model it takes the embedded guide, decoded and quantised anew in each format. peers.py can write a larger one.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/bench/engines"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/guide"
	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/model/weights/convert"
	"github.com/ullm/ullm/model/weights/quantize"
	"github.com/ullm/ullm/tensor"
)

//go:embed peers.py
var peersScript string

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.model, "model", "", "Hugging Face directory, or a GGUF file whose matrices are decoded first; none: the embedded guide")
	flag.StringVar(&o.file, "file", "", "measure this GGUF file as it is, instead of a model in each format")
	formats := flag.String("formats", "q8_0,q4_0,q4_1,q5_0,q5_1,q4_k,q5_k,q6_k", "formats that the model is quantised in")
	levels := flag.String("levels", "", "levels of instructions to measure, as avx2,avx512; none: the one that this machine serves with")
	flag.StringVar(&o.llama, "llama", "", "directory of llama.cpp's libllama.so, version 0.5.0; none: without llama.cpp")
	flag.StringVar(&o.python, "python", "python3", "Python with torch, transformers and gguf")
	flag.StringVar(&o.text, "text", "", "file whose text makes the sequences; none: random ids")
	flag.StringVar(&o.ids, "ids", "", "file with the sequences as ids, a JSON list of lists")
	flag.IntVar(&o.sequences, "sequences", 4, "sequences")
	flag.IntVar(&o.length, "length", 256, "tokens of each")
	flag.IntVar(&o.threads, "t", 2, "threads")
	flag.StringVar(&o.dir, "dir", "", "where quantised files and logits lie, which stay there; none: a temporary directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	o.formats = strings.Split(*formats, ",")
	err := o.setLevels(*levels)
	if err == nil {
		err = o.run(ctx)
	}
	stop()
	if err != nil {
		log.Fatal("kl: ", err)
	}
}

type options struct {
	model, file, llama, python, text, ids, dir string
	formats                                    []string
	levels                                     []cpu.Level
	sequences, length, threads                 int
}

func (o *options) setLevels(names string) error {
	if names == "" {
		o.levels = []cpu.Level{cpu.Auto}
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		l, err := cpu.ParseLevel(name)
		if err != nil {
			return err
		}
		o.levels = append(o.levels, l)
	}
	return nil
}

func (o *options) run(ctx context.Context) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "kl"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	} else if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	if o.file != "" {
		o.formats = []string{filepath.Base(o.file)}
	}
	var rows []row
	for _, format := range o.formats {
		path := o.file
		if path == "" {
			path = filepath.Join(o.dir, format+".gguf")
			fmt.Fprintln(os.Stderr, "quantizing", path)
			if err := o.quantize(ctx, format, path); err != nil {
				return err
			}
		}
		list, err := o.measure(ctx, format, path)
		if err != nil {
			return err
		}
		rows = append(rows, list...)
		fmt.Fprint(os.Stderr, table(list))
	}
	fmt.Print(table(rows))
	return judge(rows)
}

// quantize writes the model in a format, unless it is there.
func (o *options) quantize(ctx context.Context, name, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	format, err := tensor.ParseFormat(name)
	if err != nil {
		return err
	}
	in, err := o.input()
	if err != nil {
		return err
	}
	return errors.Join(quantize.Quantize(ctx, in, path, format, nil), in.Tensors.Close())
}

// input is the model to be quantised.
func (o *options) input() (quantize.Input, error) {
	if info, err := os.Stat(o.model); err == nil && info.IsDir() {
		return convert.FromHuggingFace(o.model)
	}
	var g *weights.GGUF
	var err error
	if o.model == "" {
		g, err = weights.OpenGGUFBytes("the embedded guide", guide.GGUF())
	} else {
		g, err = weights.OpenGGUF(o.model)
	}
	if err != nil {
		return quantize.Input{}, err
	}
	in := quantize.FromGGUF(g)
	in.Tensors = decoded{in.Tensors}
	return in, nil
}

// tokens are the sequences: of a text, cut, or random.
func (o *options) tokens(f *files.Files) (list [][]int32, err error) {
	if o.ids != "" {
		b, err := os.ReadFile(o.ids)
		if err == nil {
			err = json.Unmarshal(b, &list)
		}
		return list, err
	}
	if o.text != "" {
		text, err := os.ReadFile(o.text)
		if err != nil {
			return nil, err
		}
		t, err := f.Tokenizer()
		if err != nil {
			return nil, err
		}
		ids := t.Encode(string(text), true)
		if len(ids) < o.sequences*o.length {
			return nil, fmt.Errorf("%s has %d tokens, %d are needed", o.text, len(ids), o.sequences*o.length)
		}
		for i := range o.sequences {
			list = append(list, ids[i*o.length:][:o.length])
		}
		return list, nil
	}
	g := rand.New(rand.NewPCG(1, 2))
	for range o.sequences {
		ids := make([]int32, o.length)
		for i := range ids {
			ids[i] = g.Int32N(int32(f.Config.Vocab))
		}
		list = append(list, ids)
	}
	return list, nil
}

// peer runs a command of the script, which writes the logits of the file to out.
func (o *options) peer(ctx context.Context, what, path string, sequences [][]int32, out string, more ...string) error {
	b, err := json.Marshal(sequences)
	if err != nil {
		return err
	}
	ids := filepath.Join(o.dir, "ids.json")
	if err := os.WriteFile(ids, b, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, what, path)
	cmd := exec.CommandContext(ctx, o.python, append([]string{"-c", engines.LibLlama + peersScript, what, path, ids, out}, more...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, text[max(0, len(text)-2000):])
	}
	return nil
}

// library is llama.cpp's.
func (o *options) library() []string {
	return []string{filepath.Join(o.llama, "libllama.so"), strconv.Itoa(o.threads)}
}
