package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/ullm/ullm/tensor"
)

// maxSafetensorsHeader is the format's own limit for its JSON header.
const maxSafetensorsHeader = 100_000_000

// dtype is one of safetensors' storage types.
type dtype struct {
	format tensor.Format // NoFormat: listed, but refused when asked for
	bytes  int
}

// dtypes are those of the safetensors format. Those below a byte and the floats of 8 bits are refused when the file is
// opened: they are a model's weights in a format that is not supported. The others are helper tensors that most
// checkpoints do without, such as position ids.
var dtypes = map[string]dtype{
	"F32": {tensor.F32, 4}, "F16": {tensor.F16, 2}, "BF16": {tensor.BF16, 2},
	"F64": {tensor.NoFormat, 8}, "I64": {tensor.NoFormat, 8}, "U64": {tensor.NoFormat, 8}, "I32": {tensor.NoFormat, 4}, "U32": {tensor.NoFormat, 4}, "I16": {tensor.NoFormat, 2}, "U16": {tensor.NoFormat, 2},
	"I8": {tensor.NoFormat, 1}, "U8": {tensor.NoFormat, 1}, "BOOL": {tensor.NoFormat, 1}, "C64": {tensor.NoFormat, 8},
}

// parseSafetensors reads the header of a safetensors file of the given size: 8 bytes little-endian length, then that
// many bytes of JSON, {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}, then the data, which
// the tensors fill without gap or overlap (https://huggingface.co/docs/safetensors).
func parseSafetensors(path string, r io.Reader, size int64) ([]entry, error) {
	fail := func(format string, args ...any) ([]entry, error) {
		return nil, fmt.Errorf("weights: %s: "+format, append([]any{path}, args...)...)
	}
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return fail("not a safetensors file: %d bytes, at least 10 expected", size)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if string(prefix[:4]) == ggufMagic {
		return fail("is a GGUF file, safetensors expected: name it .gguf")
	}
	if length > maxSafetensorsHeader || int64(length) > size-8 {
		return fail("not a safetensors file, or cut short: it declares a header of %d bytes; the file has %d bytes and the format allows %d", length, size, maxSafetensorsHeader)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return fail("reading the header of %d bytes: %w", length, err)
	}
	tensors, err := decodeSafetensorsHeader(header)
	if err != nil {
		return fail("the header is malformed: %w", err)
	}

	dataStart, dataSize := 8+int64(length), size-8-int64(length)
	entries := make([]entry, 0, len(tensors))
	for _, t := range tensors {
		e := entry{Info: Info{Name: t.name, Stored: t.Dtype, Shape: t.Shape}, path: path}
		d, known := dtypes[t.Dtype]
		if !known {
			return nil, e.errorf("has the data type %q; supported: F32, F16, BF16 (use a checkpoint in one of them, or a GGUF file)", t.Dtype)
		}
		e.Format = d.format
		values, ok := product(t.Shape)
		if !ok {
			return nil, e.errorf("has the impossible shape %v", t.Shape)
		}
		begin, end := t.Offsets[0], t.Offsets[1]
		if begin < 0 || begin > end || end > dataSize {
			return nil, e.errorf("lies at bytes %d to %d of the data, which has %d bytes: the file is damaged or cut short", begin, end, dataSize)
		}
		if want := int64(values) * int64(d.bytes); end-begin != want {
			return nil, e.errorf("has %d bytes; its shape %v of %s needs %d", end-begin, t.Shape, t.Dtype, want)
		}
		e.offset, e.size = dataStart+begin, end-begin
		entries = append(entries, e)
	}

	sortByOffset(entries)
	at := dataStart
	for i := range entries {
		e := &entries[i]
		if e.offset != at {
			return nil, e.errorf("begins at byte %d of the data, %d expected: tensors must not overlap or leave gaps", e.offset-dataStart, at-dataStart)
		}
		at += e.size
	}
	if at != size {
		return fail("its tensors end at byte %d, the file at %d", at, size)
	}
	return entries, nil
}

// safetensorsEntry is one member of a safetensors header.
type safetensorsEntry struct {
	name    string
	Dtype   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// decodeSafetensorsHeader decodes the header's object member by member, so that a name that is there twice is noticed.
func decodeSafetensorsHeader(header []byte) ([]safetensorsEntry, error) {
	decoder := json.NewDecoder(bytes.NewReader(header))
	if token, err := decoder.Token(); err != nil {
		return nil, err
	} else if token != json.Delim('{') {
		return nil, fmt.Errorf("an object is expected, not %v", token)
	}
	var tensors []safetensorsEntry
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, fmt.Errorf("tensor %q is there twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			var metadata map[string]string
			if err := decoder.Decode(&metadata); err != nil {
				return nil, fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		t := safetensorsEntry{name: name, Offsets: [2]int64{-1, -1}}
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if t.Dtype == "" || t.Shape == nil {
			return nil, fmt.Errorf("tensor %q: dtype, shape and data_offsets are expected, not %.100s", name, raw)
		}
		tensors = append(tensors, t)
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if rest := strings.TrimRight(string(header[decoder.InputOffset():]), " \t\r\n"); rest != "" {
		return nil, fmt.Errorf("%q follows the object", rest[:min(len(rest), 20)])
	}
	return tensors, nil
}
