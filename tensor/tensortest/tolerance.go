package tensortest

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
)

// Tolerance is how far a result may be from the reference.
//
// Every element's error is taken relative to its scale: the root of the sum of the squares of the terms that were added
// to make it, which is what the result would be if the terms' signs were random. So a sum that happens to cancel is not
// held to an accuracy that no arithmetic gives, and one that does not is not let off.
type Tolerance struct {
	Op     tensor.Op
	Format tensor.Format // of the weight or the cache; NoFormat: any
	RMS    float64       // root of the mean square of the relative errors of a case
	Max    float64       // the largest of them
	Reason string
}

// tolerances is the suite's table; the first row that fits holds.
//
// Rounding errors of random sign add up as the terms do, so a result has the relative error of its factors whatever the
// length of the sum; Max is what 10⁶ normally distributed errors stay under, with room.
func tolerances() []Tolerance {
	const (
		f32  = 4e-7    // a few roundings of 2⁻²⁴, sums in any order
		bf16 = 2.5e-3  // an operand rounded to 8 bits: uniform in ±2⁻⁹, so 2⁻⁹/√3 = 1.1e-3
		int8 = 1.25e-2 // an operand rounded to max|x|/127 in blocks of 32 to 256: 2.2 to 3σ/254/√3 = 5e-3 to 7e-3
	)
	table := []Tolerance{
		{tensor.OpAddRMSNorm, tensor.NoFormat, f32, 20 * f32, "f32 products and sums"},
		{tensor.OpKeepRows, tensor.NoFormat, f32, 20 * f32, "f32 products and sums"},
		{tensor.OpSample, tensor.NoFormat, 1e-6, 1e-5, "logprobs, relative to 1 + their size: f32 sums over the vocabulary"},
		{tensor.OpSwiGLU, tensor.NoFormat, f32, 20 * f32, "f32 with an exponential of a few last places"},
		// A key that comes out a little different may be rounded to the next value of the cache's format, rarely.
		{tensor.OpQKNormRopeStore, tensor.F32, f32, 20 * f32, "f32 products and sums"},
		{tensor.OpQKNormRopeStore, tensor.F16, 1e-4, 0x1.1p-10, "a step of f16 where rounding falls the other way"},
		{tensor.OpQKNormRopeStore, tensor.BF16, 5e-4, 0x1.1p-7, "a step of bf16 where rounding falls the other way"},
		{tensor.OpQKNormRopeStore, tensor.Q8_0, 5e-4, 1.0 / 120, "a step of q8_0 where rounding falls the other way"},
		{tensor.OpAttention, tensor.F32, 5 * f32, 50 * f32, "f32 products and sums, and an exponential"},
		{tensor.OpAttention, tensor.F16, bf16, 8 * bf16, "queries and probabilities may be rounded to 16 bits"},
		{tensor.OpAttention, tensor.BF16, bf16, 8 * bf16, "queries and probabilities may be rounded to 16 bits"},
		{tensor.OpAttention, tensor.Q8_0, int8, 8 * int8, "queries may be rounded to 8 bits with a scale for each block"},
	}
	for _, op := range []tensor.Op{tensor.OpLinear, tensor.OpLinearSwiGLU} {
		table = append(table,
			Tolerance{op, tensor.F32, 10 * f32, 100 * f32, "f32 products and sums"},
			Tolerance{op, tensor.F16, bf16, 8 * bf16, "activations may be rounded to 16 bits"},
			Tolerance{op, tensor.BF16, bf16, 8 * bf16, "activations may be rounded to 16 bits"},
			Tolerance{op, tensor.NoFormat, int8, 8 * int8, "activations may be rounded to 8 bits with a scale for each block"})
	}
	return table
}

// tolerance finds the row for an operation in a format.
func (s *suite) tolerance(op tensor.Op, f tensor.Format) Tolerance {
	for _, list := range [][]Tolerance{s.config.Tolerances, tolerances()} {
		for _, t := range list {
			if t.Op == op && (t.Format == f || t.Format == tensor.NoFormat) {
				return t
			}
		}
	}
	return Tolerance{Op: op, Format: f, Reason: "exact"}
}

// within compares have with want. Where want is not finite, have must be the same.
func (t Tolerance) within(have, want []float32, scale []float64) error {
	square, worst, at := 0.0, 0.0, 0
	for i, w := range want {
		h := have[i]
		if w64 := float64(w); math.IsNaN(w64) || math.IsInf(w64, 0) {
			if h != w && !(math.IsNaN(w64) && math.IsNaN(float64(h))) {
				return fmt.Errorf("element %d is %g, want %g", i, h, w)
			}
			continue
		}
		e := math.Abs(float64(h) - float64(w))
		if e != 0 {
			e /= scale[i]
		}
		if math.IsNaN(e) {
			return fmt.Errorf("element %d is %g, want %g", i, h, w)
		}
		square += e * e
		if e > worst {
			worst, at = e, i
		}
	}
	rms := math.Sqrt(square / float64(max(1, len(want))))
	if rms > t.RMS || worst > t.Max {
		return fmt.Errorf("error relative to the terms: rms %.3g (allowed %.3g), max %.3g (allowed %.3g) at element %d: %g, want %g; %s",
			rms, t.RMS, worst, t.Max, at, have[at], want[at], t.Reason)
	}
	return nil
}

func sqrt(n int) float64 { return math.Sqrt(float64(n)) }

func floatBits(v float32) uint32 { return math.Float32bits(v) }
