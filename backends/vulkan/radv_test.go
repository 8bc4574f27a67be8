//go:build cgo && linux

package vulkan_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/internal/radv"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// qwen3 are Qwen3's 0.6B and 8B with one layer, since all are alike, and every matrix in one format.
func qwen3(weights, kv tensor.Format) []*tensortest.Model {
	model := func(hidden, ffn, queryHeads int, tied bool) *tensortest.Model {
		return &tensortest.Model{Name: "qwen3", Layers: 1, Hidden: hidden, FFN: ffn, Vocab: 151936,
			Heads: tensor.HeadAttr{QueryHeads: queryHeads, KVHeads: 8, HeadDim: 128, Eps: 1e-6, Scale: 0.0884}, KV: kv,
			Context: 1024, Slots: 4, Pages: 64, Tied: tied, Format: tensortest.One(weights)}
	}
	return []*tensortest.Model{model(1024, 3072, 16, true), model(4096, 12288, 32, false)}
}

// everyPipeline makes the pipelines of decoding one row, of a few, and of prefill, for every format of weights and caches.
func everyPipeline(t *testing.T, d tensor.Device, made func(kernel string) error) {
	t.Helper()
	caches := d.Info().KVFormats
	for i, f := range tensor.WeightFormats() {
		for _, m := range qwen3(f, caches[i%len(caches)]) {
			var graphs []*tensor.Graph
			for _, tokens := range []int{1, 8, 512} {
				graphs = append(graphs, m.Forward(tensor.ForwardLimits{Tokens: tokens, Seqs: 4, Rows: 4, Pages: 64, Params: 4, History: 8, Bias: 4}))
			}
			for _, rows := range []int{1, 64} {
				g, _, _ := m.Head(rows)
				graphs = append(graphs, g)
			}
			for _, g := range graphs {
				if err := vulkan.EachPipeline(d, g, made); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestCompiledForAMD: no pipeline that Qwen3 runs in spills registers on AMD's GPUs, keeps variables in memory, or became
// much worse than testdata/radv.tsv says.
func TestCompiledForAMD(t *testing.T) {
	c := radv.New(t)
	var rows []radv.Row
	var driver string
	for _, family := range radv.Families {
		t.Run(family, func(t *testing.T) {
			c.Enter(t, family)
			d, err := vulkan.Open(vulkan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if driver = regexp.MustCompile(`Mesa [0-9.]+`).FindString(d.Info().Detail); driver == "" || !strings.Contains(d.Info().Name, family) {
				t.Fatalf("the device is %q, %q", d.Info().Name, d.Info().Detail)
			}
			everyPipeline(t, d, func(kernel string) error {
				s, err := c.Last()
				if err != nil {
					return err
				}
				r, err := s.Row(family, kernel)
				if err != nil {
					t.Error(err)
					return nil
				}
				rows = append(rows, r)
				return nil
			})
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	slices.SortFunc(rows, func(a, b radv.Row) int {
		return strings.Compare(fmt.Sprint(a.GPU, " ", a.Kernel), fmt.Sprint(b.GPU, " ", b.Kernel))
	})
	if t.Failed() {
		return
	}
	const path = "testdata/radv.tsv"
	heading := "pipelines of Qwen3 0.6B and 8B, compiled by RADV of " + driver
	if *update {
		if err := os.WriteFile(path, []byte(radv.Table(heading, rows)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was, table, err := radv.ParseTable(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if was != heading {
		t.Logf("figures are not compared: the table has those of another compiler\n have: %s\ntable: %s", heading, was)
	}
	worse, better := radv.Compare(table, rows, was == heading)
	if len(worse) > 0 {
		t.Errorf("%s: worse by more than %.0f %%, or unknown; if this is meant, accept it: make counts\n%s", path, 100*radv.Slack, strings.Join(worse, "\n"))
	}
	if len(better) > 0 {
		t.Logf("better; make counts keeps it\n%s", strings.Join(better, "\n"))
	}
}
