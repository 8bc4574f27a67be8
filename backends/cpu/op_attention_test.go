package cpu_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// attending is attention alone, in layers with a cache each, over sequences whose keys and values are there.
type attending struct {
	attr    tensor.HeadAttr
	setup   tensortest.Setup
	format  tensor.Format
	seqs    int
	length  int // of each
	layers  int
	queries []float32 // of every position
}

func newAttending(f tensor.Format, a tensor.HeadAttr, seqs, length, layers int) *attending {
	each := (length + tensor.PageTokens - 1) / tensor.PageTokens
	pages := seqs * each
	c := &attending{attr: a, format: f, seqs: seqs, length: length, layers: layers}
	c.attr.Scale = float32(1 / math.Sqrt(float64(a.HeadDim)))
	slots := tensortest.NewSlots(tensor.SlotSpec{Slots: seqs, MaxPages: each, Vocab: 8, Bias: 1})
	for p := range pages {
		slots.Page(p%seqs, p/seqs, p)
	}
	c.setup.States = append(c.setup.States, slots.State("slots"))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2 * layers {
		spec := tensor.StateSpec{Name: fmt.Sprint("kv", i), KV: &tensor.KVSpec{Pages: pages, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Format: f}}
		data := make([]byte, spec.Bytes())
		for i := 0; i < len(data)-7; i += 8 {
			binary.LittleEndian.PutUint64(data[i:], r.Uint64()&0x83ff83ff83ff83ff|0x3800380038003800) // small numbers in every format
		}
		c.setup.States = append(c.setup.States, tensortest.StateInit{Spec: spec, Data: data})
	}
	return c
}

// graph attends from count tokens of every sequence.
func (c *attending) graph(count int) *tensor.Graph {
	g := tensor.NewGraph(fmt.Sprint("attention of ", count))
	count *= c.seqs
	cols, rows := c.attr.QueryHeads*c.attr.HeadDim, tensor.Static(count)
	state := func(i int) tensor.Value { return g.State(c.setup.States[i].Spec) }
	tokens := g.Input(0, tensor.I32, rows, tensor.TokenColumns)
	q := g.Input(4*count*tensor.TokenColumns, tensor.F32, rows, cols)
	for layer := range c.layers {
		o := g.Attention(q, tokens, state(1+2*layer), state(2+2*layer), state(0), c.attr)
		if layer == c.layers-1 {
			g.Output(o)
		}
	}
	return g
}

// step is the input of count tokens behind start others, of every sequence.
func (c *attending) step(start, count int) []byte {
	cols := c.attr.QueryHeads * c.attr.HeadDim
	if c.queries == nil {
		c.queries = tensortest.Normal(c.length*cols, 1, 1)
	}
	var in []byte
	for seq := range c.seqs {
		for t := range count {
			for _, v := range [tensor.TokenColumns]int{0, start + t, start + t, seq} {
				in = binary.LittleEndian.AppendUint32(in, uint32(v))
			}
		}
	}
	for range c.seqs {
		for _, v := range c.queries[start*cols : (start+count)*cols] {
			in = binary.LittleEndian.AppendUint32(in, math.Float32bits(v))
		}
	}
	return in
}

// TestAttentionThreads: neither the number of threads, among which one long sequence is split, nor the tokens beside it
// change a bit of a token's attention.
func TestAttentionThreads(t *testing.T) {
	const length, many = 2072, 60 // nine chunks: two threads split them with all heads, seven head by head
	formats := []tensor.Format{tensor.F16, tensor.Q8_0, tensor.F32, tensor.BF16}
	shapes := []tensor.HeadAttr{{QueryHeads: 5, KVHeads: 1, HeadDim: 32}, {QueryHeads: 4, KVHeads: 2, HeadDim: 64}}
	if testing.Short() {
		formats, shapes = formats[:2], shapes[:1]
	}
	for _, level := range cpu.Levels() {
		for _, f := range formats {
			for _, a := range shapes {
				c := newAttending(f, a, 1, length, 1)
				row := 4 * a.QueryHeads * a.HeadDim
				var want []byte
				for _, threads := range []int{1, 2, 7} {
					d, err := cpu.Open(cpu.Options{Level: level, Threads: threads, Guard: true})
					if err != nil {
						t.Fatal(err)
					}
					r, err := tensortest.NewRig(d, c.setup, true, c.graph(many), c.graph(3), c.graph(1))
					if err != nil {
						t.Fatal(err)
					}
					run := func(program, start, count int) []byte {
						out, err := r.Run(program, c.step(start, count))
						if err != nil {
							t.Fatal(err)
						}
						return out
					}
					prompt := run(0, length-many, many)
					if want == nil {
						want = prompt
					}
					if !bytes.Equal(prompt, want) {
						t.Errorf("%s, %s, %+v: %d threads give other bits than one", level, f, a, threads)
					}
					for _, at := range []int{0, 35, 36, many - 3} { // 36 is the first of a chunk
						if !bytes.Equal(run(1, length-many+at, 3), want[at*row:(at+3)*row]) {
							t.Errorf("%s, %s, %+v, %d threads: three tokens from %d on have other bits than among %d", level, f, a, threads, at, many)
						}
						if !bytes.Equal(run(2, length-many+at, 1), want[at*row:(at+1)*row]) {
							t.Errorf("%s, %s, %+v, %d threads: token %d alone has other bits than among %d", level, f, a, threads, at, many)
						}
					}
					if err := errors.Join(r.Close(), d.Close()); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
}

// BenchmarkAttention runs attention alone in Qwen3-0.6B's shape: one token behind a long context, and many behind short
// ones, whose cache is larger than the processor's, and steps of a prompt.
func BenchmarkAttention(b *testing.B) {
	for _, f := range []tensor.Format{tensor.F16, tensor.BF16, tensor.Q8_0} {
		for _, s := range []struct{ seqs, start, count, layers int }{{1, 8191, 1, 16}, {32, 40, 1, 64}, {16, 200, 1, 28}, {1, 7680, 512, 1}, {1, 0, 512, 1}} {
			b.Run(fmt.Sprintf("%s/%dx%dat%d", f, s.seqs, s.count, s.start), func(b *testing.B) { benchAttention(b, f, s.seqs, s.start, s.count, s.layers) })
		}
	}
}

func benchAttention(b *testing.B, f tensor.Format, seqs, start, count, layers int) {
	a := tensor.HeadAttr{QueryHeads: 16, KVHeads: 8, HeadDim: 128}
	c := newAttending(f, a, seqs, start+count, layers)
	d, err := cpu.Open(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	g := c.graph(count)
	r, err := tensortest.NewRig(d, c.setup, false, g)
	if err != nil {
		b.Fatal(err)
	}
	in, out := c.step(start, count), make([]byte, g.OutputBytes())
	for b.Loop() {
		step, err := r.Programs[0].Start(in)
		if err != nil {
			b.Fatal(err)
		}
		if err := step.Wait(context.Background(), out); err != nil {
			b.Fatal(err)
		}
	}
	each := b.Elapsed().Seconds() / float64(b.N*layers)
	seen := float64(seqs) * float64(count*start+count*(count+1)/2)
	cache := 2 * f.RowBytes(a.HeadDim) * a.KVHeads * (start + count) * seqs
	b.ReportMetric(4*seen*float64(a.QueryHeads*a.HeadDim)/each/1e9, "GFLOP/s")
	b.ReportMetric(float64(cache)/each/1e9, "GB/s")
	if err := errors.Join(r.Close(), d.Close()); err != nil {
		b.Error(err)
	}
}
