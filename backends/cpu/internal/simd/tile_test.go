package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// eachLevel runs f for every level of the machine.
func eachLevel(t *testing.T, f func(t *testing.T, k *Kernels)) {
	for _, l := range Levels() {
		k, err := For(l)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(l.String(), func(t *testing.T) { f(t, k) })
	}
}

// fma32 is a·b+c rounded once: the float64 sum is rounded to odd, which makes the second rounding harmless.
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	v := s - p
	rest := (p - (s - v)) + (d - v)
	if bits := math.Float64bits(s); rest != 0 && bits&1 == 0 {
		if (rest > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// operands are random rows in every form that a kernel takes.
type operands struct {
	k       int
	w, x    [][]float32 // what the kernel multiplies, exactly
	rows    [][]byte    // stored weights
	panel   []byte      // all panels
	stride  int
	acts    []byte
	xStride int
	tiles   *Tiles
	kStride int
	wBlock  int // where scales do not lie among the integers
	sBlock  int
	exact   func(w, x []float32) float32 // nil: compare with a tolerance
}

type kind struct {
	name  string
	tiles func(*Kernels) *Tiles
	block int // k is a multiple of it
	make  func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands
}

func random(r *rand.Rand, rows, k int) [][]float32 {
	m := make([][]float32, rows)
	for i := range m {
		m[i] = make([]float32, k)
		for j := range m[i] {
			m[i][j] = float32(r.NormFloat64())
		}
	}
	return m
}

func fmaRow(w, x []float32) float32 {
	s := float32(0)
	for i := range w {
		s = fma32(w[i], x[i], s)
	}
	return s
}

func mulRow(w, x []float32) float32 {
	s := float32(0)
	for i := range w {
		s += float32(w[i] * x[i])
	}
	return s
}

func f32Rows(x [][]float32) ([]byte, int) {
	var b []byte
	for _, r := range x {
		for _, v := range r {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b, 4 * len(x[0])
}

func panels(o *operands, bytes int, pack func(dst, rows []byte)) {
	o.stride = bytes
	n := (len(o.rows) + PanelRows - 1) / PanelRows
	o.panel = make([]byte, n*bytes)
	for i := range o.panel {
		o.panel[i] = 0xff // NaNs: packing must leave none
	}
	for p := range n {
		pack(o.panel[p*bytes:(p+1)*bytes], slices.Concat(o.rows[p*PanelRows:min((p+1)*PanelRows, len(o.rows))]...))
	}
}

func element(size int, encode func(float32) uint32, decode func(uint32) float32) func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
	return func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
		o := operands{k: k, w: random(r, rows, k), x: random(r, tokens, k), kStride: size * PanelRows}
		for _, w := range o.w {
			var b []byte
			for i, v := range w {
				e := encode(v)
				w[i] = decode(e)
				b = append(b, binary.LittleEndian.AppendUint32(nil, e)[:size]...)
			}
			o.rows = append(o.rows, b)
		}
		panels(&o, size*PanelRows*k, func(dst, rows []byte) { ks.PackRows(dst, rows, k, size) })
		o.acts, o.xStride = f32Rows(o.x)
		return o
	}
}

var kinds = append([]kind{
	{"f32", func(k *Kernels) *Tiles { return &k.F32 }, 1, element(4, math.Float32bits, math.Float32frombits)},
	{"f16", func(k *Kernels) *Tiles { return &k.F16 }, 1, element(2, func(v float32) uint32 { return uint32(ToF16(v)) }, func(v uint32) float32 { return F16(uint16(v)) })},
	{"bf16", func(k *Kernels) *Tiles { return &k.BF16 }, 1, element(2, func(v float32) uint32 { return uint32(ToBF16(v)) }, func(v uint32) float32 { return BF16(uint16(v)) })},
	{"pairs", func(k *Kernels) *Tiles { return &k.Pairs }, 1, func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
		o := element(2, func(v float32) uint32 { return uint32(ToBF16(v)) }, func(v uint32) float32 { return BF16(uint16(v)) })(ks, r, rows, tokens, k)
		o.k = (k + 1) &^ 1
		panels(&o, 2*PanelRows*o.k, func(dst, rows []byte) { ks.PackPairs(dst, rows, k) })
		if o.k != k {
			for i := range o.x {
				o.x[i] = append(o.x[i], 0)
			}
			o.acts, o.xStride = f32Rows(o.x)
		}
		return o
	}},
	{"dot", func(k *Kernels) *Tiles { return &k.Dot }, 1, func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
		o := element(2, func(v float32) uint32 { return uint32(ToBF16(v)) }, func(v uint32) float32 { return BF16(uint16(v)) })(ks, r, rows, tokens, k)
		o.k = (k + 1) &^ 1
		panels(&o, 2*PanelRows*o.k, func(dst, rows []byte) { ks.PackPairs(dst, rows, k) })
		o.acts, o.xStride = nil, 2*o.k
		for _, x := range o.x {
			for i, v := range x {
				e := ToBF16(v)
				x[i] = BF16(e)
				o.acts = binary.LittleEndian.AppendUint16(o.acts, e)
			}
			o.acts = append(o.acts, make([]byte, 2*(o.k-k))...)
		}
		return o
	}},
	{"q8", func(k *Kernels) *Tiles { return &k.Q8 }, Q8Values, func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
		o := operands{k: k, w: make([][]float32, rows), x: random(r, tokens, k), wBlock: PanelRows * Q8Values, sBlock: Q8ScaleBytes}
		for j := range rows {
			var b []byte
			for range k / Q8Values {
				d := ToF16(float32(r.Float64() + 0.01))
				b = binary.LittleEndian.AppendUint16(b, d)
				for i := range Q8Values {
					q := int8(r.IntN(256) - 128)
					if i == 0 {
						q = -128 // foreign files may hold it
					}
					b = append(b, byte(q))
					o.w[j] = append(o.w[j], F16(d)*float32(q))
				}
			}
			o.rows = append(o.rows, b)
		}
		panels(&o, Q8PanelBytes(k), func(dst, rows []byte) { ks.PackQ8(dst, rows, k) })
		quantized(&o)
		return o
	}},
}, codedKinds()...)

