package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// Every value comes back within half a quantisation step of its block, plus what rounding the block's scale and minimum
// to binary16 can add.
func TestRoundTripError(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	// The step as a part of the block's range or largest magnitude, and how many steps an error may reach: the value
	// opposite in sign to the largest magnitude clips at one step in Q4_0 and Q5_0.
	for _, c := range []struct {
		f     tensor.Format
		step  func(x []float32) float64
		steps float64
	}{
		{tensor.Q8_0, func(x []float32) float64 { return float64(maxAbs(x)) / 127 }, 0.5},
		{tensor.Q4_0, func(x []float32) float64 { return float64(maxAbs(x)) / 8 }, 1},
		{tensor.Q5_0, func(x []float32) float64 { return float64(maxAbs(x)) / 16 }, 1},
		{tensor.Q4_1, func(x []float32) float64 { low, high := extremes(x); return float64(high-low) / 15 }, 0.5},
		{tensor.Q5_1, func(x []float32) float64 { low, high := extremes(x); return float64(high-low) / 31 }, 0.5},
	} {
		for range 500 {
			x := gaussian(random, smallBlock, math.Exp2(random.Float64()*16-10))
			y := roundTrip(c.f, x)
			bound := c.step(x)*c.steps + float64(maxAbs(x))*0x1p-10
			for i := range x {
				if diff := math.Abs(float64(x[i] - y[i])); diff > bound {
					t.Fatalf("%v: %g came back as %g, further than %g, in %g", c.f, x[i], y[i], bound, x)
				}
			}
		}
	}
}

// On Gaussian weights the error of each format is the known one: K-quants' search must earn its keep.
func TestGaussianError(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	x := gaussian(random, 400*superBlock, 0.02)
	for f, most := range map[tensor.Format]float64{ // root mean square error by that of the weights
		tensor.F16: 0.00023, tensor.BF16: 0.0018, tensor.Q8_0: 0.0056,
		tensor.Q6_K: 0.018, tensor.Q5_K: 0.037, tensor.Q5_1: 0.039, tensor.Q5_0: 0.045,
		tensor.Q4_K: 0.076, tensor.Q4_1: 0.081, tensor.Q4_0: 0.088,
	} {
		y := roundTrip(f, x)
		var err, sum float64
		for i := range x {
			err += float64(x[i]-y[i]) * float64(x[i]-y[i])
			sum += float64(x[i]) * float64(x[i])
		}
		if got := math.Sqrt(err / sum); got > most || got < most*0.8 {
			t.Errorf("%v: relative error %.5f, expected a little under %.5f", f, got, most)
		}
	}
}

// What Encode stores of a decoded block is what Decode read, for the formats that lose nothing the second time.
func TestFloatsSurvive(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for _, f := range []tensor.Format{tensor.F32, tensor.F16, tensor.BF16} {
		stored := make([]byte, f.RowBytes(4096))
		for i := range stored {
			stored[i] = byte(random.Uint32())
		}
		values := make([]float32, 4096)
		Decode(f, values, stored)
		again := make([]byte, len(stored))
		Encode(f, again, values)
		for i := range values {
			if values[i] == values[i] && !bytes.Equal(stored[i*f.BlockBytes():][:f.BlockBytes()], again[i*f.BlockBytes():][:f.BlockBytes()]) {
				t.Fatalf("%v: value %d, %g, was stored differently", f, i, values[i])
			}
		}
	}
}

// Any bytes decode, and any values encode to blocks that do not depend on their neighbours.
func FuzzBlocks(f *testing.F) {
	f.Add(uint8(0), []byte{})
	f.Add(uint8(4), []byte{0xff, 0x7f, 0x80, 0x7f, 0, 0, 0xc0, 0xff, 1, 0, 0, 0x80, 0xff, 0xff, 0x7f, 0x7f})
	for i := range tensor.WeightFormats() {
		f.Add(uint8(i), bytes.Repeat([]byte{0x9a, 0x99, 0x7e, 0x3f, 0xcd, 0xcc, 0x4c, 0xbf}, 64))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		formats := tensor.WeightFormats()
		format := formats[int(which)%len(formats)]
		block, size := format.Block(), format.BlockBytes()

		blocks := len(data) / size
		values := make([]float32, blocks*block)
		Decode(format, values, data[:blocks*size])

		values = floats(data)
		blocks = len(values) / block
		stored := make([]byte, blocks*size)
		Encode(format, stored, values[:blocks*block])
		for b := range blocks {
			one := make([]byte, size)
			Encode(format, one, values[b*block:][:block])
			if !bytes.Equal(one, stored[b*size:][:size]) {
				t.Fatalf("%v: block %d differs when encoded alone", format, b)
			}
		}
		Decode(format, values[:blocks*block], stored)
	})
}

func BenchmarkDecode(b *testing.B) {
	x := gaussian(rand.New(rand.NewPCG(1, 2)), 4096, 0.02)
	for _, f := range tensor.WeightFormats() {
		b.Run(f.String(), func(b *testing.B) {
			stored := make([]byte, f.RowBytes(len(x)))
			Encode(f, stored, x)
			y := make([]float32, len(x))
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				Decode(f, y, stored)
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	x := gaussian(rand.New(rand.NewPCG(1, 2)), 4096, 0.02)
	for _, f := range tensor.WeightFormats() {
		b.Run(f.String(), func(b *testing.B) {
			stored := make([]byte, f.RowBytes(len(x)))
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				Encode(f, stored, x)
			}
		})
	}
}

func gaussian(random *rand.Rand, n int, scale float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64() * scale)
	}
	return x
}

func roundTrip(f tensor.Format, x []float32) []float32 {
	stored := make([]byte, f.RowBytes(len(x)))
	Encode(f, stored, x)
	y := make([]float32, len(x))
	Decode(f, y, stored)
	return y
}
