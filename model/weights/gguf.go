package weights

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/ullm/ullm/tensor"
)

// GGUF is an open GGUF file: a Reader, and the metadata by key.
type GGUF struct {
	store
	metadata
	path string
}

// OpenGGUF opens a GGUF file. Its header is read and checked; its tensors' data is not.
func OpenGGUF(path string) (*GGUF, error) {
	file, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	g, err := parseGGUF(path, bufio.NewReaderSize(file, 1<<16), size, &fileSource{file: file})
	if err != nil {
		file.Close()
		return nil, err
	}
	return g, nil
}

// OpenGGUFBytes opens a GGUF file that is in memory, such as a model inside the binary. The name is for messages. Rows
// hands out parts of data itself, so data must not change until Close.
func OpenGGUFBytes(name string, data []byte) (*GGUF, error) {
	return parseGGUF(name, bytes.NewReader(data), int64(len(data)), &memorySource{data: data})
}

// Path is the name that the file was opened by.
func (g *GGUF) Path() string { return g.path }

func parseGGUF(path string, r io.Reader, size int64, source source) (*GGUF, error) {
	d := &ggufDecoder{r: r, size: min(size, ggufMaxHeader), fileSize: size}
	g := &GGUF{path: path}
	entries, err := g.parse(d)
	if err == nil {
		err = d.err
	}
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	dataStart := alignUp(d.at, int64(g.alignment()))
	if err := placeGGUF(path, entries, dataStart, size, int64(g.alignment())); err != nil {
		return nil, err
	}
	if err := g.add(source, entries); err != nil {
		return nil, err
	}
	return g, nil
}

