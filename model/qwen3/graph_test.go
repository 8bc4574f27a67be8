package qwen3_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/tensor"
)

var update = flag.Bool("update", false, "write testdata/graphs anew")

// TestGraphs compares the graphs of small models with their prints, so that a launch that creeps in is seen in review.
func TestGraphs(t *testing.T) {
	for name, path := range map[string]string{
		"tied":  "testdata/tied",                  // eight operations a layer
		"bias":  "testdata/bias",                  // an untied head, biases on q, k, v and o
		"mixed": "testdata/gguf/mixed/model.gguf", // every matrix in another format
	} {
		t.Run(name, func(t *testing.T) {
			f, err := files.Open(filepath.FromSlash(path))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c := f.Config
			const pages = 4
			s := model.Shard{Config: c, Lookup: f.Checkpoint.Lookup, Positions: pages * tensor.PageTokens,
				KV:     tensor.KVSpec{Pages: 2 * pages, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Format: tensor.BF16},
				Slots:  tensor.SlotSpec{Slots: 2, MaxPages: pages, Vocab: c.Vocab, Bias: 4},
				Hidden: tensor.RowSpec{Rows: 8, Cols: c.Hidden}}
			w, err := qwen3.Arch{}.Weights(s)
			if err != nil {
				t.Fatal(err)
			}
			forward := tensor.NewGraph("forward")
			qwen3.Arch{}.Forward(forward, w, s, tensor.ForwardLimits{Tokens: 8, Seqs: 2, Rows: 8, Pages: 8, Params: 2, History: 8, Bias: 8})
			head := tensor.NewGraph("head")
			head.Output(qwen3.Arch{}.Head(head, w, s, 2))
			for _, g := range []*tensor.Graph{forward, head} {
				if err := g.Err(); err != nil {
					t.Fatal(err)
				}
			}
			have, golden := forward.String()+head.String(), filepath.Join("testdata", "graphs", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(have), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; run go test -run TestGraphs -update", err)
			}
			if have != strings.ReplaceAll(string(want), "\r\n", "\n") {
				t.Errorf("%s differs; have:\n%s", golden, have)
			}
		})
	}
}
