package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/internal/logits"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/tensor"
)

// TestDivergence holds the CPU backend, at every level of instructions, to what llama.cpp makes of the golden files. ref
// stands for transformers, from which it differs by less than 10⁻⁴ in logprob.
func TestDivergence(t *testing.T) {
	text, err := os.ReadFile("testdata/llama.tsv")
	if err != nil {
		t.Fatal(err)
	}
	measured := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var name string
		var theirs float64
		if _, err := fmt.Sscanf(line, "%s\t%g", &name, &theirs); err != nil {
			t.Fatalf("llama.tsv: %q: %v", line, err)
		}
		measured++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := files.Open(filepath.Join("../../model/qwen3/testdata/gguf", name, "model.gguf"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o := options{sequences: 8, length: 256, threads: 2}
			sequences, err := o.tokens(f)
			if err != nil {
				t.Fatal(err)
			}
			oracle := filepath.Join(t.TempDir(), "oracle.f32")
			writeOracle(t, f, sequences, oracle)
			for _, level := range cpu.Levels() {
				r, err := o.ours(t.Context(), f, level, sequences, oracle)
				if err != nil {
					t.Fatal(err)
				}
				r.format, r.theirs = name, mean{n: 1, sum: theirs}
				t.Logf("%s: %.3g, %.2f times llama.cpp's %g", level, r.ours.value(), r.ours.value()/theirs, theirs)
				if r.fails() {
					t.Errorf("%s: mean divergence %.3g, llama.cpp's is %g", level, r.ours.value(), theirs)
				}
			}
		})
	}
	if measured == 0 {
		t.Error("llama.tsv has no figures")
	}
}

// writeOracle writes ref's logits.
func writeOracle(t *testing.T, f *files.Files, sequences [][]int32, path string) {
	t.Helper()
	d, err := ref.Open(ref.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	in, err := logits.Open(t.Context(), d, f, tensor.F32, len(sequences[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var b []byte
	for _, s := range sequences {
		if err := in.Prompt(t.Context(), s, func(_ int, row []float32) { b, _ = binary.Append(b, binary.LittleEndian, row) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestJudge(t *testing.T) {
	r := func(ours, theirs float64) row {
		return row{format: "q4_0", level: "avx2", ours: mean{n: 1, sum: ours}, theirs: mean{n: 1, sum: theirs}}
	}
	if err := judge([]row{r(1.05e-3, 1e-3), r(9e-7, 1e-8), {ours: mean{n: 1, sum: 1}}}); err != nil {
		t.Error(err)
	}
	if err := judge([]row{r(1e-3, 1e-3), r(1.2e-3, 1e-3)}); err == nil || !strings.Contains(err.Error(), "q4_0 at avx2") {
		t.Errorf("error %v, want one that names q4_0 at avx2", err)
	}
}
