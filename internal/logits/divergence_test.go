package logits

import (
	"math"
	"testing"
)

func TestDivergence(t *testing.T) {
	// p = (½, ¼, ¼), q = (¼, ½, ¼): ½·ln 2 − ¼·ln 2.
	p := []float32{float32(math.Log(2)), 0, 0}
	q := []float32{7, 7 + float32(math.Log(2)), 7}
	if have, want := Divergence(p, q), math.Ln2/4; math.Abs(have-want) > 1e-7 {
		t.Errorf("%g, want %g", have, want)
	}
	if have := Divergence(q, q); have != 0 {
		t.Errorf("%g of a distribution from itself", have)
	}
	if have := Divergence([]float32{800, -800}, []float32{700, -800}); have < 0 || have > 1e-12 {
		t.Errorf("%g with large logits, want 0", have)
	}
}
