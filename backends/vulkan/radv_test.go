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

// everyPipeline makes the pipelines of steps of so many tokens, for formats of weights and, in turn, of caches.
func everyPipeline(t *testing.T, d tensor.Device, formats []tensor.Format, steps []int, made func(kernel string) error) {
	t.Helper()
	caches := d.Info().KVFormats
	for i, f := range formats {
		for _, m := range qwen3(f, caches[i%len(caches)]) {
			var graphs []*tensor.Graph
			for _, tokens := range steps {
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

// mostOverhead is how many times the instructions that it needs the inner loop of a matrix-vector product may have.
const mostOverhead = 1.5

// tight checks the inner loop of a product of one token by a quantised weight.
func tight(s radv.Shader, kernel string) error {
	var format tensor.Format
	var tile, rows, flags int
	if n, _ := fmt.Sscanf(kernel, "dot[%d %d %d %d]", &format, &tile, &rows, &flags); n != 4 || tile != 1 {
		return nil
	}
	loop := s.Loop("v_dot4")
	if loop == nil {
		return fmt.Errorf("there is no loop with dot products")
	}
	// Scalar instructions run on a unit of their own, beside those of other subgroups.
	have := 0
	for _, code := range loop {
		if !strings.HasPrefix(code, "s_") {
			have++
		}
	}
	if need := needed(format, rows); float64(have) > mostOverhead*float64(need) {
		return fmt.Errorf("the inner loop has %d instructions, %.2f times the %d that it needs; %g times is the most\n%s",
			have, float64(have)/float64(need), need, mostOverhead, strings.Join(loop, "\n"))
	}
	return nil
}

// needed is how many vector instructions an invocation cannot do without for a chunk of 32 values of each of some rows, of
// which the planes beside the values are read at once, 16 bytes by an instruction.
func needed(f tensor.Format, rows int) int {
	reads := func(bytes int) int { return (rows*bytes + 15) / 16 }
	var values, unpack, high, scale, super, decode, extra, token int
	values, scale, decode = 1, 2, 1 // a read of nibbles; f16 d, to be widened
	unpack = 12                     // of a word of nibbles the low four, and a shift and a mask for the high ones
	switch f {
	case tensor.Q8_0:
		values, unpack = 2, 0
	case tensor.Q4_0, tensor.Q5_0:
		token = 3 // the two sums of a block's bytes, and what the offset makes of them
	case tensor.Q4_1, tensor.Q5_1:
		scale, decode, extra, token = 4, 2, 2, 4 // and m, to be multiplied by the activations' scale, and by their sum, as a float
	case tensor.Q4_K, tensor.Q5_K:
		super, decode, extra, token = 4, 6, 2, 4 // d and dmin, and what each is multiplied by
	case tensor.Q6_K:
		super, decode, extra, token = 2, 7, 3, 4 // d, and for each half a scale; the second half's sum
	}
	switch f {
	case tensor.Q5_0, tensor.Q5_1, tensor.Q5_K:
		high, unpack = 4, unpack+16 // a shift, and a mask that also joins, for each four values
	case tensor.Q6_K:
		high, unpack = 8, unpack+16
	}
	const (
		input = 3 // reads of 32 bytes, and of the scale and the sums
		dots  = 8 // of four products
		sum   = 3 // the integer as a float, the product of the scales, and that of the two, added
		ends  = 1 // is the row at its end?
	)
	loads, planes := rows*values+reads(scale)+input, rows+3 // the rows' values, their scales, and the activations' two
	for _, beside := range []int{high, super} {
		if beside > 0 {
			loads += reads(beside)
			planes++
		}
	}
	steps := planes // each to its next address
	return loads + steps + ends + token + rows*(dots+unpack+decode+sum+extra)
}

// TestCompiledForAMD: no pipeline that Qwen3 runs in spills registers on AMD's GPUs, keeps variables in memory, or became
// much worse than testdata/radv.tsv says, and the inner loops of products by one token have little that they do not need.
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
			driver = mesaOf(t, d, family)
			everyPipeline(t, d, tensor.WeightFormats(), []int{1, 8, 512}, collect(t, c, family, &rows, tight))
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if !t.Failed() {
		holdTable(t, "testdata/radv.tsv", "pipelines of Qwen3 0.6B and 8B, compiled by RADV of "+driver, rows)
	}
}

// collect is called when a kernel was compiled: it checks the shader and enters it into the table.
func collect(t *testing.T, c *radv.Compiler, family string, rows *[]radv.Row, check func(s radv.Shader, kernel string) error) func(kernel string) error {
	return func(kernel string) error {
		s, err := c.Last()
		if err != nil {
			return err
		}
		r, err := s.Row(family, kernel)
		if err != nil {
			t.Error(err)
			return nil
		}
		*rows = append(*rows, r)
		if err := check(s, kernel); err != nil {
			t.Errorf("%s %s: %v", family, kernel, err)
		}
		return nil
	}
}

// mesaOf is the Mesa that a device belongs to, which must be one of the family.
func mesaOf(t *testing.T, d tensor.Device, family string) string {
	t.Helper()
	driver := regexp.MustCompile(`Mesa [0-9.]+`).FindString(d.Info().Detail)
	if driver == "" || !strings.Contains(d.Info().Name, family) {
		t.Fatalf("the device is %q, %q", d.Info().Name, d.Info().Detail)
	}
	return driver
}

// holdTable compares pipelines with the table at path.
func holdTable(t *testing.T, path, heading string, rows []radv.Row) {
	t.Helper()
	slices.SortFunc(rows, func(a, b radv.Row) int {
		return strings.Compare(fmt.Sprint(a.GPU, " ", a.Kernel), fmt.Sprint(b.GPU, " ", b.Kernel))
	})
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
