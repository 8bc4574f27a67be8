package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// TestDecode: the vector decoders give what package quant gives, bit for bit, for any bytes.
func TestDecode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, l := range simd.Levels() {
		k, err := simd.For(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tensor.WeightFormats() {
			const values = 512
			src, have, want := make([]byte, f.RowBytes(values)), make([]float32, values), make([]float32, values)
			for range 300 {
				for i := range src {
					src[i] = byte(r.Uint32())
				}
				decode(k, f, have, src)
				quant.Decode(f, want, src)
				for i := range want {
					if math.Float32bits(have[i]) != math.Float32bits(want[i]) && (have[i] == have[i] || want[i] == want[i]) {
						t.Fatalf("%s, %s: value %d is %g, want %g", l, f, i, have[i], want[i])
					}
				}
			}
		}
	}
}
