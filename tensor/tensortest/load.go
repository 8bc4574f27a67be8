package tensortest

import (
	"fmt"
	"math/rand/v2"

	"github.com/ullm/ullm/tensor"
)

// Load is one operation at a fixed size: what is counted or timed by itself.
type Load struct {
	Name  string // "Linear/q8_0/32": operation, format, rows
	Setup Setup
	Graph *tensor.Graph
	In    []byte
}

func (c *opCase) load(format string, args ...any) Load {
	return Load{fmt.Sprintf(format, args...), c.setup, c.graph, c.in}
}

// Loads are the operations that a model's time goes to, small enough to be simulated: every weight format with one row
// and with a tile of rows, attention over every cache in decode and in prefill, and the ways to sample.
func Loads(i tensor.Info) []Load {
	var list []Load
	for _, f := range i.Formats {
		for _, rows := range []int{1, 32} {
			list = append(list, linearCase(f, 512, rows, rows, false, 64).load("Linear/%s/%d", f, rows))
		}
	}
	shape := [2]int{2, 2}
	for _, f := range i.KVFormats {
		list = append(list,
			attentionCase(f, shape, 128, []span{{300, 1}}, 1).load("Attention/%s/1", f),
			attentionCase(f, shape, 128, []span{{64, 32}}, 1).load("Attention/%s/32", f))
	}
	for _, s := range []struct {
		how    string
		params tensor.Sampling
	}{
		{"greedy", tensor.Sampling{TopP: 1, Repetition: 1}},
		{"temperature", tensor.Sampling{Temperature: 1, TopP: 1, Repetition: 1, Seed: 1}},
		{"top20", tensor.Sampling{Temperature: 0.6, TopK: 20, TopP: 0.95, Repetition: 1, Seed: 1}},
		{"top_p", tensor.Sampling{Temperature: 0.6, TopP: 0.95, Repetition: 1, Seed: 1}},
		{"penalties", tensor.Sampling{Temperature: 1, TopK: 20, TopP: 1, Repetition: 1.1, Presence: 0.5, Seed: 1}},
	} {
		list = append(list, sampleLoad(s.params).load("Sample/%s/2", s.how))
	}
	return list
}

// sampleLoad samples two rows of Qwen3's vocabulary with the same parameters.
func sampleLoad(p tensor.Sampling) *opCase {
	const vocab, rows = 151936, 2
	r := rand.New(rand.NewPCG(1, 2))
	slots := NewSlots(tensor.SlotSpec{Slots: rows, MaxPages: 1, Vocab: vocab, Bias: 1})
	var head []tensor.HeadRow
	var logits []float32
	for i := range rows {
		slots.Params(i, p)
		for range 500 {
			slots.Prompted(i, r.IntN(vocab))
			slots.Count(i, r.IntN(vocab), 1)
		}
		head = append(head, tensor.HeadRow{Row: int32(i), Slot: int32(i), Position: 1000, Sample: true, Ask: -1})
		logits = append(logits, sampleLogits(r, vocab, "smooth")...)
	}
	c := &opCase{in: headBlock(rows, head)}
	c.setup.States = []StateInit{slots.State("slots")}
	at := len(c.in)
	c.in = *(*block)(&c.in).floats(logits...)
	g := tensor.NewGraph("sample")
	input := g.HeadInput(rows)
	g.Output(g.Sample(g.Input(at, tensor.F32, g.RowsOf(input), vocab), input, g.State(c.setup.States[0].Spec)))
	c.graph = g
	return c
}
