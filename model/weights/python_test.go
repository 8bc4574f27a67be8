//go:build torch

package weights

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// described is a tensor as files.py describes it: name, stored type, shape, bytes in hexadecimal.
type described struct {
	name, stored string
	shape        []int
	data         []byte
}

func (d *described) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &[]any{&d.name, &d.stored, &d.shape, &text}); err != nil {
		return err
	}
	var err error
	d.data, err = hex.DecodeString(text)
	return err
}

// testdata was written by files.py with gguf, safetensors and torch.
func TestGoldens(t *testing.T) { checkGoldens(t, "testdata") }

// The same with files that the installed versions write now.
func TestFilesOfPython(t *testing.T) {
	directory := t.TempDir()
	runPython(t, directory)
	checkGoldens(t, directory)
}

func runPython(t *testing.T, args ...string) []byte {
	t.Helper()
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("ULLM_TEST_PYTHON names no Python with the packages gguf, safetensors and torch")
	}
	command := exec.Command(python, append([]string{filepath.Join("testdata", "files.py")}, args...)...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func checkGoldens(t *testing.T, directory string) {
	text, err := os.ReadFile(filepath.Join(directory, "want.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]described
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"model.gguf", "single", filepath.Join("single", "model.safetensors"), "sharded"} {
		t.Run(path, func(t *testing.T) {
			full := filepath.Join(directory, path)
			tensors := want[path]
			var r Reader
			if filepath.Ext(path) == ".gguf" {
				g, err := OpenGGUF(full)
				if err != nil {
					t.Fatal(err)
				}
				checkGoldenMetadata(t, g)
				r = g
			} else {
				if tensors == nil {
					tensors = want[filepath.Dir(path)]
				}
				if r, err = OpenSafetensors(full); err != nil {
					t.Fatal(err)
				}
			}
			defer r.Close()
			if len(r.Tensors()) != len(tensors) {
				t.Errorf("%d tensors, want %d", len(r.Tensors()), len(tensors))
			}
			for _, w := range tensors {
				info, ok := r.Lookup(w.name)
				if !ok || info.Stored != w.stored || !reflect.DeepEqual(info.Shape, w.shape) {
					t.Errorf("Lookup(%s) = %+v, %v; want %s %v", w.name, info, ok, w.stored, w.shape)
					continue
				}
				err := r.Rows(w.name, 0, info.Rows(), func(rows []byte) error {
					if string(rows) != string(w.data) {
						t.Errorf("%s: % x, want % x", w.name, rows, w.data)
					}
					return nil
				})
				if helper := w.stored == "I64" || w.stored == "BOOL"; helper != (err != nil) || helper != (info.Format == tensor.NoFormat) {
					t.Errorf("%s of %s: %v", w.name, w.stored, err)
				}
			}
		})
	}
}

func checkGoldenMetadata(t *testing.T, g *GGUF) {
	t.Helper()
	for _, want := range []KV{
		{"general.architecture", "qwen3"}, {"qwen3.block_count", uint32(2)}, {"qwen3.rope.freq_base", float32(1e6)},
		{"test.u8", uint8(255)}, {"test.i8", int8(-128)}, {"test.u16", uint16(65535)}, {"test.i16", int16(-32768)},
		{"test.i32", int32(-5)}, {"test.u64", uint64(1) << 40}, {"test.i64", int64(-1) << 40}, {"test.f64", 0.1},
		{"test.bool", true}, {"tokenizer.ggml.tokens", []string{"a", "ü", "<|im_end|>"}},
		{"tokenizer.ggml.token_type", []int32{1, 1, 3}}, {"test.scores", []float32{0.5, -1.5}},
	} {
		if got := g.values[want.Key]; !reflect.DeepEqual(got, want.Value) {
			t.Errorf("%s is %v (%T), want %v (%T)", want.Key, got, got, want.Value, want.Value)
		}
	}
}

// What WriteGGUF writes, the gguf package reads.
func TestPythonReadsGGUF(t *testing.T) {
	metadata := everyValue[:len(everyValue)-1] // it flattens nested arrays
	tensors := everyFormat()
	path := writeFile(t, filepath.Join(t.TempDir(), "model.gguf"), writeGGUF(t, metadata, tensors))
	var got struct {
		Tensors  []described
		Metadata map[string]any
	}
	if err := json.Unmarshal(runPython(t, "--read", path), &got); err != nil {
		t.Fatal(err)
	}
	for i, w := range tensors {
		g := got.Tensors[i]
		number, _ := ggmlNumber(w.Format)
		want := bytesOf(w.Name, int(Info{Format: w.Format, Shape: w.Shape}.Bytes()))
		if g.name != w.Name || g.stored != ggmlTypes[number].name || !reflect.DeepEqual(g.shape, w.Shape) || string(g.data) != string(want) {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	for _, w := range metadata {
		want, _ := json.Marshal(w.Value)
		if b, ok := w.Value.([]uint8); ok { // JSON has strings for bytes
			want, _ = json.Marshal([]int{int(b[0]), int(b[1])})
		}
		if got, _ := json.Marshal(got.Metadata[w.Key]); !sameJSON(got, want) {
			t.Errorf("%s is %s, want %s", w.Key, got, want)
		}
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