// parse reads magic, version, counts, metadata and the table of tensors. The offsets in the table are relative to the
// data, which begins after it.
func (g *GGUF) parse(d *ggufDecoder) ([]entry, error) {
	if magic := d.bytes(4); d.err != nil || string(magic) != ggufMagic {
		return nil, fmt.Errorf("not a GGUF file: it begins with %q", magic)
	}
	version := d.uint32()
	if version&0xffff == 0 && version != 0 {
		return nil, fmt.Errorf("is a big-endian GGUF file; only little-endian ones are supported: convert it with gguf-convert-endian of the Python package gguf")
	}
	if d.err == nil && version != 2 && version != 3 {
		return nil, fmt.Errorf("is a GGUF file of version %d; supported: 2 and 3", version)
	}
	tensors := d.count("tensors", 8+4+8+4+8) // name, dimensions, one of them, type, offset
	keys := d.count("metadata keys", 8+4+1)

	g.values = make(map[string]any, min(keys, 1<<10)) // a count in a file is no reason to allocate much
	for range keys {
		key := d.name("a metadata key")
		value := d.value(valueType(d.uint32()), "metadata key "+quoteName(key), 0)
		if d.err != nil {
			return nil, d.err
		}
		if _, ok := g.values[key]; ok {
			return nil, fmt.Errorf("metadata key %q is there twice", key)
		}
		g.values[key] = value
		g.keys = append(g.keys, key)
	}
	if a, ok := g.values[ggufAlignmentKey]; ok {
		if n, isUint32 := a.(uint32); !isUint32 || n == 0 || n&(n-1) != 0 || n > 1<<24 {
			return nil, fmt.Errorf("%s is %v; a power of two of type uint32, 16 Mi at most, is expected", ggufAlignmentKey, a)
		}
	}
	if n, ok := g.Int("split.count"); ok && n > 1 {
		return nil, fmt.Errorf("is one of %d parts of a split model, which is not supported: join them with llama-gguf-split --merge", n)
	}

	entries := make([]entry, 0, min(tensors, 1<<10))
	for range tensors {
		e, err := d.tensor(g.path)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// tensor reads one row of the table of tensors.
func (d *ggufDecoder) tensor(path string) (entry, error) {
	e := entry{path: path}
	e.Name = d.name("a tensor's name")
	dims := d.uint32()
	if d.err != nil {
		return e, d.err
	}
	if dims < 1 || dims > ggufMaxDims {
		return e, fmt.Errorf("tensor %q has %d dimensions; 1 to %d are expected", e.Name, dims, ggufMaxDims)
	}
	e.Shape = make([]int, dims)
	for i := range e.Shape { // innermost first in the file
		n := d.uint64()
		if d.err == nil && (n == 0 || n > math.MaxInt) {
			return e, fmt.Errorf("tensor %q has a dimension of %d", e.Name, n)
		}
		e.Shape[len(e.Shape)-1-i] = int(n)
	}
	number := d.uint32()
	offset := d.uint64()
	if d.err != nil {
		return e, d.err
	}
	t, known := ggmlTypes[number]
	if !known {
		t.name = fmt.Sprintf("type %d", number)
	}
	if t.format == tensor.NoFormat {
		return e, fmt.Errorf("tensor %q is stored as %s, which is not supported; supported: %v", e.Name, t.name, tensor.WeightFormats())
	}
	e.Format, e.Stored = t.format, t.name
	values, ok := product(e.Shape)
	if !ok {
		return e, fmt.Errorf("tensor %q has the impossible shape %v", e.Name, e.Shape)
	}
	if e.Cols()%e.Format.Block() != 0 {
		return e, fmt.Errorf("tensor %q of shape %v is stored as %s; its rows must be a multiple of %d", e.Name, e.Shape, t.name, e.Format.Block())
	}
	e.size = int64(values/e.Format.Block()) * int64(e.Format.BlockBytes())
	if offset > uint64(d.fileSize) {
		return e, fmt.Errorf("tensor %q begins at byte %d of the data; the file has %d bytes", e.Name, offset, d.fileSize)
	}
	e.offset = int64(offset)
	return e, nil
}

// placeGGUF makes the entries' offsets absolute, sorts them, and checks that each lies in the file, aligned, and that no
// two overlap.
func placeGGUF(path string, entries []entry, dataStart, size, alignment int64) error {
	for i := range entries {
		e := &entries[i]
		if e.offset%alignment != 0 {
			return e.errorf("begins at byte %d of the data, not a multiple of the alignment %d", e.offset, alignment)
		}
		e.offset += dataStart
		if e.size > size-e.offset {
			return e.errorf("ends at byte %d; the file has %d bytes: it is cut short", e.offset+e.size, size)
		}
	}
	sortByOffset(entries)
	for i := 1; i < len(entries); i++ {
		if before, e := &entries[i-1], &entries[i]; before.offset+before.size > e.offset {
			return e.errorf("begins at byte %d, inside tensor %q", e.offset, before.Name)
		}
	}
	return nil
}

// ggufDecoder reads the header's little-endian values and keeps the first error.
type ggufDecoder struct {
	r        io.Reader
	at       int64 // bytes read
	size     int64 // at most as many are read
	fileSize int64
	err      error
	scratch  [8]byte
}

func (d *ggufDecoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// need fails unless n more bytes are there.
func (d *ggufDecoder) need(n int64, what string) bool {
	if d.err == nil && n > d.size-d.at {
		d.fail("the header is cut short at byte %d: %s needs %d bytes, %d are left", d.at, what, n, d.size-d.at)
	}
	return d.err == nil
}

func (d *ggufDecoder) read(b []byte) {
	if !d.need(int64(len(b)), "a value") {
		clear(b)
		return
	}
	if _, err := io.ReadFull(d.r, b); err != nil {
		clear(b)
		d.fail("reading the header at byte %d: %w", d.at, err)
	}
	d.at += int64(len(b))
}

func (d *ggufDecoder) bytes(n int) []byte {
	b := make([]byte, n)
	d.read(b)
	return b
}

func (d *ggufDecoder) uint32() uint32 {
	d.read(d.scratch[:4])
	return binary.LittleEndian.Uint32(d.scratch[:])
}

func (d *ggufDecoder) uint64() uint64 {
	d.read(d.scratch[:8])
	return binary.LittleEndian.Uint64(d.scratch[:])
}

// count reads a number of things that take at least size bytes each, and fails if as many cannot follow.
func (d *ggufDecoder) count(what string, size int64) int {
	n := d.uint64()
	if d.err == nil && n > uint64((d.size-d.at)/size) {
		d.fail("it declares %d %s; the %d bytes that are left cannot hold them", n, what, d.size-d.at)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

// text reads a string: its length, then its bytes.
func (d *ggufDecoder) text(what string, limit uint64) string {
	n := d.uint64()
	if d.err == nil && (n > limit || n > uint64(d.size-d.at)) {
		d.fail("%s is a string of %d bytes; %d bytes are left and at most %d are allowed", what, n, d.size-d.at, limit)
	}
	if d.err != nil {
		return ""
	}
	return string(d.bytes(int(n)))
}

func (d *ggufDecoder) name(what string) string { return d.text(what, ggufMaxName) }

func quoteName(s string) string { return fmt.Sprintf("%.100q", s) }
