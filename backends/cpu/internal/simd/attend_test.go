package simd

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// cachePages makes pages of keys or values in a format, in an order of their own among others, and what they hold as f32,
// position by position.
func cachePages(r *rand.Rand, f CacheFormat, keys bool, count, dim int) (*Pages, [][]float32) {
	p := &Pages{Format: f, Dim: dim, Width: (dim + PanelRows - 1) / PanelRows * PanelRows}
	p.Buffer = make([]float32, PageTokens*p.Width+count*PageTokens*dim/Q8Values)
	size := f.bytes()
	bytes := PageTokens * p.Width * size
	if p.Scales = bytes; f == CacheQ8 {
		bytes += PageTokens * dim / Q8Values * 2
	}
	values := random(r, count*PageTokens, dim)
	for page := range count {
		b := make([]byte, bytes)
		for t := range PageTokens {
			row := values[page*PageTokens+t]
			for d, v := range row {
				at := t*p.Width + d
				if keys {
					at = d*PageTokens + t
				}
				switch f {
				case CacheF32:
					binary.LittleEndian.PutUint32(b[4*at:], math.Float32bits(v))
				case CacheF16:
					binary.LittleEndian.PutUint16(b[2*at:], ToF16(v))
					row[d] = F16(ToF16(v))
				case CacheBF16:
					binary.LittleEndian.PutUint16(b[2*at:], ToBF16(v))
					row[d] = BF16(ToBF16(v))
				case CacheQ8:
					scale := ToF16(float32(t+d/Q8Values+1) / 64)
					b[at] = byte(int8(v * 30))
					row[d] = float32(int8(v*30)) * F16(scale)
					at = t*dim/Q8Values + d/Q8Values
					if keys {
						at = d/Q8Values*PageTokens + t
					}
					binary.LittleEndian.PutUint16(b[p.Scales+2*at:], scale)
				}
			}
		}
		p.At = append(p.At, unsafe.Pointer(&b[0]))
	}
	p.Next = slices.Clone(p.At)
	slices.Reverse(p.Next)
	return p, values
}

// TestPages: kernels that read a cache where it lies sum what the tiles sum on widened pages, to the bit, and write nothing
// else; and both are the products.
func TestPages(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(5, 6))
		s := new(Scratch)
		for f := range cacheFormats {
			for _, dim := range []int{32, 64, 96, 128} {
				for rows := 1; rows <= 17; rows += 1 + rows/9 {
					testPages(t, k, s, r, f, dim, rows, 1+r.IntN(9))
				}
			}
		}
		testPages(t, k, s, r, CacheF16, 6, 3, 5) // a dimension that is no whole round
		testPages(t, k, s, r, CacheF32, 13, 4, 2)
	})
}

