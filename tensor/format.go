package tensor

import "fmt"

// Format is how the values of a weight, a state or an activation are stored.
// A block format packs Block consecutive values of a row into Bytes bytes; its byte layout is the one GGUF files use.
type Format uint8

// The formats. The zero Format is invalid, so that a forgotten field is noticed.
const (
	NoFormat Format = iota
	F32
	F16
	BF16
	Q8_0
	Q4_0
	Q4_1
	Q5_0
	Q5_1
	Q4_K
	Q5_K
	Q6_K
	I32 // token ids, positions, page numbers
	numFormats
)

type formatRow struct {
	name  string
	block int // values per block
	bytes int // bytes per block
}

var formats = [numFormats]formatRow{
	NoFormat: {"none", 1, 0},
	F32:      {"f32", 1, 4},
	F16:      {"f16", 1, 2},
	BF16:     {"bf16", 1, 2},
	Q8_0:     {"q8_0", 32, 34},
	Q4_0:     {"q4_0", 32, 18},
	Q4_1:     {"q4_1", 32, 20},
	Q5_0:     {"q5_0", 32, 22},
	Q5_1:     {"q5_1", 32, 24},
	Q4_K:     {"q4_k", 256, 144},
	Q5_K:     {"q5_k", 256, 176},
	Q6_K:     {"q6_k", 256, 210},
	I32:      {"i32", 1, 4},
}

// WeightFormats are the formats a weight can have, in the order of this package's table.
func WeightFormats() []Format {
	return []Format{F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K}
}

// String is the format's lower-case name, as command lines and GGUF tools spell it.
func (f Format) String() string {
	if f >= numFormats {
		return fmt.Sprintf("format(%d)", uint8(f))
	}
	return formats[f].name
}

// Block is the number of consecutive values that share one block.
func (f Format) Block() int { return formats[f].block }

// BlockBytes is the size of one block in bytes.
func (f Format) BlockBytes() int { return formats[f].bytes }

// Quantized tells whether blocks carry integers with a scale.
func (f Format) Quantized() bool { return formats[f].block > 1 }

// RowBytes is the size in bytes of a row of n values; n must be a multiple of Block.
func (f Format) RowBytes(n int) int { return n / formats[f].block * formats[f].bytes }

// ParseFormat finds a format by its name.
func ParseFormat(name string) (Format, error) {
	for f := F32; f < numFormats; f++ {
		if formats[f].name == name {
			return f, nil
		}
	}
	return NoFormat, fmt.Errorf("tensor: unknown format %q; use one of %v", name, WeightFormats())
}
