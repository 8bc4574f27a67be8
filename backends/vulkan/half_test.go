package vulkan

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/ullm/ullm/tensor/quant"
)

// TestHalves rewrites every bf16 value: what is not too small keeps all its bits, what is too large says which exponent does,
// and that one does.
func TestHalves(t *testing.T) {
	src, dst := make([]byte, 2), make([]byte, 2)
	for v := range 1 << 16 {
		binary.LittleEndian.PutUint16(src, uint16(v))
		want := float64(quant.BF16ToF32(uint16(v)))
		exponent := halfExponent
		err := halves(dst, src, exponent)
		var big *tooLarge
		if errors.As(err, &big) {
			if math.Abs(want) < 255 {
				t.Fatalf("%g is too large", want)
			}
			exponent = big.exponent
			err = halves(dst, src, exponent)
		}
		if err != nil {
			t.Fatalf("%g: %v", want, err)
		}
		have := math.Ldexp(float64(quant.F16ToF32(binary.LittleEndian.Uint16(dst))), -exponent)
		switch {
		case math.IsNaN(want):
			if !math.IsNaN(have) {
				t.Fatalf("%#04x is no NaN but %g", v, have)
			}
		case have != want && math.Abs(want) >= 1./(1<<25) || math.Abs(have-want) > 1./(1<<33):
			t.Fatalf("%g became %g", want, have)
		}
	}
}