func testPages(t *testing.T, k *Kernels, s *Scratch, r *rand.Rand, f CacheFormat, dim, rows, count int) {
	t.Helper()
	const mark = 123.5
	guarded := func(rows, cols int) ([]float32, Block) {
		b := make([]float32, rows*(cols+PanelRows))
		for i := range b {
			b[i] = mark
		}
		return b, Block{unsafe.Pointer(&b[0]), 4 * (cols + PanelRows)}
	}
	compare := func(what string, got, want []float32, cols int, exact func(row, col int) float64) {
		t.Helper()
		for i, v := range got {
			row, col := i/(cols+PanelRows), i%(cols+PanelRows)
			if v != want[i] {
				t.Fatalf("%s: format %d, dimension %d, %d rows, %d pages: row %d, %d is %g, on widened pages %g", what, f, dim, rows, count, row, col, v, want[i])
			}
			if col < cols {
				if e := exact(row, col); math.Abs(float64(v)-e) > 1e-4*(1+math.Abs(e)) {
					t.Fatalf("%s: format %d, dimension %d: row %d, %d is %g, want %g", what, f, dim, row, col, v, e)
				}
			} else if v != mark {
				t.Fatalf("%s: format %d, dimension %d, %d rows: wrote behind row %d", what, f, dim, rows, row)
			}
		}
	}

	p, keys := cachePages(r, f, true, count, dim)
	x := random(r, rows, dim)
	xs := slices.Concat(x...)
	q := Block{unsafe.Pointer(&xs[0]), 4 * dim}
	cols := count * PageTokens
	got, c := guarded(rows, cols)
	k.Keys(s, p, q, c, rows)
	wide := make([]float32, cols*dim)
	for i := range count {
		k.WidenKeys(p, i, wide[i*PageTokens*dim:][:PageTokens*dim])
	}
	want, c := guarded(rows, cols)
	k.F32.Multiply(s, &Matrix{W: unsafe.Pointer(&wide[0]), PanelStride: 4 * PageTokens * dim, Rows: cols, K: dim, KStride: 4 * PageTokens,
		X: q.At, XStride: q.Stride, C: c.At, CStride: c.Stride}, 0, count, 0, rows)
	compare("Keys", got, want, cols, func(row, col int) (e float64) {
		for i, v := range x[row] {
			e += float64(v) * float64(keys[col][i])
		}
		return e
	})

	p, values := cachePages(r, f, false, count, dim)
	n := cols - r.IntN(PageTokens)
	w := random(r, rows, cols)
	ws := slices.Concat(w...)
	weights := Block{unsafe.Pointer(&ws[0]), 4 * cols}
	got, c = guarded(rows, p.Width)
	k.Values(s, p, n, weights, c, rows)
	wide = make([]float32, cols*p.Width)
	for i := range count {
		k.WidenValues(p, i, wide[i*PageTokens*p.Width:][:PageTokens*p.Width])
	}
	want, c = guarded(rows, p.Width)
	k.F32.Multiply(s, &Matrix{W: unsafe.Pointer(&wide[0]), PanelStride: 4 * PanelRows, Rows: p.Width, K: n, KStride: 4 * p.Width,
		X: weights.At, XStride: weights.Stride, C: c.At, CStride: c.Stride}, 0, p.Width/PanelRows, 0, rows)
	compare("Values", got, want, p.Width, func(row, col int) (e float64) {
		for i, v := range w[row][:n] {
			if col < dim {
				e += float64(v) * float64(values[i][col])
			}
		}
		return e
	})
}

// TestSoftmax: weights, peak and sum are right to a few roundings, and depend on nothing behind the row's end.
func TestSoftmax(t *testing.T) {
	eachLevel(t, func(t *testing.T, k *Kernels) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := 1; n <= 256; n += 1 + n/9 {
			x := values(r, n)
			if n > 20 {
				x[n/2] = -300
			}
			for _, padded := range []int{(n + 15) / 16 * 16, 272} {
				got := make([]float32, padded)
				for i := range got {
					got[i] = float32(math.NaN())
				}
				copy(got, x)
				peak, total := k.Softmax(got, n)
				if want := maxOfGo(x); peak != want {
					t.Fatalf("peak of %d: %g, want %g", n, peak, want)
				}
				sum := 0.0
				for i, v := range got {
					e := 0.0
					if i < n {
						e = math.Exp(float64(x[i] - peak))
					}
					if math.Abs(float64(v)-e) > 3e-7*e+1e-38 {
						t.Fatalf("weight %d of %d: %g, want %g", i, n, v, e)
					}
					sum += float64(v)
				}
				if math.Abs(float64(total)-sum) > 1e-6*sum {
					t.Fatalf("sum of %d: %g, want %g", n, total, sum)
				}
				if padded == 272 {
					short := slices.Clone(x)
					short = append(short, make([]float32, (n+15)/16*16-n)...)
					if _, again := k.Softmax(short, n); again != total {
						t.Fatalf("sum of %d: %g in a row of %d, %g in one of %d", n, total, padded, again, len(short))
					}
				}
			}
		}
		x := make([]float32, 16)
		x[3] = float32(math.NaN())
		if k.Softmax(x, 16); x[3] == x[3] {
			t.Error("a score that is no number has a weight")
		}
	})
}

// TestPageOffsets: the assembly knows pageCall by these offsets.
func TestPageOffsets(t *testing.T) {
	var c pageCall
	for i, o := range []uintptr{unsafe.Offsetof(c.w), unsafe.Offsetof(c.next), unsafe.Offsetof(c.s), unsafe.Offsetof(c.sStride), unsafe.Offsetof(c.x),
		unsafe.Offsetof(c.xStride), unsafe.Offsetof(c.c), unsafe.Offsetof(c.cStride), unsafe.Offsetof(c.k), unsafe.Offsetof(c.kStride),
		unsafe.Offsetof(c.scales), unsafe.Offsetof(c.at)} {
		if want := []uintptr{0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88}[i]; o != want {
			t.Errorf("field %d lies at %d, the generator thinks %d", i, o, want)
		}
	}
}
