package tensor_test

import (
	"math"
	"math/big"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/ullm/ullm/tensor"
)

func TestSampleWeightGolden(t *testing.T) {
	inf := float32(math.Inf(1))
	for x, want := range map[float32]uint64{
		0:                   tensor.SampleOne,
		-0x1p-126:           tensor.SampleOne,
		float32(-math.Ln2):  tensor.SampleOne / 2,
		-inf:                0,
		-28.5:               0,
		float32(math.NaN()): 0,
	} {
		if have := tensor.SampleWeight(x); have != want {
			t.Errorf("SampleWeight(%g) = %d, want %d", x, have, want)
		}
	}
	// The polynomial's own bits, which no backend may change; from the same steps in numpy's float32.
	for x, want := range map[float32]uint64{-0.1: 994879275008, -1: 404487733248, -2.5: 90253410304, -10: 49917752, -20: 2266, -28: 1} {
		if have := tensor.SampleWeight(x); have != want {
			t.Errorf("SampleWeight(%g) = %d, want %d", x, have, want)
		}
	}
}

func TestSampleWeightIsExp(t *testing.T) {
	for i := range 300000 {
		x := float32(-float64(i) * 29 / 300000)
		want := math.Exp(float64(x)) * tensor.SampleOne
		// The polynomial, the rounding of t = x·log₂e (24 bits of up to 41), and rounding to an integer.
		allowed := want*(0x1p-21+math.Abs(float64(x))*0x1p-22) + 0.5
		if have := float64(tensor.SampleWeight(x)); math.Abs(have-want) > allowed {
			t.Fatalf("SampleWeight(%g) = %g, want %g ± %g", x, have, want, allowed)
		}
	}
}

// philox is Philox4x32 with 10 rounds, written from the paper, for any counter.
func philox(c [4]uint32, k [2]uint32) [4]uint32 {
	for i := range 10 {
		if i > 0 {
			k[0] += 0x9E3779B9
			k[1] += 0xBB67AE85
		}
		p0, p1 := uint64(0xD2511F53)*uint64(c[0]), uint64(0xCD9E8D57)*uint64(c[2])
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k[0], uint32(p1), uint32(p0>>32) ^ c[3] ^ k[1], uint32(p0)}
	}
	return c
}

func TestDrawBitsIsPhilox(t *testing.T) {
	// The known-answer vectors that come with Random123, the authors' library.
	for _, v := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32}, [2]uint32{math.MaxUint32, math.MaxUint32},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if have := philox(v.counter, v.key); have != v.want {
			t.Fatalf("the test's own Philox: %x, want %x", have, v.want)
		}
	}
	if have := tensor.DrawBits(0, 0, 0); have != 0xe169c58d6627e8d5 {
		t.Errorf("DrawBits(0, 0, 0) = %x", have)
	}
	rapid.Check(t, func(t *rapid.T) {
		seed, choice, position := rapid.Uint64().Draw(t, "seed"), rapid.Uint32().Draw(t, "choice"), rapid.Int32().Draw(t, "position")
		w := philox([4]uint32{uint32(position), choice}, [2]uint32{uint32(seed), uint32(seed >> 32)})
		if have, want := tensor.DrawBits(seed, choice, position), uint64(w[0])|uint64(w[1])<<32; have != want {
			t.Fatalf("DrawBits = %x, want %x", have, want)
		}
		sum := rapid.Uint64().Draw(t, "sum")
		hi, _ := bits.Mul64(tensor.DrawBits(seed, choice, position), sum)
		if have := tensor.Draw(seed, choice, position, sum); have != hi || sum > 0 && have >= sum {
			t.Fatalf("Draw = %d of %d, want %d", have, sum, hi)
		}
	})
}

// ceilProduct is ceil(p · n) without rounding.
func ceilProduct(p float32, n uint64) uint64 {
	x := new(big.Rat).SetFloat64(float64(p))
	x.Mul(x, new(big.Rat).SetInt(new(big.Int).SetUint64(n)))
	q, r := new(big.Int).QuoRem(x.Num(), x.Denom(), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Uint64()
}

func TestThresholdsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.Float32Range(0x1p-39, 1).Draw(t, "p")
		sum := rapid.Uint64Range(0, 1<<62).Draw(t, "sum")
		if have, want := tensor.TopPSum(p, sum), ceilProduct(p, sum); have != want {
			t.Fatalf("TopPSum(%g, %d) = %d, want %d", p, sum, have, want)
		}
		p = rapid.Float32Range(0, 1).Draw(t, "min p")
		if have, want := tensor.MinPWeight(p), ceilProduct(p, tensor.SampleOne); have != want {
			t.Fatalf("MinPWeight(%g) = %d, want %d", p, have, want)
		}
	})
	nan := float32(math.NaN())
	for _, c := range []struct {
		p         float32
		sum, want uint64
	}{{1, 77, 77}, {2, 77, 77}, {nan, 77, 77}, {0, 77, 0}, {-1, 77, 0}, {1e-40, 77, 1}, {1e-20, 1 << 57, 1}, {0.5, 0, 0}} {
		if have := tensor.TopPSum(c.p, c.sum); have != c.want {
			t.Errorf("TopPSum(%g, %d) = %d, want %d", c.p, c.sum, have, c.want)
		}
	}
	for p, want := range map[float32]uint64{nan: 0, -1: 0, 0: 0, 1: tensor.SampleOne, 7: tensor.SampleOne, 1e-40: 1} {
		if have := tensor.MinPWeight(p); have != want {
			t.Errorf("MinPWeight(%g) = %d, want %d", p, have, want)
		}
	}
}
