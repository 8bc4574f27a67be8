package quant

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// goldens.jsonl was written by oracle.py with the gguf package of PyPI and, for the encoding of K-quants, ggml itself.
func TestGoldens(t *testing.T) {
	file, err := os.Open(filepath.Join("testdata", "goldens.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	seen := map[string]bool{}
	for decoder := json.NewDecoder(file); ; {
		var g struct{ Op, Format, In, Out string }
		if err := decoder.Decode(&g); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[g.Op+" "+g.Format] = true
		f, err := tensor.ParseFormat(g.Format)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(g.Op+"/"+g.Format, func(t *testing.T) {
			in, err1 := hex.DecodeString(g.In)
			out, err2 := hex.DecodeString(g.Out)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if g.Op == "decode" {
				compareDecoded(t, f, in, out)
			} else {
				compareEncoded(t, f, floats(in), out)
			}
		})
	}
	for _, f := range tensor.WeightFormats() {
		for _, op := range []string{"decode", "encode"} {
			if !seen[op+" "+f.String()] {
				t.Errorf("no golden to %s %v", op, f)
			}
		}
	}
}

// The gguf package of PyPI is asked about fresh random data: every format decoded, all but K-quants encoded.
func TestAgainstGGUFPackage(t *testing.T) {
	python := os.Getenv("ULLM_TEST_PYTHON")
	if python == "" {
		t.Skip("ULLM_TEST_PYTHON names no Python with the package gguf")
	}
	ask := startOracle(t, python)
	for _, f := range tensor.WeightFormats() {
		t.Run(f.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(11, uint64(f)))
			stored := make([]byte, f.RowBytes(64*256))
			for i := range stored {
				stored[i] = byte(random.Uint32())
			}
			compareDecoded(t, f, stored, ask("decode", f, stored))
			if superBlock == f.Block() {
				return
			}
			values := make([]float32, 64*256)
			for i := range values {
				scale := math.Exp2(random.Float64()*40 - 30) // down to where a block's scale is denormal
				if i%4096 < 2048 {
					scale = 0.02
				}
				values[i] = float32(random.NormFloat64() * scale)
			}
			compareEncoded(t, f, values, ask("encode", f, float32Bytes(values)))
		})
	}
}

// startOracle runs oracle.py until the test ends and gives a function that asks it.
func startOracle(t *testing.T, python string) func(op string, f tensor.Format, data []byte) []byte {
	command := exec.Command(python, filepath.Join("testdata", "oracle.py"), "serve")
	command.Stderr = os.Stderr
	stdin, err1 := command.StdinPipe()
	stdout, err2 := command.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	answers := bufio.NewReader(stdout)
	return func(op string, f tensor.Format, data []byte) []byte {
		t.Helper()
		fmt.Fprintf(stdin, "%s %v %d\n", op, f, len(data))
		stdin.Write(data)
		var size int
		if _, err := fmt.Fscanf(answers, "%d\n", &size); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, size)
		if _, err := io.ReadFull(answers, answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

func compareDecoded(t *testing.T, f tensor.Format, stored, want []byte) {
	t.Helper()
	values := make([]float32, len(stored)/f.BlockBytes()*f.Block())
	Decode(f, values, stored)
	for i, w := range floats(want) {
		if math.Float32bits(values[i]) != math.Float32bits(w) && !(values[i] != values[i] && w != w) {
			t.Fatalf("value %d (block % x): %g (%#08x), want %g (%#08x)", i,
				stored[i/f.Block()*f.BlockBytes():][:f.BlockBytes()], values[i], math.Float32bits(values[i]), w, math.Float32bits(w))
		}
	}
}

func compareEncoded(t *testing.T, f tensor.Format, values []float32, want []byte) {
	t.Helper()
	stored := make([]byte, f.RowBytes(len(values)))
	Encode(f, stored, values)
	for b := 0; b*f.BlockBytes() < len(want); b++ {
		got, want := stored[b*f.BlockBytes():][:f.BlockBytes()], want[b*f.BlockBytes():][:f.BlockBytes()]
		if !bytes.Equal(got, want) {
			t.Fatalf("block %d of %g:\n% x, want\n% x", b, values[b*f.Block():][:f.Block()], got, want)
		}
	}
}

func floats(b []byte) []float32 {
	values := make([]float32, len(b)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return values
}

func float32Bytes(values []float32) []byte {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
