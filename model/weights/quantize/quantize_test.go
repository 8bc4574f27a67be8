package quantize

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm/model/weights"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// llamaQuantize makes the goldens anew: go test ./model/weights/quantize -run TestGoldens -llama-quantize PATH
var llamaQuantize = flag.String("llama-quantize", "", "llama.cpp's `program`, to write testdata/llama-quantize.txt with")

// testModel is a small Qwen3 model in bf16. Its weights are exact multiples of 2⁻²⁰, alike on every machine.
type testModel struct {
	layers, hidden, ffn int
	head                bool
	huggingFace         bool    // names
	value               float32 // unless 0, instead of the first weight
}

// models are those of the goldens: untied with K-quants everywhere; tied, with rows that no K-quant fits; tied, with
// rows that only some formats fit.
var models = map[string]testModel{
	"untied":  {layers: 16, hidden: 256, ffn: 256, head: true},
	"tied":    {layers: 9, hidden: 96, ffn: 160},
	"awkward": {layers: 7, hidden: 512, ffn: 40, head: true},
}

func (m testModel) write(t *testing.T, path string) string {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	var tensors []weights.GGUFTensor
	add := func(name string, shape ...int) {
		f, n := tensor.BF16, 1
		if len(shape) == 1 && !m.huggingFace {
			f = tensor.F32
		}
		for _, s := range shape {
			n *= s
		}
		if m.huggingFace {
			name, _ = weights.HuggingFaceName(name)
		}
		tensors = append(tensors, weights.GGUFTensor{Name: name, Format: f, Shape: shape, Data: func(w io.Writer) error {
			values := make([]float32, n)
			for i := range values {
				sum := -2 << 14
				for range 4 {
					sum += random.IntN(1 << 14)
				}
				values[i] = quant.BF16ToF32(quant.F32ToBF16(float32(sum) * 0x1p-20))
			}
			if m.value != 0 {
				values[0] = m.value
			}
			stored := make([]byte, f.RowBytes(n))
			quant.Encode(f, stored, values)
			_, err := w.Write(stored)
			return err
		}})
	}
	add("token_embd.weight", 40, m.hidden)
	if m.head {
		add("output.weight", 40, m.hidden)
	}
	add("output_norm.weight", m.hidden)
	for layer := range m.layers {
		blk := fmt.Sprintf("blk.%d.", layer)
		add(blk+"attn_norm.weight", m.hidden)
		add(blk+"attn_q.weight", 64, m.hidden)
		add(blk+"attn_q.bias", 64)
		add(blk+"attn_k.weight", 32, m.hidden)
		add(blk+"attn_v.weight", 32, m.hidden)
		add(blk+"attn_output.weight", m.hidden, 64)
		add(blk+"attn_q_norm.weight", 16)
		add(blk+"attn_k_norm.weight", 16)
		add(blk+"ffn_norm.weight", m.hidden)
		add(blk+"ffn_gate.weight", m.ffn, m.hidden)
		add(blk+"ffn_up.weight", m.ffn, m.hidden)
		add(blk+"ffn_down.weight", m.hidden, m.ffn)
	}
	u := func(key string, v int) weights.KV { return weights.KV{Key: "qwen3." + key, Value: uint32(v)} }
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = weights.WriteGGUF(file, []weights.KV{
		{Key: "general.architecture", Value: "qwen3"}, {Key: "general.file_type", Value: uint32(32)},
		u("block_count", m.layers), u("context_length", 512), u("embedding_length", m.hidden), u("feed_forward_length", m.ffn),
		u("attention.head_count", 4), u("attention.head_count_kv", 2), u("attention.key_length", 16), u("attention.value_length", 16),
		{Key: "qwen3.rope.freq_base", Value: float32(1e6)}, {Key: "qwen3.attention.layer_norm_rms_epsilon", Value: float32(1e-6)},
	}, tensors)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (m testModel) open(t *testing.T) *weights.GGUF {
	t.Helper()
	g, err := weights.OpenGGUF(m.write(t, filepath.Join(t.TempDir(), "in.gguf")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// llama-quantize.txt has the SHA-256 of the file that llama-quantize makes of each model in each format, and ours equals it.
func TestGoldens(t *testing.T) {
	golden := filepath.Join("testdata", "llama-quantize.txt")
	want := map[string]string{}
	if text, err := os.ReadFile(golden); err == nil {
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 3 {
				want[f[0]+" "+f[1]] = f[2]
			}
		}
	}
	var made strings.Builder
	for _, name := range slices.Sorted(maps.Keys(models)) {
		g := models[name].open(t)
		for _, f := range tensor.WeightFormats() {
			out := filepath.Join(t.TempDir(), "out.gguf")
			if *llamaQuantize != "" {
				kind := f.String()
				if f == tensor.Q4_K || f == tensor.Q5_K {
					kind += "_m"
				}
				if text, err := exec.Command(*llamaQuantize, g.Path(), out, kind, "1").CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, text)
				}
				want[name+" "+f.String()] = hash(t, out)
				fmt.Fprintf(&made, "%s %v %s\n", name, f, hash(t, out))
			}
			if err := Quantize(t.Context(), FromGGUF(g), out, f, nil); err != nil {
				t.Fatal(err)
			}
			if got := hash(t, out); got != want[name+" "+f.String()] {
				t.Errorf("%s in %v differs from llama-quantize's", name, f)
			}
		}
	}
	if *llamaQuantize != "" {
		if err := os.WriteFile(golden, []byte(made.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func hash(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func TestTypeFor(t *testing.T) {
	for _, c := range []struct {
		f             tensor.Format
		name          string
		layer, layers int
		tied          bool
		want          tensor.Format
	}{
		{tensor.Q4_0, "token_embd.weight", -1, 28, true, tensor.Q6_K},
		{tensor.Q4_0, "token_embd.weight", -1, 28, false, tensor.Q4_0},
		{tensor.Q4_0, "output.weight", -1, 28, false, tensor.Q6_K},
		{tensor.Q8_0, "output.weight", -1, 28, false, tensor.Q8_0},
		{tensor.Q8_0, "model.embed_tokens.weight", -1, 28, true, tensor.Q8_0},
		{tensor.BF16, "output.weight", -1, 28, false, tensor.BF16},
		{tensor.BF16, "blk.0.attn_norm.weight", 0, 28, false, tensor.F32},
		{tensor.Q4_K, "blk.0.attn_q_norm.weight", 0, 28, false, tensor.F32},
		{tensor.Q4_K, "model.layers.0.post_attention_layernorm.weight", 0, 28, false, tensor.F32},
		{tensor.Q4_K, "model.layers.0.self_attn.q_proj.bias", 0, 28, false, tensor.F32},
		{tensor.Q4_K, "model.norm.weight", -1, 28, false, tensor.F32},
		{tensor.Q4_K, "blk.0.attn_v.weight", 0, 28, true, tensor.Q6_K},
		{tensor.Q4_K, "model.layers.0.self_attn.v_proj.weight", 0, 28, true, tensor.Q6_K},
		{tensor.Q4_K, "model.layers.3.mlp.down_proj.weight", 3, 28, true, tensor.Q4_K},
		{tensor.Q4_K, "model.layers.5.mlp.down_proj.weight", 5, 28, true, tensor.Q6_K},
		{tensor.Q4_K, "blk.0.attn_k.weight", 0, 28, true, tensor.Q4_K},
		{tensor.Q4_0, "blk.0.attn_v.weight", 0, 28, true, tensor.Q4_0},
		{tensor.Q5_K, "blk.27.ffn_down.weight", 27, 28, true, tensor.Q6_K},
	} {
		if got := TypeFor(c.f, c.name, c.layer, c.layers, c.tied); got != c.want {
			t.Errorf("TypeFor(%v, %s, %d, %d, %v) = %v, want %v", c.f, c.name, c.layer, c.layers, c.tied, got, c.want)
		}
	}
	// As llama-quantize's log shows for 28 layers.
	var more []int
	for layer := range 28 {
		if TypeFor(tensor.Q4_K, "blk.0.ffn_down.weight", layer, 28, true) == tensor.Q6_K {
			more = append(more, layer)
		}
	}
	if want := []int{0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27}; !slices.Equal(more, want) {
		t.Errorf("Q6_K in the layers %v, want %v", more, want)
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		f    tensor.Format
		cols int
		want tensor.Format
	}{
		{tensor.Q4_K, 512, tensor.Q4_K}, {tensor.Q4_K, 96, tensor.Q5_0}, {tensor.Q5_K, 96, tensor.Q5_1},
		{tensor.Q6_K, 96, tensor.Q8_0}, {tensor.Q6_K, 40, tensor.F16}, {tensor.Q8_0, 40, tensor.F16},
		{tensor.Q4_0, 96, tensor.Q4_0}, {tensor.BF16, 3, tensor.BF16},
	} {
		if got := Fit(c.f, c.cols); got != c.want {
			t.Errorf("Fit(%v, %d) = %v, want %v", c.f, c.cols, got, c.want)
		}
	}
}

// A checkpoint with Hugging Face's names becomes the same file as one with GGUF's, at any number of processors, and the
// progress ends where it should.
func TestHuggingFaceNames(t *testing.T) {
	m := testModel{layers: 3, hidden: 256, ffn: 512, head: true}
	want := filepath.Join(t.TempDir(), "want.gguf")
	g := m.open(t)
	if err := Quantize(t.Context(), FromGGUF(g), want, tensor.Q4_K, nil); err != nil {
		t.Fatal(err)
	}
	m.huggingFace = true
	hf := m.open(t)
	for _, processors := range []int{1, 2, 5} {
		previous := runtime.GOMAXPROCS(processors)
		out := filepath.Join(t.TempDir(), "out.gguf")
		var last, size int64
		err := Quantize(t.Context(), FromGGUF(hf), out, tensor.Q4_K, func(done, total int64) {
			if done <= last || done > total {
				t.Errorf("progress from %d to %d of %d", last, done, total)
			}
			last, size = done, total
		})
		runtime.GOMAXPROCS(previous)
		if err != nil {
			t.Fatal(err)
		}
		// Norms are bf16 in the one and f32 in the other, but of values that are both.
		if hash(t, out) != hash(t, want) {
			t.Errorf("with %d processors the file is another", processors)
		}
		if last != size || size != hf.Size() {
			t.Errorf("progress ended at %d of %d, the input has %d", last, size, hf.Size())
		}
	}

	// Tied: lm_head.weight is left out, so token_embd gets its format.
	in := FromGGUF(hf)
	in.Tied = true
	out := filepath.Join(t.TempDir(), "out.gguf")
	if err := Quantize(t.Context(), in, out, tensor.Q4_0, nil); err != nil {
		t.Fatal(err)
	}
	tied, err := weights.OpenGGUF(out)
	if err != nil {
		t.Fatal(err)
	}
	defer tied.Close()
	if _, ok := tied.Lookup("output.weight"); ok {
		t.Error("a tied model has output.weight")
	}
	if info, _ := tied.Lookup("token_embd.weight"); info.Format != tensor.Q6_K {
		t.Errorf("token_embd.weight is %v", info.Format)
	}
}

func TestRefusals(t *testing.T) {
	small := testModel{layers: 1, hidden: 32, ffn: 32}
	q8 := filepath.Join(t.TempDir(), "q8.gguf")
	if err := Quantize(t.Context(), FromGGUF(small.open(t)), q8, tensor.Q8_0, nil); err != nil {
		t.Fatal(err)
	}
	quantized, err := weights.OpenGGUF(q8)
	if err != nil {
		t.Fatal(err)
	}
	defer quantized.Close()
	again := filepath.Join(t.TempDir(), "again.gguf")
	if err := Quantize(t.Context(), FromGGUF(quantized), again, tensor.Q8_0, nil); err != nil || hash(t, again) != hash(t, q8) {
		t.Errorf("a file in the format it has: %v", err)
	}

	unknown := func(name string) Input {
		var b bytes.Buffer
		err := weights.WriteGGUF(&b, nil, []weights.GGUFTensor{{Name: name, Format: tensor.F32, Shape: []int{1}, Data: func(w io.Writer) error {
			_, err := w.Write(make([]byte, 4))
			return err
		}}})
		if err != nil {
			t.Fatal(err)
		}
		g, err := weights.OpenGGUFBytes("memory", b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return FromGGUF(g)
	}
	with := func(v float32) Input {
		m := small
		m.value = v
		return FromGGUF(m.open(t))
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for want, c := range map[string]struct {
		ctx context.Context
		in  Input
		f   tensor.Format
	}{
		"is quantized to q8_0 already and would be q4_0":   {in: FromGGUF(quantized), f: tensor.Q4_0},
		"i32 is not a format for models":                   {in: with(0), f: tensor.I32},
		"experts.0.up_proj.weight\" is no part of a dense": {in: unknown("model.layers.0.mlp.experts.0.up_proj.weight"), f: tensor.Q4_0},
		"row 0 has the value NaN":                          {in: with(float32(math.NaN())), f: tensor.Q4_0},
		"row 0 has the value -Inf":                         {in: with(float32(math.Inf(-1))), f: tensor.F16},
		"row 0 has values too large for f16":               {in: with(1e6), f: tensor.F16},
		"row 0 has values too large for q8_0":              {in: with(1e30), f: tensor.Q8_0},
		"context canceled":                                 {ctx: ended, in: with(0), f: tensor.Q4_0},
	} {
		if c.ctx == nil {
			c.ctx = t.Context()
		}
		directory := t.TempDir()
		err := Quantize(c.ctx, c.in, filepath.Join(directory, "out.gguf"), c.f, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "quantize: ") {
			t.Errorf("%v, want %q", err, want)
		}
		if left, _ := os.ReadDir(directory); len(left) > 0 {
			t.Errorf("%s was left behind", left[0].Name())
		}
	}
	if err := Quantize(t.Context(), with(0), filepath.Join(t.TempDir(), "no", "out.gguf"), tensor.Q4_0, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// A checkpoint that is closed under way.
	g := small.open(t)
	err = Quantize(t.Context(), FromGGUF(g), filepath.Join(t.TempDir(), "out.gguf"), tensor.Q4_0, func(done, total int64) { g.Close() })
	if !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
