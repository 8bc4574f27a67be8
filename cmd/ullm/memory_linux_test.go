package main_test

import (
	"bytes"
	le "encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Of a loaded model's memory, beside a tenth more than its weights and its cache: the program, its heap, scratch, and what
// of the file is read at a time. Measured: 20 MB.
const memoryOverhead = 40 << 20

// TestPeakMemory loads a model of 250 MB in several formats: weights are held once, and the file's bytes are let go of as
// soon as they are repacked.
func TestPeakMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	writeModel(t, dir)
	models := []string{dir}
	for _, format := range []string{"q8_0", "q4_0"} {
		file := filepath.Join(t.TempDir(), format+".gguf")
		invoke(t, "", nil, "quantize", dir, file, "--format", format).want(t, 0, "became")
		models = append(models, file)
	}
	for _, model := range models {
		d := start(t, nil, model, "--backend", "cpu", "--threads", "2", "--context-len", "256", "--max-bs", "2", "--kv-cache-tokens", "512").ready()
		peak := highWater(t, d.cmd.Process.Pid)
		d.signal(os.Interrupt)
		if code := d.exit(); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", model, code, d.log())
		}
		weights, cache := liveBytes(t, d.log(), "weights"), liveBytes(t, d.log(), "kv")
		most := weights + weights/10 + cache + memoryOverhead
		t.Logf("%s: peak %d MB, weights %d MB, cache %d MB", filepath.Base(model), peak>>20, weights>>20, cache>>20)
		if peak > most {
			t.Errorf("%s: at most %d bytes were resident at once, want at most %d: weights of %d, a tenth of that, a cache of %d and %d more",
				filepath.Base(model), peak, most, weights, cache, memoryOverhead)
		}
	}
}

// highWater is the most memory that a process has had at once. (Its rusage would also count what its parent had when it
// was started.)
func highWater(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(line, &kb); err != nil {
		t.Fatalf("/proc/%d/status has no VmHWM: %v", pid, err)
	}
	return kb << 10
}

// liveBytes is what the ready line says is held for a use.
func liveBytes(t *testing.T, log, use string) (n int64) {
	t.Helper()
	_, rest, _ := strings.Cut(log, `memory="`)
	_, rest, found := strings.Cut(rest, use+" ")
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		t.Fatalf("the log does not tell the memory of %s:\n%s", use, log)
	}
	return n
}

// writeModel writes a Hugging Face directory with the tokenizer of the talking model and much larger matrices, in bf16.
func writeModel(t *testing.T, dir string) {
	t.Helper()
	const hidden, ffn, layers, vocab, heads, kvHeads, headDim = 1024, 3072, 8, 384, 16, 8, 128
	if err := os.CopyFS(dir, os.DirFS(talk(t))); err != nil {
		t.Fatal(err)
	}
	edit := func(name string, change map[string]any) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]any
		if err := json.Unmarshal(b, &config); err != nil {
			t.Fatal(err)
		}
		maps.Copy(config, change)
		if b, err = json.Marshal(config); err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	edit("config.json", map[string]any{"hidden_size": hidden, "intermediate_size": ffn, "num_hidden_layers": layers,
		"num_attention_heads": heads, "num_key_value_heads": kvHeads, "head_dim": headDim})
	shapes := map[string][]int{"model.embed_tokens.weight": {vocab, hidden}, "model.norm.weight": {hidden}}
	for l := range layers {
		for name, shape := range map[string][]int{
			"input_layernorm": {hidden}, "post_attention_layernorm": {hidden}, "self_attn.q_norm": {headDim}, "self_attn.k_norm": {headDim},
			"self_attn.q_proj": {heads * headDim, hidden}, "self_attn.k_proj": {kvHeads * headDim, hidden}, "self_attn.v_proj": {kvHeads * headDim, hidden},
			"self_attn.o_proj": {hidden, heads * headDim}, "mlp.gate_proj": {ffn, hidden}, "mlp.up_proj": {ffn, hidden}, "mlp.down_proj": {hidden, ffn},
		} {
			shapes[fmt.Sprintf("model.layers.%d.%s.weight", l, name)] = shape
		}
	}
	header, size := map[string]any{}, 0
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		n := 2
		for _, d := range shapes[name] {
			n *= d
		}
		header[name] = map[string]any{"dtype": "BF16", "shape": shapes[name], "data_offsets": []int{size, size + n}}
		size += n
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(append(le.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte{0x80, 0x3c, 0x40, 0xbc, 0x20, 0x3d}, 1<<18) // bf16: 2⁻⁶ and two like it
	for size > 0 {
		n := min(size, len(block))
		if _, err := file.Write(block[:n]); err != nil {
			t.Fatal(err)
		}
		size -= n
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
