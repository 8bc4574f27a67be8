package quant

import (
	"math"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// Every binary16 number survives widening and rounding back, NaNs as NaNs.
func TestF16RoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := F16ToF32(uint16(h))
		back := F32ToF16(f)
		if f != f {
			if h&0x7c00 != 0x7c00 || h&0x3ff == 0 || back&0x7fff != 0x7e00 {
				t.Fatalf("%#04x: widened to NaN, rounded to %#04x", h, back)
			}
			continue
		}
		if back != uint16(h) {
			t.Fatalf("%#04x: widened to %g, rounded to %#04x", h, f, back)
		}
	}
}

// F32ToF16 gives the nearest of the neighbouring binary16 numbers, ties to even: every midpoint and both its float32
// neighbours are tried.
func TestF32ToF16Nearest(t *testing.T) {
	for h := range 0x7c00 {
		low := float64(F16ToF32(uint16(h)))
		high := low + low - float64(F16ToF32(uint16(max(h, 1)-1))) // the step above 65504 is that below it
		if h < 0x7bff {
			high = float64(F16ToF32(uint16(h + 1)))
		}
		middle := float32((low + high) / 2)
		tie := uint16(h + h&1)
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{math.Nextafter32(middle, 0), uint16(h)},
			{middle, tie},
			{math.Nextafter32(middle, float32(math.Inf(1))), uint16(h + 1)},
		} {
			if got := F32ToF16(c.f); got != c.want {
				t.Fatalf("F32ToF16(%g) = %#04x, want %#04x", c.f, got, c.want)
			}
			if got := F32ToF16(-c.f); got != c.want|0x8000 {
				t.Fatalf("F32ToF16(%g) = %#04x, want %#04x", -c.f, got, c.want|0x8000)
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for h := range 1 << 16 {
		f := BF16ToF32(uint16(h))
		back := F32ToBF16(f)
		if f != f {
			if back != uint16(h)|0x40 {
				t.Fatalf("%#04x: NaN rounded to %#04x", h, back)
			}
		} else if back != uint16(h) {
			t.Fatalf("%#04x: widened to %g, rounded to %#04x", h, f, back)
		}
	}
	for _, c := range []struct{ bits, want uint32 }{
		{0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82}, // tie to even, above, tie to even
		{0x7f7fffff, 0x7f80}, {0x7f7f7fff, 0x7f7f}, {0x00008000, 0x0000}, {0x00008001, 0x0001},
		{0x7f800001, 0x7fc0}, {0xff800001, 0xffc0},
	} {
		if got := F32ToBF16(math.Float32frombits(c.bits)); got != uint16(c.want) {
			t.Errorf("F32ToBF16(%#08x) = %#04x, want %#04x", c.bits, got, c.want)
		}
	}
}

func TestLengthsAreChecked(t *testing.T) {
	for _, f := range tensor.WeightFormats() {
		for _, c := range []struct{ values, bytes int }{{f.Block(), f.BlockBytes() - 1}, {f.Block(), f.BlockBytes() + 1}, {f.Block() + 1, f.BlockBytes()}} {
			mustPanic(t, func() { Decode(f, make([]float32, c.values), make([]byte, c.bytes)) })
			mustPanic(t, func() { Encode(f, make([]byte, c.bytes), make([]float32, c.values)) })
		}
	}
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic on a broken length")
		}
	}()
	f()
}
