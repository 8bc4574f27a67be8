package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ullm/ullm/tensor"
)

// everyValue has a metadata value of each type.
var everyValue = []KV{
	{"general.architecture", "qwen3"},
	{"u8", uint8(200)}, {"i8", int8(-100)}, {"u16", uint16(60000)}, {"i16", int16(-30000)},
	{"u32", uint32(4000000000)}, {"i32", int32(-2000000000)}, {"f32", float32(0.5)}, {"yes", true}, {"no", false},
	{"u64", uint64(1) << 63}, {"i64", int64(-1) << 62}, {"f64", 0.1}, {"empty", ""},
	{"array.u8", []uint8{1, 2}}, {"array.i8", []int8{-1}}, {"array.u16", []uint16{1, 65535}}, {"array.i16", []int16{-5}},
	{"array.u32", []uint32{7, 8}}, {"array.i32", []int32{-7}}, {"array.f32", []float32{0.25, -1}},
	{"array.bool", []bool{true, false}}, {"array.string", []string{"ü", "", "zwei"}}, {"array.u64", []uint64{1 << 63}},
	{"array.i64", []int64{-1}}, {"array.f64", []float64{3.5}}, {"array.none", []int32{}},
	{"array.array", []any{[]int32{1, 2}, []string{"x"}}},
}

// bytesOf are the stored bytes of a test's tensor: a different one at each place.
func bytesOf(name string, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + len(name)*31 + i>>8)
	}
	return b
}

func testTensor(name string, f tensor.Format, shape ...int) GGUFTensor {
	return GGUFTensor{Name: name, Format: f, Shape: shape, Data: func(w io.Writer) error {
		info := Info{Format: f, Shape: shape}
		_, err := w.Write(bytesOf(name, int(info.Bytes())))
		return err
	}}
}

// everyFormat has a tensor of each format.
func everyFormat() []GGUFTensor {
	var tensors []GGUFTensor
	for _, f := range tensor.WeightFormats() {
		tensors = append(tensors, testTensor("blk.0."+f.String()+".weight", f, 3, 2*f.Block()))
	}
	return append(tensors, testTensor("output_norm.weight", tensor.F32, 5), testTensor("experts", tensor.F16, 2, 3, 4))
}

