package quantize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// Input is a checkpoint to be quantized.
type Input struct {
	Tensors  weights.Reader
	Metadata []weights.KV // as the GGUF file is to have it
	Tied     bool         // leave out lm_head.weight: the embeddings serve as output matrix
}

// FromGGUF makes an Input of a GGUF file. It uses g until Quantize returns.
func FromGGUF(g *weights.GGUF) Input { return Input{Tensors: g, Metadata: g.Metadata()} }

// pieceValues is about how many values are converted at a time, by each worker.
const pieceValues = 1 << 18

// Quantize writes in as a GGUF file of the format f, each tensor in the format that TypeFor and Fit choose. Tensors
// whose names are Hugging Face's get GGUF's. A tensor that is quantized already can stay as it is, but is not quantized
// anew, since that loses more than either format does. Values that are not finite, or not any more in the new format,
// are an error.
//
// The file appears under its name when it is complete: until then it has .part behind its name, and is removed if
// Quantize fails or ctx ends. All processors work; progress, unless nil, is told how many of the input's bytes are done,
// from one goroutine at a time.
func Quantize(ctx context.Context, in Input, out string, f tensor.Format, progress func(done, total int64)) (err error) {
	plan, err := newPlan(in, f)
	if err != nil {
		return err
	}
	part := out + ".part"
	file, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(part)
		}
	}()
	j := &job{ctx: ctx, in: in.Tensors, progress: progress}
	tensors := make([]weights.GGUFTensor, len(plan))
	for i, item := range plan {
		j.total += item.from.Bytes()
		tensors[i] = weights.GGUFTensor{Name: item.name, Format: item.to, Shape: item.from.Shape, Data: func(w io.Writer) error {
			return j.convert(w, item)
		}}
	}
	if err := weights.WriteGGUF(file, fileMetadata(in.Metadata, f), tensors); err != nil {
		return fmt.Errorf("quantize: %s: %w", out, err)
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	if err := os.Rename(part, out); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	return nil
}

// item is one tensor to be written.
type item struct {
	from weights.Info
	name string // in the new file
	to   tensor.Format
}

// newPlan chooses names, formats and order: that of llama-quantize, by layer and then by name.
func newPlan(in Input, f tensor.Format) ([]item, error) {
	if _, ok := fileTypes[f]; !ok {
		return nil, fmt.Errorf("quantize: %v is not a format for models; supported: %v", f, tensor.WeightFormats())
	}
	var plan []item
	tied, layers := true, 0
	for _, info := range in.Tensors.Tensors() {
		name, huggingFace := weights.GGUFName(info.Name)
		switch {
		case !huggingFace:
			name = info.Name
			if strings.HasPrefix(name, "model.") {
				if strings.HasSuffix(name, ".rotary_emb.inv_freq") || info.Format == tensor.NoFormat {
					continue // computed anew, in old checkpoints
				}
				return nil, fmt.Errorf("quantize: tensor %q is no part of a dense Qwen3 model, the only kind that is supported", name)
			}
		case name == "output.weight" && in.Tied:
			continue
		}
		tied = tied && name != "output.weight"
		layers = max(layers, layerOf(name)+1)
		item := item{from: info, name: name, to: info.Format}
		if len(info.Shape) < 2 && huggingFace {
			item.to = tensor.F32
		}
		plan = append(plan, item)
	}
	for i := range plan {
		item := &plan[i]
		if len(item.from.Shape) < 2 || !strings.HasSuffix(item.name, "weight") || strings.HasSuffix(item.name, "_norm.weight") {
			continue // llama-quantize leaves these as they are
		}
		item.to = Fit(TypeFor(f, item.name, layerOf(item.name), layers, tied), item.from.Cols())
		if item.from.Format.Quantized() && item.to != item.from.Format {
			return nil, fmt.Errorf("quantize: tensor %q is quantized to %v already and would be %v; begin with a model in f32, f16 or bf16", item.from.Name, item.from.Format, item.to)
		}
	}
	slices.SortFunc(plan, func(a, b item) int {
		return cmp.Or(cmp.Compare(layerOf(a.name), layerOf(b.name)), cmp.Compare(a.name, b.name))
	})
	return plan, nil
}

