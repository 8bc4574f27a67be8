package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// safetensors is a file with the given header and as many bytes of data.
func safetensors(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), bytesOf("data", data)...)
}

// tensorJSON is a header's member for a tensor.
func tensorJSON(name, dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`"%s":{"dtype":"%s","shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

func TestSafetensors(t *testing.T) {
	// Members out of file order, metadata between them, an empty tensor where another begins, spaces behind.
	header := "{" + strings.Join([]string{
		tensorJSON("b", "BF16", "[2,3]", 8, 20), `"__metadata__":{"format":"pt"}`, tensorJSON("a", "F32", "[2]", 0, 8),
		tensorJSON("none", "F16", "[0,5]", 8, 8), tensorJSON("ids", "I64", "[1]", 20, 28),
	}, ",") + "}   "
	path := writeFile(t, filepath.Join(t.TempDir(), "x.safetensors"), safetensors(header, 28))
	r, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data := bytesOf("data", 28)
	for _, c := range []struct {
		name           string
		first, n       int
		from, to, cols int
	}{{"a", 0, 1, 0, 8, 2}, {"b", 0, 2, 8, 20, 3}, {"b", 1, 1, 14, 20, 3}, {"b", 2, 0, 20, 20, 3}, {"none", 0, 0, 8, 8, 5}} {
		if info, _ := r.Lookup(c.name); info.Cols() != c.cols {
			t.Errorf("%s: %d columns", c.name, info.Cols())
		}
		err := r.Rows(c.name, c.first, c.n, func(rows []byte) error {
			if !bytes.Equal(rows, data[c.from:c.to]) {
				t.Errorf("%v: % x, want % x", c, rows, data[c.from:c.to])
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	var names []string
	for _, info := range r.Tensors() {
		names = append(names, info.Name)
	}
	if got := strings.Join(names, " "); got != "a none b ids" {
		t.Errorf("in file order: %s", got)
	}
	if r.Size() != 20 {
		t.Errorf("size %d, want 20", r.Size())
	}
	if err := r.Rows("ids", 0, 1, nil); err == nil || !strings.Contains(err.Error(), `tensor "ids": is stored as I64; supported: [f32`) {
		t.Error(err)
	}
}

func TestSafetensorsRefusals(t *testing.T) {
	a := tensorJSON("a", "F32", "[2]", 0, 8)
	for want, file := range map[string][]byte{
		"not a safetensors file: 0 bytes":            {},
		"is a GGUF file":                             writeGGUF(t, nil, nil),
		"declares a header of 1000 bytes":            binary.LittleEndian.AppendUint64(nil, 1000),
		"header of 18446744073709551615 bytes":       bytes.Repeat([]byte{0xff}, 64),
		"an object is expected":                      safetensors("[]", 0),
		"malformed":                                  safetensors(`{"a"`, 0),
		`"x" follows the object`:                     safetensors(`{}x`, 0),
		`tensor "a" is there twice`:                  safetensors("{"+a+","+a+"}", 8),
		"dtype, shape and data_offsets":              safetensors(`{"a":{}}`, 0),
		"unknown field":                              safetensors(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}}`, 4),
		"cannot unmarshal number 1.5":                safetensors(`{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}`, 4),
		"number 99999999999999999999":                safetensors(`{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}`, 4),
		"lies at bytes -1 to -1":                     safetensors(`{"a":{"dtype":"F32","shape":[]}}`, 4),
		"lies at bytes 8 to 0":                       safetensors("{"+tensorJSON("a", "F32", "[2]", 8, 0)+"}", 8),
		"bytes 0 to 8 of the data, which has 7":      safetensors("{"+a+"}", 7),
		"the impossible shape [-2]":                  safetensors("{"+tensorJSON("a", "F32", "[-2]", 0, 8)+"}", 8),
		"impossible shape [4294967296 4294967296]":   safetensors("{"+tensorJSON("a", "F32", "[4294967296,4294967296]", 0, 8)+"}", 8),
		"has 8 bytes; its shape [3] of F32 needs 12": safetensors("{"+tensorJSON("a", "F32", "[3]", 0, 8)+"}", 8),
		`the data type "F8_E4M3"; supported: F32`:    safetensors("{"+tensorJSON("a", "F8_E4M3", "[8]", 0, 8)+"}", 8),
		"begins at byte 4 of the data, 8 expected":   safetensors("{"+a+","+tensorJSON("b", "F32", "[1]", 4, 8)+"}", 8),
		"begins at byte 12 of the data, 8 expected":  safetensors("{"+a+","+tensorJSON("b", "F32", "[1]", 12, 16)+"}", 16),
		"begins at byte 4 of the data, 0 expected":   safetensors("{"+tensorJSON("b", "F32", "[1]", 4, 8)+"}", 8),
		"its tensors end at byte":                    safetensors("{"+a+"}", 9),
		"__metadata__":                               safetensors(`{"__metadata__":{"a":1}}`, 0),
	} {
		path := writeFile(t, filepath.Join(t.TempDir(), "x.safetensors"), file)
		r, err := OpenSafetensors(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "weights: "+path+": ") {
			t.Errorf("%v, want %q", err, want)
		}
		if r != nil {
			t.Errorf("a reader beside the error %v", err)
		}
	}
}

