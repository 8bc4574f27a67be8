package weights

import (
	"encoding/binary"
	"math"
)

// metadata are a GGUF file's keys and values.
type metadata struct {
	keys   []string // in file order
	values map[string]any
}

// Metadata lists all keys and values in file order. Slices in it must not be modified.
func (m *metadata) Metadata() []KV {
	list := make([]KV, len(m.keys))
	for i, key := range m.keys {
		list[i] = KV{key, m.values[key]}
	}
	return list
}

// String is a key's value; ok is false if it is missing or no string.
func (m *metadata) String(key string) (v string, ok bool) {
	v, ok = m.values[key].(string)
	return v, ok
}

// Bool is a key's value; ok is false if it is missing or no bool.
func (m *metadata) Bool(key string) (v bool, ok bool) {
	v, ok = m.values[key].(bool)
	return v, ok
}

// Int is a key's value; ok is false if it is missing, of no integer type, or too large.
func (m *metadata) Int(key string) (v int64, ok bool) { return toInt(m.values[key]) }

// Float is a key's value; ok is false if it is missing or no number. Integers are converted.
func (m *metadata) Float(key string) (v float64, ok bool) {
	switch v := m.values[key].(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	default:
		n, ok := toInt(v)
		return float64(n), ok
	}
}

// Strings is a key's value, not to be modified; ok is false if it is missing or no array of strings.
func (m *metadata) Strings(key string) (v []string, ok bool) {
	v, ok = m.values[key].([]string)
	return v, ok
}

// Ints is a copy of a key's value; ok is false if it is missing, no array of integers, or one of them is too large.
func (m *metadata) Ints(key string) (v []int64, ok bool) {
	switch a := m.values[key].(type) {
	case []uint8:
		return toInts(a)
	case []int8:
		return toInts(a)
	case []uint16:
		return toInts(a)
	case []int16:
		return toInts(a)
	case []uint32:
		return toInts(a)
	case []int32:
		return toInts(a)
	case []uint64:
		return toInts(a)
	case []int64:
		return toInts(a)
	}
	return nil, false
}

func (m *metadata) alignment() uint32 {
	if a, ok := m.values[ggufAlignmentKey].(uint32); ok {
		return a
	}
	return ggufDefaultAlignment
}

func toInt(v any) (int64, bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case int64:
		return v, true
	}
	return 0, false
}

func toInts[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64](a []T) ([]int64, bool) {
	ints := make([]int64, len(a))
	for i, v := range a {
		n, ok := toInt(v)
		if !ok {
			return nil, false
		}
		ints[i] = n
	}
	return ints, true
}

// value reads a metadata value. depth counts the arrays around it: an array may hold arrays, and these no more.
func (d *ggufDecoder) value(t valueType, what string, depth int) any {
	switch t {
	case typeString:
		return d.text(what, math.MaxUint64)
	case typeBool:
		return d.bool(what)
	case typeArray:
		return d.array(what, depth+1)
	case typeUint8:
		return d.bytes(1)[0]
	case typeInt8:
		return int8(d.bytes(1)[0])
	case typeUint16:
		return binary.LittleEndian.Uint16(d.bytes(2))
	case typeInt16:
		return int16(binary.LittleEndian.Uint16(d.bytes(2)))
	case typeUint32:
		return d.uint32()
	case typeInt32:
		return int32(d.uint32())
	case typeFloat32:
		return math.Float32frombits(d.uint32())
	case typeUint64:
		return d.uint64()
	case typeInt64:
		return int64(d.uint64())
	case typeFloat64:
		return math.Float64frombits(d.uint64())
	}
	d.fail("%s has the unknown type %d", what, t)
	return nil
}

func (d *ggufDecoder) bool(what string) bool {
	b := d.bytes(1)[0]
	if b > 1 {
		d.fail("%s is a bool of %d; 0 or 1 is expected", what, b)
	}
	return b == 1
}

// array reads an array: the type of its elements, their number, and they.
func (d *ggufDecoder) array(what string, depth int) any {
	t := valueType(d.uint32())
	if t >= numValueTypes {
		d.fail("%s is an array of the unknown type %d", what, t)
	}
	if t == typeArray && depth > 1 {
		d.fail("%s has arrays nested more than once", what)
	}
	if d.err != nil {
		return nil
	}
	n := d.count("elements of "+what, minBytes[t])
	switch t {
	case typeString:
		return elements(d, n, func() string { return d.text(what, math.MaxUint64) })
	case typeBool:
		return elements(d, n, func() bool { return d.bool(what) })
	case typeArray:
		return elements(d, n, func() any { return d.array(what, depth+1) })
	case typeUint8:
		return d.bytes(n)
	case typeInt8:
		return numbers[int8](d, n)
	case typeUint16:
		return numbers[uint16](d, n)
	case typeInt16:
		return numbers[int16](d, n)
	case typeUint32:
		return numbers[uint32](d, n)
	case typeInt32:
		return numbers[int32](d, n)
	case typeFloat32:
		return numbers[float32](d, n)
	case typeUint64:
		return numbers[uint64](d, n)
	case typeInt64:
		return numbers[int64](d, n)
	default:
		return numbers[float64](d, n)
	}
}

func elements[T any](d *ggufDecoder, n int, read func() T) []T {
	list := make([]T, 0, n)
	for range n {
		v := read()
		if d.err != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

func numbers[T any](d *ggufDecoder, n int) []T {
	list := make([]T, n)
	b := d.bytes(n * binary.Size(list[:min(n, 1)]))
	if d.err != nil {
		return nil
	}
	if _, err := binary.Decode(b, binary.LittleEndian, list); err != nil {
		d.fail("%w", err)
	}
	return list
}