func writeGGUF(t testing.TB, metadata []KV, tensors []GGUFTensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteGGUF(&b, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkContent reads all of the tensors by rows, in every grouping, and compares.
func checkContent(t *testing.T, r Reader, want map[string][]byte) {
	t.Helper()
	if len(r.Tensors()) != len(want) {
		t.Errorf("%d tensors, want %d", len(r.Tensors()), len(want))
	}
	for name, data := range want {
		info, ok := r.Lookup(name)
		if !ok {
			t.Errorf("no tensor %s", name)
			continue
		}
		for n := 1; n <= info.Rows(); n++ {
			var got []byte
			for first := 0; first < info.Rows(); first += n {
				err := r.Rows(name, first, min(n, info.Rows()-first), func(rows []byte) error {
					got = append(got, rows...)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%s, %d rows at a time: % x, want % x", name, n, got, data)
			}
		}
	}
}

func TestGGUFRoundTrip(t *testing.T) {
	for _, alignment := range []uint32{0, 1, 8, 64, 4096} {
		t.Run(fmt.Sprint(alignment), func(t *testing.T) {
			metadata := everyValue
			if alignment > 0 {
				metadata = append(append([]KV{}, metadata...), KV{"general.alignment", alignment})
			}
			tensors := everyFormat()
			data := writeGGUF(t, metadata, tensors)
			want := map[string][]byte{}
			var size int64
			for _, w := range tensors {
				want[w.Name] = bytesOf(w.Name, int(Info{Format: w.Format, Shape: w.Shape}.Bytes()))
				size += int64(len(want[w.Name]))
			}
			path := writeFile(t, filepath.Join(t.TempDir(), "model.gguf"), data)
			file, err := OpenGGUF(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			memory, err := OpenGGUFBytes("memory", data)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range []*GGUF{file, memory} {
				checkContent(t, g, want)
				if g.Size() != size {
					t.Errorf("size %d, want %d", g.Size(), size)
				}
				if diff := cmp.Diff(metadata, g.Metadata()); diff != "" {
					t.Error(diff)
				}
				for i, info := range g.Tensors() {
					if w := tensors[i]; info.Name != w.Name || info.Format != w.Format || !reflect.DeepEqual(info.Shape, w.Shape) {
						t.Errorf("tensor %d is %+v, want %+v", i, info, w)
					}
				}
			}
		})
	}
}

func TestGGUFAccess(t *testing.T) {
	g, err := OpenGGUFBytes("memory", writeGGUF(t, everyValue, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key      string
		integer  any
		floating any
	}{
		{"u8", int64(200), 200.0}, {"i8", int64(-100), -100.0}, {"u16", int64(60000), 60000.0}, {"i16", int64(-30000), -30000.0},
		{"u32", int64(4000000000), 4e9}, {"i32", int64(-2000000000), -2e9}, {"i64", int64(-1) << 62, -0x1p62},
		{"u64", nil, nil}, {"f32", nil, 0.5}, {"f64", nil, 0.1}, {"yes", nil, nil}, {"empty", nil, nil}, {"missing", nil, nil},
	} {
		if v, ok := g.Int(c.key); ok != (c.integer != nil) || ok && v != c.integer {
			t.Errorf("Int(%s) = %v, %v", c.key, v, ok)
		}
		if v, ok := g.Float(c.key); ok != (c.floating != nil) || ok && v != c.floating {
			t.Errorf("Float(%s) = %v, %v", c.key, v, ok)
		}
	}
	if v, ok := g.String("general.architecture"); v != "qwen3" || !ok {
		t.Error(v, ok)
	}
	if v, ok := g.String("u8"); v != "" || ok {
		t.Error(v, ok)
	}
	if v, ok := g.Bool("yes"); !v || !ok {
		t.Error(v, ok)
	}
	if v, ok := g.Bool("no"); v || !ok {
		t.Error(v, ok)
	}
	if v, ok := g.Strings("array.string"); len(v) != 3 || v[0] != "ü" || !ok {
		t.Error(v, ok)
	}
	for key, want := range map[string][]int64{
		"array.u8": {1, 2}, "array.i8": {-1}, "array.u16": {1, 65535}, "array.i16": {-5}, "array.u32": {7, 8},
		"array.i32": {-7}, "array.i64": {-1}, "array.none": {}, "array.u64": nil, "array.f32": nil, "u8": nil,
	} {
		if v, ok := g.Ints(key); ok != (want != nil) || ok && !reflect.DeepEqual(v, want) {
			t.Errorf("Ints(%s) = %v, %v", key, v, ok)
		}
	}
}

func TestRowsRefusals(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "m.gguf"), writeGGUF(t, nil, everyFormat()))
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	use := func([]byte) error { t.Error("use was called"); return nil }
	const name = "blk.0.q4_k.weight"
	for _, c := range []struct {
		name     string
		first, n int
		want     string
	}{
		{"absent", 0, 1, `no tensor "absent"`},
		{name, -1, 1, "rows -1 to 0 were asked for, it has 3"},
		{name, 0, -1, "rows 0 to -1"},
		{name, 1, 3, "rows 1 to 4 were asked for, it has 3"},
		{name, 4, 0, "it has 3"},
		{name, math.MaxInt, math.MaxInt, "it has 3"},
	} {
		err := g.Rows(c.name, c.first, c.n, use)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Rows(%s, %d, %d): %v, want %q", c.name, c.first, c.n, err, c.want)
		}
	}
	stop := errors.New("stop")
	if err := g.Rows(name, 0, 1, func([]byte) error { return stop }); err != stop {
		t.Errorf("use's error came back as %v", err)
	}

	// A file that is cut short while it is open gives an error.
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if err := g.Rows(name, 0, 1, use); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "m.gguf") {
		t.Errorf("cut short: %v", err)
	}

	// Closing from within use is allowed.
	memory, err := OpenGGUFBytes("memory", writeGGUF(t, nil, everyFormat()))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []*GGUF{memory, reopen(t)} {
		if err := g.Rows(name, 0, 1, func(rows []byte) error { return g.Close() }); err != nil {
			t.Error(err)
		}
		if err := g.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if err := g.Rows(name, 0, 1, use); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func reopen(t *testing.T) *GGUF {
	g, err := OpenGGUF(writeFile(t, filepath.Join(t.TempDir(), "m.gguf"), writeGGUF(t, nil, everyFormat())))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestWriteGGUFRefusals(t *testing.T) {
	short := testTensor("short", tensor.F32, 4)
	short.Data = func(w io.Writer) error { _, err := w.Write(make([]byte, 12)); return err }
	for want, c := range map[string]struct {
		metadata []KV
		tensors  []GGUFTensor
	}{
		`"k" is too long or there twice`: {metadata: []KV{{"k", uint8(1)}, {"k", uint8(2)}}},
		"type int, which GGUF has not":   {metadata: []KV{{"k", 1}}},
		"type []int, which GGUF has not": {metadata: []KV{{"k", []int{1}}}},
		"type <nil>":                     {metadata: []KV{{"k", nil}}},
		"nested more than once":          {metadata: []KV{{"k", []any{[]any{[]int32{1}}}}}},
		"type string among its arrays":   {metadata: []KV{{"k", []any{"x"}}}},
		"a power of two":                 {metadata: []KV{{"general.alignment", uint32(24)}}},
		`tensor "t" is there twice`:      {tensors: []GGUFTensor{testTensor("t", tensor.F32, 1), testTensor("t", tensor.F32, 1)}},
		"no format i32":                  {tensors: []GGUFTensor{testTensor("t", tensor.I32, 1)}},
		"a multiple of 256":              {tensors: []GGUFTensor{testTensor("t", tensor.Q4_K, 2, 255)}},
		"has 12 bytes":                   {tensors: []GGUFTensor{short}},
	} {
		if err := WriteGGUF(io.Discard, c.metadata, c.tensors); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	full := errors.New("disk full")
	if err := WriteGGUF(failingWriter{full}, everyValue, everyFormat()); !errors.Is(err, full) {
		t.Errorf("a write error came back as %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// ggufHeader starts a header by hand.
func ggufHeader(version uint32, tensors, keys uint64) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), version)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(b, tensors), keys)
}

func ggufText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func ggufTensor(b []byte, name string, number uint32, offset uint64, dims ...uint64) []byte {
	b = binary.LittleEndian.AppendUint32(ggufText(b, name), uint32(len(dims)))
	for _, d := range dims {
		b = binary.LittleEndian.AppendUint64(b, d)
	}
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, number), offset)
}

func TestGGUFRefusals(t *testing.T) {
	u32 := binary.LittleEndian.AppendUint32
	u64 := binary.LittleEndian.AppendUint64
	data := make([]byte, 4096)
	for want, file := range map[string][]byte{
		"not a GGUF file":                 nil,
		`begins with "ABCD"`:              []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
		"big-endian":                      append([]byte("GGUF"), 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"version 1; supported: 2 and 3":   ggufHeader(1, 0, 0),
		"declares 1152921504606846976":    ggufHeader(3, 1<<60, 0),
		"metadata keys; the 0 bytes":      ggufHeader(3, 0, 1<<63),
		"the header is cut short":         append(u32(ggufText(ggufHeader(3, 0, 1), "key"), 10), 1, 2, 3),
		"unknown type 13":                 append(u32(ggufText(ggufHeader(3, 0, 1), "k"), 13), 0),
		"array of the unknown type 99":    u64(u32(u32(ggufText(ggufHeader(3, 0, 1), "k"), 9), 99), 0),
		"is a bool of 2":                  append(u32(ggufText(ggufHeader(3, 0, 1), "k"), 7), 2),
		"arrays nested more than once":    u64(u32(u64(u32(u64(u32(u32(ggufText(ggufHeader(3, 0, 1), "k"), 9), 9), 1), 9), 1), 9), 0),
		"281474976710656 elements of":     append(u64(u32(u32(ggufText(ggufHeader(3, 0, 1), "k"), 9), 6), 1<<48), data...),
		"string of 1099511627776 bytes":   append(u64(u32(ggufText(ggufHeader(3, 0, 1), "k"), 8), 1<<40), data...),
		`metadata key "k" is there twice`: append(u32(ggufText(append(u32(ggufText(ggufHeader(3, 0, 2), "k"), 0), 1), "k"), 0), 1),
		"general.alignment is 12":         append(u32(u32(ggufText(ggufHeader(3, 0, 1), "general.alignment"), 4), 12), data...),
		"one of 3 parts of a split":       append(u32(ggufText(ggufHeader(3, 0, 1), "split.count"), 2), 3, 0),
		`"t" is stored as IQ2_XXS, which is not supported; supported: [f32 f16`: append(ggufTensor(ggufHeader(3, 1, 0), "t", 16, 0, 256), data...),
		`"t" is stored as Q2_K`:                    append(ggufTensor(ggufHeader(3, 1, 0), "t", 10, 0, 256), data...),
		`"t" is stored as MXFP4`:                   append(ggufTensor(ggufHeader(3, 1, 0), "t", 39, 0, 256), data...),
		`"t" is stored as type 77`:                 append(ggufTensor(ggufHeader(3, 1, 0), "t", 77, 0, 256), data...),
		"has 5 dimensions":                         append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 0, 1, 1, 1, 1, 1), data...),
		"has 0 dimensions":                         append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 0), data...),
		"a dimension of 0":                         append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 0, 0), data...),
		"the impossible shape":                     append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 0, 1<<31, 1<<31, 1<<31), data...),
		"must be a multiple of 256":                append(ggufTensor(ggufHeader(3, 1, 0), "t", 12, 0, 32, 8), data...),
		"begins at byte 99999":                     append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 99999, 1), data...),
		"not a multiple of the alignment":          append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 4, 1), data...),
		"the file has 4153 bytes: it is cut short": append(ggufTensor(ggufHeader(3, 1, 0), "t", 0, 32, 2048), data...),
		`inside tensor "a"`:                        append(ggufTensor(ggufTensor(ggufHeader(3, 2, 0), "a", 0, 0, 16), "b", 0, 32, 1), data...),
		`tensor "a": is in memory, too`:            append(ggufTensor(ggufTensor(ggufHeader(3, 2, 0), "a", 0, 0, 1), "a", 0, 32, 1), data...),
	} {
		g, err := OpenGGUFBytes("memory", file)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "weights: memory: ") {
			t.Errorf("%v, want %q", err, want)
		}
		if g != nil {
			t.Errorf("a reader beside the error %v", err)
		}
	}
}