// layerOf is the N of blk.N.…, -1 for a tensor outside a layer.
func layerOf(name string) int {
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		number, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.ParseUint(number, 10, 31); err == nil {
			return int(n)
		}
	}
	return -1
}

// fileTypes are the values of general.file_type: llama_ftype of llama.h, for K-quants the "medium" mixtures.
var fileTypes = map[tensor.Format]uint32{
	tensor.F32: 0, tensor.F16: 1, tensor.Q4_0: 2, tensor.Q4_1: 3, tensor.Q8_0: 7, tensor.Q5_0: 8, tensor.Q5_1: 9,
	tensor.Q4_K: 15, tensor.Q5_K: 17, tensor.Q6_K: 18, tensor.BF16: 32,
}

// fileMetadata is the metadata of the new file: that of the input with the format it now has.
func fileMetadata(metadata []weights.KV, f tensor.Format) []weights.KV {
	const version, fileType = "general.quantization_version", "general.file_type"
	kept := make([]weights.KV, 0, len(metadata)+2)
	for _, kv := range metadata {
		if kv.Key != version && kv.Key != fileType && !strings.HasPrefix(kv.Key, "split.") {
			kept = append(kept, kv)
		}
	}
	return append(kept, weights.KV{Key: version, Value: uint32(2)}, weights.KV{Key: fileType, Value: fileTypes[f]})
}

// job is a Quantize call under way.
type job struct {
	ctx         context.Context
	in          weights.Reader
	progress    func(done, total int64)
	done, total int64
}

// convert writes one tensor's bytes. Pieces of rows are converted by as many workers as there are processors, and
// written in order.
func (j *job) convert(w io.Writer, it item) error {
	ctx, stop := context.WithCancel(j.ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	type result struct {
		stored []byte
		from   int64
		err    error
	}
	results := make(chan chan result, runtime.GOMAXPROCS(0)-1) // one more is with the writer
	workers.Go(func() {
		defer close(results)
		rows := it.from.Rows()
		step := max(1, pieceValues/max(1, it.from.Cols()))
		for first := 0; first < rows; first += step {
			piece := make(chan result, 1)
			select {
			case results <- piece:
			case <-ctx.Done():
				return
			}
			workers.Go(func() {
				n := min(step, rows-first)
				stored, err := j.piece(it, first, n)
				piece <- result{stored, int64(n) * int64(it.from.RowBytes()), err}
			})
		}
	})
	for piece := range results {
		r := <-piece
		if err := cmp.Or(r.err, j.ctx.Err()); err != nil {
			return err
		}
		if _, err := w.Write(r.stored); err != nil {
			return err
		}
		j.done += r.from
		if j.progress != nil {
			j.progress(j.done, j.total)
		}
	}
	return j.ctx.Err()
}

// piece converts n rows.
func (j *job) piece(it item, first, n int) ([]byte, error) {
	var stored []byte
	err := j.in.Rows(it.from.Name, first, n, func(rows []byte) error {
		if it.to == it.from.Format {
			stored = slices.Clone(rows)
			return nil
		}
		values := make([]float32, n*it.from.Cols())
		quant.Decode(it.from.Format, values, rows)
		if i := notFinite(values); i >= 0 {
			return fmt.Errorf("row %d has the value %g; all must be finite", first+i/it.from.Cols(), values[i])
		}
		stored = make([]byte, it.to.RowBytes(len(values)))
		quant.Encode(it.to, stored, values)
		quant.Decode(it.to, values, stored)
		if i := notFinite(values); i >= 0 {
			return fmt.Errorf("row %d has values too large for %v", first+i/it.from.Cols(), it.to)
		}
		return nil
	})
	return stored, err
}

// notFinite is the index of the first value that is infinite or NaN, or -1.
func notFinite(values []float32) int {
	return slices.IndexFunc(values, func(v float32) bool { return v-v != 0 })
}
