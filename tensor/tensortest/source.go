package tensortest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// Source is a weight in memory.
type Source struct {
	Spec tensor.WeightSpec
	Data []byte // all parts' rows, one after the other
}

// RandomSource fills a weight with normally distributed values of standard deviation 1/sqrt(Cols), rounded to its format.
// The same spec and seed give the same bytes.
func RandomSource(spec tensor.WeightSpec, seed uint64) *Source {
	return SourceOf(spec, Normal(spec.Rows()*spec.Cols, 1/math.Sqrt(float64(spec.Cols)), seed))
}

// SourceOf rounds values to the weight's format.
func SourceOf(spec tensor.WeightSpec, values []float32) *Source {
	s := &Source{spec, make([]byte, spec.Bytes())}
	quant.Encode(spec.Format, s.Data, values)
	return s
}

// Rows implements tensor.Source.
func (s *Source) Rows(part, first, n int, use func(rows []byte) error) error {
	for _, p := range s.Spec.Parts[:part] {
		first += p.Rows
	}
	row := s.Spec.Format.RowBytes(s.Spec.Cols)
	return use(s.Data[first*row : (first+n)*row])
}

// Values are the decoded values, row by row.
func (s *Source) Values() []float32 {
	v := make([]float32, s.Spec.Rows()*s.Spec.Cols)
	quant.Decode(s.Spec.Format, v, s.Data)
	return v
}

// Spec is a weight of one part for each number of rows.
func Spec(name string, f tensor.Format, cols int, rows ...int) tensor.WeightSpec {
	w := tensor.WeightSpec{Name: name, Format: f, Cols: cols}
	for i, r := range rows {
		w.Parts = append(w.Parts, tensor.Part{Name: name + "." + string(rune('a'+i)), Rows: r})
	}
	return w
}

// read adds readers to a spec.
func read(w tensor.WeightSpec, ops ...tensor.Op) tensor.WeightSpec {
	w.Readers = ops
	return w
}

// Normal draws n values of a normal distribution around 0.
func Normal(n int, deviation float64, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * deviation)
	}
	return v
}

// block builds a step block or a state from words.
type block []byte

func (b *block) floats(v ...float32) *block {
	for _, x := range v {
		*b = binary.LittleEndian.AppendUint32(*b, math.Float32bits(x))
	}
	return b
}

func (b *block) ints(v ...int32) *block {
	for _, x := range v {
		*b = binary.LittleEndian.AppendUint32(*b, uint32(x))
	}
	return b
}

// nan appends n words that are NaN as f32 and -1 as i32: what lies beyond the live rows.
func (b *block) nan(n int) *block {
	for range n {
		*b = binary.LittleEndian.AppendUint32(*b, math.MaxUint32)
	}
	return b
}

func floatsOf(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
