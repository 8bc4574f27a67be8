package weights

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// exhaust opens a file's content and, if that succeeds, reads all of it. Whatever the bytes are, there is an error that
// names the file, or every tensor is as large as it says.
func exhaust(t *testing.T, name string, open func() (Reader, error)) (valid bool) {
	t.Helper()
	r, err := open()
	if err != nil {
		if !strings.HasPrefix(err.Error(), "weights: "+name+": ") {
			t.Errorf("an error that does not begin with package and file: %v", err)
		}
		return false
	}
	defer r.Close()
	for _, info := range r.Tensors() {
		if info.Format == 0 {
			continue
		}
		var total int64
		for first := range info.Rows() {
			err := r.Rows(info.Name, first, 1, func(rows []byte) error {
				total += int64(len(rows))
				return nil
			})
			if err != nil {
				t.Errorf("%+v was listed but not readable: %v", info, err)
			}
		}
		if total != info.Bytes() {
			t.Errorf("%+v has %d bytes", info, total)
		}
	}
	return true
}

// mutate damages a file at one to three places of its header or length.
func mutate(random *rand.Rand, valid []byte, header int) []byte {
	b := bytes.Clone(valid)
	for range 1 + random.IntN(3) {
		at := random.IntN(min(header, len(b)))
		switch random.IntN(8) {
		case 0: // cut short
			b = b[:1+random.IntN(len(b))]
		case 1: // grown
			b = append(b, make([]byte, random.IntN(100))...)
		case 2: // a bit
			b[at] ^= 1 << random.IntN(8)
		case 3: // a byte
			b[at] = byte(random.Uint32())
		case 4: // a huge, negative or small number
			values := []uint64{0, 1, 31, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 40, 1<<62 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
			if at+8 <= len(b) {
				binary.LittleEndian.PutUint64(b[at:], values[random.IntN(len(values))])
			}
		case 5: // bytes lost
			to := min(len(b), at+1+random.IntN(16))
			b = append(b[:at:at], b[to:]...)
		case 6: // bytes twice
			to := min(len(b), at+1+random.IntN(64))
			b = append(b[:to:to], b[at:]...)
		case 7: // digits and brackets, for JSON
			b[at] = `0123456789-.eE[]{}",:\x`[random.IntN(23)]
		}
		if len(b) == 0 {
			break
		}
	}
	return b
}

func TestMutations(t *testing.T) {
	gguf, err1 := os.ReadFile(filepath.Join("testdata", "model.gguf"))
	safe, err2 := os.ReadFile(filepath.Join("testdata", "single", "model.safetensors"))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	for _, c := range []struct {
		name, file string
		valid      []byte
		header     int
		open       func(b []byte) (Reader, error)
	}{
		{"gguf", "memory", gguf, 1500, func(b []byte) (Reader, error) {
			g, err := OpenGGUFBytes("memory", b)
			if err != nil {
				return nil, err
			}
			return g, nil
		}},
		{"safetensors", path, safe, 700, func(b []byte) (Reader, error) {
			if err := os.WriteFile(path, b, 0o666); err != nil {
				t.Fatal(err)
			}
			return OpenSafetensors(path)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			var before, after runtime.MemStats
			most := uint64(0)
			refused := 0
			for range 1000 {
				b := mutate(random, c.valid, c.header)
				runtime.ReadMemStats(&before)
				if !exhaust(t, c.file, func() (Reader, error) { return c.open(b) }) {
					refused++
				}
				runtime.ReadMemStats(&after)
				most = max(most, after.TotalAlloc-before.TotalAlloc)
			}
			t.Logf("%d of 1000 refused, at most %d bytes allocated for one", refused, most)
			if refused < 300 || refused == 1000 {
				t.Errorf("%d of 1000 mutations were refused: the mutations test nothing", refused)
			}
			if most > 1<<18 { // buffers and decoder state; a count that was believed would be far more
				t.Errorf("a mutation of a file of %d bytes made %d bytes be allocated", len(c.valid), most)
			}
		})
	}
}

func FuzzGGUF(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "model.gguf"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(writeGGUF(f, everyValue, nil))
	f.Add(writeGGUF(f, []KV{{"general.alignment", uint32(8)}}, everyFormat()))
	f.Add([]byte("GGUF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		exhaust(t, "memory", func() (Reader, error) {
			g, err := OpenGGUFBytes("memory", b)
			if err != nil {
				return nil, err
			}
			// What was read can be written, and reads the same.
			var again bytes.Buffer
			if err := WriteGGUF(&again, g.Metadata(), nil); err != nil {
				t.Errorf("metadata that was read cannot be written: %v", err)
			}
			return g, nil
		})
	})
}

func FuzzSafetensors(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "single", "model.safetensors"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(safetensors("{}", 0))
	f.Add(safetensors("{"+tensorJSON("a", "F32", "[2]", 0, 8)+","+tensorJSON("b", "BF16", "[2,3]", 8, 20)+"}", 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseSafetensors("memory", bytes.NewReader(b), int64(len(b)))
		exhaust(t, "memory", func() (Reader, error) {
			if err != nil {
				return nil, err
			}
			s := &store{}
			return s, s.add(&memorySource{data: b}, entries)
		})
	})
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"x","b":"../y"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), indexFile)
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		shards, _, err := readIndex(path)
		if err != nil && !strings.HasPrefix(err.Error(), "weights: "+path+": ") {
			t.Errorf("an error that does not begin with package and file: %v", err)
		}
		for _, shard := range shards {
			if filepath.Dir(shard) != filepath.Dir(path) {
				t.Errorf("the shard %q left the directory", shard)
			}
		}
	})
}