const guard = float32(12345)

// multiply runs the whole product and checks that nothing around C was written.
func multiply(t *testing.T, tiles *Tiles, o *operands, tokens, p0, p1, t0, t1 int) [][]float32 {
	t.Helper()
	n := len(o.w)
	stride := n + 3
	c := make([]float32, tokens*stride+32)
	for i := range c {
		c[i] = guard
	}
	wBlock := o.wBlock
	if wBlock == 0 {
		wBlock = o.stride / o.k * Q8Values
	}
	m := Matrix{W: unsafe.Pointer(&o.panel[0]), PanelStride: o.stride, Rows: n, K: o.k, KStride: o.kStride,
		X: unsafe.Pointer(&o.acts[0]), XStride: o.xStride,
		WBlock: wBlock, SBlock: o.sBlock, XBlock: o.xStride * Q8Values / o.k, C: unsafe.Pointer(&c[0]), CStride: 4 * stride}
	tiles.Multiply(new(Scratch), &m, p0, p1, t0, t1)
	out := make([][]float32, tokens)
	for i := range tokens {
		out[i] = c[i*stride : i*stride+n]
		for j, v := range c[i*stride+n : (i+1)*stride] {
			if v != guard {
				t.Fatalf("token %d: wrote %d values past the row's end", i, j+1)
			}
		}
	}
	for _, v := range c[tokens*stride:] {
		if v != guard {
			t.Fatal("wrote past the end of C")
		}
	}
	return out
}

// TestTiles compares every kind of kernel with sums in float64 and, where rounding is specified, to the bit.
func TestTiles(t *testing.T) {
	eachLevel(t, func(t *testing.T, ks *Kernels) {
		for _, kind := range kinds {
			tiles := kind.tiles(ks)
			if tiles.Tokens == 0 {
				continue
			}
			for _, rows := range []int{1, 15, 16, 17, 64, 90} {
				for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 33, 128, 300} {
					k = k * kind.block
					if k > 1056 || k == 300 && rows < 64 {
						continue
					}
					r := rand.New(rand.NewPCG(uint64(rows), uint64(k)))
					tokens := 1 + r.IntN(40)
					o := kind.make(ks, r, rows, tokens, k)
					c := multiply(t, tiles, &o, tokens, 0, (rows+PanelRows-1)/PanelRows, 0, tokens)
					for i, x := range o.x {
						for j, w := range o.w {
							want, size := 0.0, 0.0
							for n := range w {
								p := float64(w[n]) * float64(x[n])
								want += p
								size += math.Abs(p)
							}
							got := float64(c[i][j])
							if !(math.Abs(got-want) <= size*1e-6*math.Sqrt(float64(k))) {
								t.Fatalf("%s rows %d k %d tokens %d: C[%d][%d] = %g, want %g", kind.name, rows, k, tokens, i, j, got, want)
							}
							var exact float32
							switch {
							case kind.name == "dot" || o.sBlock > 0:
								continue
							case ks.Level == Portable:
								exact = mulRow(w, x)
							default:
								exact = fmaRow(w, x)
							}
							if c[i][j] != exact {
								t.Fatalf("%s rows %d k %d: C[%d][%d] = %g, to the bit %g", kind.name, rows, k, i, j, c[i][j], exact)
							}
						}
					}
				}
			}
		}
	})
}