func TestShardRefusals(t *testing.T) {
	index := func(text string) map[string][]byte { return map[string][]byte{indexFile: []byte(text)} }
	with := func(files map[string][]byte, name string, data []byte) map[string][]byte {
		files[name] = data
		return files
	}
	one := safetensors("{"+tensorJSON("a", "F32", "[2]", 0, 8)+"}", 8)
	for want, files := range map[string]map[string][]byte{
		"has neither model.safetensors nor":                   {"config.json": nil},
		"pytorch_model.bin is a PyTorch file":                 {"pytorch_model.bin": nil},
		"q.gguf is a GGUF file: name it":                      {"q.gguf": nil},
		"other.safetensors is a safetensors file of another":  {"other.safetensors": nil},
		"index.json: invalid character":                       index("nonsense"),
		"has no weight_map":                                   index(`{"metadata":{}}`),
		`the file "../up.safetensors" is not a plain name`:    index(`{"weight_map":{"a":"../up.safetensors"}}`),
		`the file "/etc/passwd" is not a plain name`:          index(`{"weight_map":{"a":"/etc/passwd"}}`),
		`the file "C:x" is not a plain name`:                  index(`{"weight_map":{"a":"C:x"}}`),
		`the file "b\\c" is not a plain name`:                 index(`{"weight_map":{"a":"b\\c"}}`),
		`the file ".." is not a plain name`:                   index(`{"weight_map":{"a":".."}}`),
		`the file "" is not a plain name`:                     index(`{"weight_map":{"a":""}}`),
		"2 of its 3 files are missing: y, z":                  with(index(`{"weight_map":{"a":"x","b":"y","c":"z"}}`), "x", one),
		`x: the index places tensor "b" there, but it is not`: with(index(`{"weight_map":{"a":"x","b":"x"}}`), "x", one),
		`y: tensor "a": is in `:                               with(with(index(`{"weight_map":{"a":"x","b":"y"}}`), "x", one), "y", one),
	} {
		directory := t.TempDir()
		for name, data := range files {
			writeFile(t, filepath.Join(directory, name), data)
		}
		r, err := OpenSafetensors(directory)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "weights: "+directory) {
			t.Errorf("%v, want %q", err, want)
		}
		if r != nil {
			t.Errorf("a reader beside the error %v", err)
		}
	}
}

func TestOpenMissing(t *testing.T) {
	directory := t.TempDir()
	missing := filepath.Join(directory, "absent.gguf")
	if _, err := OpenGGUF(missing); !os.IsNotExist(unwrap(err)) || !strings.Contains(err.Error(), missing) {
		t.Error(err)
	}
	if _, err := OpenSafetensors(missing); !os.IsNotExist(unwrap(err)) {
		t.Error(err)
	}
	if _, err := OpenGGUF(directory); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return err
}
