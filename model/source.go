package model

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// Checkpoint is where a model's tensors come from: files, a file inside the binary, or a random generator.
type Checkpoint interface {
	// Lookup finds a tensor by its Hugging Face name.
	Lookup(name string) (TensorInfo, bool)
	// Rows hands rows [first, first+n) of a tensor to use, as stored; the slice is valid inside use only. Safe for
	// concurrent calls.
	Rows(name string, first, n int, use func(rows []byte) error) error
	Close() error
}

// RopeRole is the role of the table of rotations, which no checkpoint stores.
const RopeRole = "rope"

// joinNames and splitNames pack the names of vectors that are uploaded as one row.
func joinNames(parts []tensor.Part) string {
	var names []string
	for _, p := range parts {
		names = append(names, p.Name)
	}
	return strings.Join(names, "+")
}

func splitNames(name string) []string { return strings.Split(name, "+") }

// storedSource streams a weight's parts as the checkpoint stores them.
type storedSource struct {
	c    Checkpoint
	spec tensor.WeightSpec
}

func (s storedSource) Rows(part, first, n int, use func([]byte) error) error {
	return s.c.Rows(s.spec.Parts[part].Name, first, n, use)
}

// vectorSource makes one row of f32 of the named vectors, whatever float format they are stored in.
type vectorSource struct {
	c    Checkpoint
	spec tensor.WeightSpec
}

func (s vectorSource) Rows(part, first, n int, use func([]byte) error) error {
	row := make([]float32, 0, s.spec.Cols)
	for _, name := range splitNames(s.spec.Parts[0].Name) {
		info, _ := s.c.Lookup(name)
		err := s.c.Rows(name, 0, 1, func(stored []byte) error {
			at := len(row)
			row = row[:at+info.Cols]
			quant.Decode(info.Format, row[at:], stored)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return use(f32Bytes(row))
}

// ropeSource computes the table of rotations: row p holds the cosines of the HeadDim/2 angles p·invFreq and then their
// sines, both times the attention factor. Angles are products in f32, as transformers' Qwen3RotaryEmbedding has them.
type ropeSource struct {
	inv    []float64
	factor float64
}

func newRopeSource(c Config) ropeSource {
	inv, factor := c.InvFreq()
	return ropeSource{inv, factor}
}

func (s ropeSource) Rows(part, first, n int, use func([]byte) error) error {
	half := len(s.inv)
	table := make([]float32, n*2*half)
	for i := range n {
		row := table[i*2*half:][:2*half]
		for j, f := range s.inv {
			sin, cos := math.Sincos(float64(float32(first+i) * float32(f)))
			row[j], row[half+j] = float32(cos*s.factor), float32(sin*s.factor)
		}
	}
	return use(f32Bytes(table))
}

func f32Bytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// SourceOf finds how a weight of a role is read from a checkpoint.
func SourceOf(c Checkpoint, cfg Config, role string, spec tensor.WeightSpec) (tensor.Source, error) {
	if role == RopeRole {
		return newRopeSource(cfg), nil
	}
	if spec.Rows() == 1 && spec.Format == tensor.F32 {
		for _, name := range splitNames(spec.Parts[0].Name) {
			if _, ok := c.Lookup(name); !ok {
				return nil, fmt.Errorf("model: the checkpoint has no tensor %s", name)
			}
		}
		return vectorSource{c, spec}, nil
	}
	return storedSource{c, spec}, nil
}