// TestGeometry checks that a result's bits do not depend on the tokens and panels computed with it.
func TestGeometry(t *testing.T) {
	eachLevel(t, func(t *testing.T, ks *Kernels) {
		for _, kind := range kinds {
			tiles := kind.tiles(ks)
			if tiles.Tokens == 0 {
				continue
			}
			const rows, tokens = 16*9 + 5, 41
			o := kind.make(ks, rand.New(rand.NewPCG(1, 2)), rows, tokens, (8*kind.block+288)/kind.block*kind.block)
			all := multiply(t, tiles, &o, tokens, 0, 10, 0, tokens)
			step := 1
			if ks.Level == Portable { // slow, and of one geometry
				step = 8
			}
			for count := 1; count <= 33; count += step {
				for panels := 1; panels <= 5; panels++ {
					t0, p0 := (count*7)%(tokens-count), (panels*3)%(10-panels)
					part := multiply(t, tiles, &o, tokens, p0, p0+panels, t0, t0+count)
					for i := range tokens {
						for j := range rows {
							want := all[i][j]
							if i < t0 || i >= t0+count || j/PanelRows < p0 || j/PanelRows >= p0+panels {
								want = guard
							}
							if math.Float32bits(part[i][j]) != math.Float32bits(want) {
								t.Fatalf("%s %d tokens %d panels: C[%d][%d] = %g, want %g", kind.name, count, panels, i, j, part[i][j], want)
							}
						}
					}
				}
			}
		}
	})
}

// TestLevelsAgree: 8-bit and f32-activation kernels fuse alike on AVX2 and AVX-512.
func TestLevelsAgree(t *testing.T) {
	var first map[string][][]float32
	for _, l := range Levels() {
		if l == Portable {
			continue
		}
		ks, err := For(l)
		if err != nil {
			t.Fatal(err)
		}
		now := map[string][][]float32{}
		for _, kind := range kinds {
			if kind.name == "dot" {
				continue
			}
			o := kind.make(ks, rand.New(rand.NewPCG(3, 4)), 40, 7, 5*kind.block)
			now[kind.name] = multiply(t, kind.tiles(ks), &o, 7, 0, 3, 0, 7)
		}
		if first == nil {
			first = now
		}
		if fmt.Sprint(first) != fmt.Sprint(now) {
			t.Errorf("%s differs from AVX2", l)
		}
	}
}

// TestAdd checks tiles that add to C, cut along k, against the whole product: not one bit may differ.
func TestAdd(t *testing.T) {
	eachLevel(t, func(t *testing.T, ks *Kernels) {
		for _, kind := range kinds[:5] {
			tiles := kind.tiles(ks)
			if tiles.Tokens == 0 {
				continue
			}
			const k = 24
			for tokens := 1; tokens <= 9; tokens++ {
				o := kind.make(ks, rand.New(rand.NewPCG(5, uint64(tokens))), 64, tokens, k)
				want := multiply(t, tiles, &o, tokens, 0, 4, 0, tokens)
				c := make([]float32, tokens*64)
				step, size := 8, o.stride/k
				for at := 0; at < k; at += step {
					tile := Tile{X: unsafe.Pointer(&o.acts[at*o.xStride/k]), XStride: o.xStride, C: unsafe.Pointer(&c[0]), CStride: 256, K: step, KStride: o.kStride, Add: at}
					var w []unsafe.Pointer
					for p := range 4 {
						w = append(w, unsafe.Pointer(&o.panel[p*o.stride+at*size]))
					}
					tiles.Call(new(Scratch), tile, w, tokens)
				}
				for i := range tokens {
					for j := range 64 {
						if c[i*64+j] != want[i][j] {
							t.Fatalf("%s %d tokens: C[%d][%d] = %g, want %g", kind.name, tokens, i, j, c[i*64+j], want[i][j])
						}
					}
				}
			}
		}
	})
}
