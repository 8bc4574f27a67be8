package weights

import (
	"fmt"
	"reflect"

	"github.com/ullm/ullm/tensor"
)

// The GGUF format is specified in https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. This package reads versions
// 2 and 3, which differ only in that 3 allows big-endian files, and those are refused.
const (
	ggufMagic            = "GGUF"
	ggufDefaultAlignment = 32
	ggufAlignmentKey     = "general.alignment"
	ggufMaxDims          = 4       // GGML_MAX_DIMS
	ggufMaxName          = 1 << 16 // of keys, and here of tensor names too
	// ggufMaxHeader bounds what is read into memory: vocabularies make headers of a few megabytes.
	ggufMaxHeader = 1 << 30
)

// valueType is the type of a metadata value.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
	numValueTypes
)

// minBytes is the least number of bytes that a value of each type takes: counts are checked against it.
var minBytes = [numValueTypes]int64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

// A KV is a metadata key and its value. Values have the Go type of the same name: uint8, int8, uint16, int16, uint32,
// int32, float32, bool, string, uint64, int64, float64. An array is a slice of one of them, such as []string; an array
// of arrays is a []any of such slices.
type KV struct {
	Key   string
	Value any
}

// typeOf is the valueType of a Go value, for an array that of the array and not of its elements.
func typeOf(v any) (valueType, bool) {
	switch v.(type) {
	case uint8:
		return typeUint8, true
	case int8:
		return typeInt8, true
	case uint16:
		return typeUint16, true
	case int16:
		return typeInt16, true
	case uint32:
		return typeUint32, true
	case int32:
		return typeInt32, true
	case float32:
		return typeFloat32, true
	case bool:
		return typeBool, true
	case string:
		return typeString, true
	case uint64:
		return typeUint64, true
	case int64:
		return typeInt64, true
	case float64:
		return typeFloat64, true
	}
	if v != nil && reflect.TypeOf(v).Kind() == reflect.Slice {
		return typeArray, true
	}
	return 0, false
}

// ggmlType is a tensor's storage type in a GGUF file.
type ggmlType struct {
	name   string
	format tensor.Format // NoFormat: refused by name
}

// ggmlTypes are those of ggml.h by number; a hole in the numbers was once a type.
var ggmlTypes = map[uint32]ggmlType{
	0: {"F32", tensor.F32}, 1: {"F16", tensor.F16}, 30: {"BF16", tensor.BF16},
	2: {"Q4_0", tensor.Q4_0}, 3: {"Q4_1", tensor.Q4_1}, 6: {"Q5_0", tensor.Q5_0}, 7: {"Q5_1", tensor.Q5_1},
	8: {"Q8_0", tensor.Q8_0}, 12: {"Q4_K", tensor.Q4_K}, 13: {"Q5_K", tensor.Q5_K}, 14: {"Q6_K", tensor.Q6_K},

	4: {name: "Q4_2"}, 5: {name: "Q4_3"}, 9: {name: "Q8_1"}, 10: {name: "Q2_K"}, 11: {name: "Q3_K"}, 15: {name: "Q8_K"},
	16: {name: "IQ2_XXS"}, 17: {name: "IQ2_XS"}, 18: {name: "IQ3_XXS"}, 19: {name: "IQ1_S"}, 20: {name: "IQ4_NL"},
	21: {name: "IQ3_S"}, 22: {name: "IQ2_S"}, 23: {name: "IQ4_XS"}, 24: {name: "I8"}, 25: {name: "I16"}, 26: {name: "I32"},
	27: {name: "I64"}, 28: {name: "F64"}, 29: {name: "IQ1_M"}, 31: {name: "Q4_0_4_4"}, 32: {name: "Q4_0_4_8"},
	33: {name: "Q4_0_8_8"}, 34: {name: "TQ1_0"}, 35: {name: "TQ2_0"}, 39: {name: "MXFP4"}, 40: {name: "NVFP4"},
	41: {name: "Q1_0"}, 42: {name: "Q2_0"},
}

// ggmlNumber is the number that GGUF files give a format.
func ggmlNumber(f tensor.Format) (uint32, error) {
	for number, t := range ggmlTypes {
		if t.format == f && f != tensor.NoFormat {
			return number, nil
		}
	}
	return 0, fmt.Errorf("GGUF has no format %v; supported: %v", f, tensor.WeightFormats())
}

// alignUp is the next multiple of a power of two.
func alignUp(n, alignment int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }
