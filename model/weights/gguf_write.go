package weights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/ullm/ullm/tensor"
)

// GGUFTensor is a tensor to be written.
type GGUFTensor struct {
	Name   string
	Format tensor.Format
	Shape  []int                   // outermost first, as in Info
	Data   func(w io.Writer) error // writes the stored bytes, exactly as many as shape and format need
}

// WriteGGUF writes a GGUF file of version 3: the metadata in the given order, then the tensors, each asked for its data
// in its turn. Metadata values have the types that KV names; general.alignment, if it is among them, is followed.
func WriteGGUF(w io.Writer, metadata []KV, tensors []GGUFTensor) error {
	e := &ggufEncoder{w: bufio.NewWriterSize(w, 1<<20)}
	if err := e.file(metadata, tensors); err != nil {
		return fmt.Errorf("weights: writing GGUF: %w", err)
	}
	return nil
}

func (e *ggufEncoder) file(metadata []KV, tensors []GGUFTensor) error {
	e.write([]byte(ggufMagic))
	e.uint32(3)
	e.uint64(uint64(len(tensors)))
	e.uint64(uint64(len(metadata)))

	alignment := int64(ggufDefaultAlignment)
	seen := map[string]bool{}
	for _, kv := range metadata {
		if len(kv.Key) > ggufMaxName || seen[kv.Key] {
			return fmt.Errorf("metadata key %s is too long or there twice", quoteName(kv.Key))
		}
		seen[kv.Key] = true
		if kv.Key == ggufAlignmentKey {
			a, ok := kv.Value.(uint32)
			if !ok || a == 0 || a&(a-1) != 0 {
				return fmt.Errorf("%s is %v; a power of two of type uint32 is expected", ggufAlignmentKey, kv.Value)
			}
			alignment = int64(a)
		}
		t, ok := typeOf(kv.Value)
		if !ok {
			return fmt.Errorf("metadata key %s has a value of type %T, which GGUF has not", quoteName(kv.Key), kv.Value)
		}
		e.text(kv.Key)
		e.uint32(uint32(t))
		if err := e.value(kv.Value, 0); err != nil {
			return fmt.Errorf("metadata key %s %w", quoteName(kv.Key), err)
		}
	}

	sizes := make([]int64, len(tensors))
	var offset int64
	clear(seen)
	for i, t := range tensors {
		size, err := e.tensorInfo(t, offset)
		if err == nil && seen[t.Name] {
			err = fmt.Errorf("is there twice")
		}
		if err != nil {
			return fmt.Errorf("tensor %q %w", t.Name, err)
		}
		seen[t.Name] = true
		sizes[i] = size
		offset = alignUp(offset+size, alignment)
	}
	e.pad(alignment)
	for i, t := range tensors {
		before := e.at
		if e.err == nil {
			if err := t.Data(e); err != nil {
				return fmt.Errorf("tensor %q: %w", t.Name, err)
			}
		}
		if written := e.at - before; e.err == nil && written != sizes[i] {
			return fmt.Errorf("tensor %q has %d bytes; its shape %v of %v needs %d", t.Name, written, t.Shape, t.Format, sizes[i])
		}
		e.pad(alignment)
	}
	if e.err != nil {
		return e.err
	}
	return e.w.Flush()
}

// tensorInfo writes one row of the table of tensors and tells the tensor's size in bytes.
func (e *ggufEncoder) tensorInfo(t GGUFTensor, offset int64) (int64, error) {
	number, err := ggmlNumber(t.Format)
	if err != nil {
		return 0, fmt.Errorf("cannot be stored: %w", err)
	}
	values, ok := product(t.Shape)
	if !ok || values == 0 || len(t.Shape) < 1 || len(t.Shape) > ggufMaxDims || t.Shape[len(t.Shape)-1]%t.Format.Block() != 0 {
		return 0, fmt.Errorf("of %v has the shape %v; 1 to %d dimensions are expected, and rows of a multiple of %d values", t.Format, t.Shape, ggufMaxDims, t.Format.Block())
	}
	e.text(t.Name)
	e.uint32(uint32(len(t.Shape)))
	for i := range t.Shape {
		e.uint64(uint64(t.Shape[len(t.Shape)-1-i]))
	}
	e.uint32(number)
	e.uint64(uint64(offset))
	return int64(values/t.Format.Block()) * int64(t.Format.BlockBytes()), nil
}

// ggufEncoder writes little-endian values, counts bytes and keeps the first error. As an io.Writer it takes in the
// tensors' data.
type ggufEncoder struct {
	w   *bufio.Writer
	at  int64
	err error
}

func (e *ggufEncoder) Write(b []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(b)
	e.at += int64(n)
	e.err = err
	return n, err
}

func (e *ggufEncoder) write(b []byte) { _, _ = e.Write(b) } // the error is kept

func (e *ggufEncoder) uint32(v uint32) { e.write(binary.LittleEndian.AppendUint32(nil, v)) }
func (e *ggufEncoder) uint64(v uint64) { e.write(binary.LittleEndian.AppendUint64(nil, v)) }

func (e *ggufEncoder) text(s string) {
	e.uint64(uint64(len(s)))
	e.write([]byte(s))
}

func (e *ggufEncoder) pad(alignment int64) {
	e.write(make([]byte, alignUp(e.at, alignment)-e.at))
}

// value writes a metadata value without its type. depth counts the arrays around it.
func (e *ggufEncoder) value(v any, depth int) error {
	switch v := v.(type) {
	case string:
		e.text(v)
		return nil
	case []string:
		e.uint32(uint32(typeString))
		e.uint64(uint64(len(v)))
		for _, s := range v {
			e.text(s)
		}
		return nil
	case []any:
		if depth > 0 {
			return errors.New("has arrays nested more than once")
		}
		e.uint32(uint32(typeArray))
		e.uint64(uint64(len(v)))
		for _, inner := range v {
			if t, ok := typeOf(inner); !ok || t != typeArray {
				return fmt.Errorf("has a value of type %T among its arrays", inner)
			}
			if err := e.value(inner, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Slice {
		t, ok := typeOf(reflect.Zero(r.Type().Elem()).Interface())
		if !ok {
			return fmt.Errorf("has a value of type %T, which GGUF has not", v)
		}
		e.uint32(uint32(t))
		e.uint64(uint64(r.Len()))
	}
	b, err := binary.Append(nil, binary.LittleEndian, v)
	e.write(b)
	return err
}
