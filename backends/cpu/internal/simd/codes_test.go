package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// codingFormats are the codings' formats, and where in a block their f16 scales are.
var codingFormats = [codings]struct {
	format tensor.Format
	halves []int
}{
	Q4_0: {tensor.Q4_0, []int{0}}, Q4_1: {tensor.Q4_1, []int{0, 2}},
	Q5_0: {tensor.Q5_0, []int{0}}, Q5_1: {tensor.Q5_1, []int{0, 2}},
	Q4_K: {tensor.Q4_K, []int{0, 2}}, Q5_K: {tensor.Q5_K, []int{0, 2}}, Q6_K: {tensor.Q6_K, []int{208}},
}

// codedRows are random blocks, every code and 8-bit scale among them, with f16 scales of moderate size.
func codedRows(r *rand.Rand, f Coding, rows, k int) (stored [][]byte, values [][]float32) {
	format := codingFormats[f].format
	for range rows {
		b := make([]byte, format.RowBytes(k))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		for at := 0; at < len(b); at += format.BlockBytes() {
			for _, h := range codingFormats[f].halves {
				binary.LittleEndian.PutUint16(b[at+h:], ToF16(float32(r.Float64()-0.4)))
			}
		}
		v := make([]float32, k)
		quant.Decode(format, v, b)
		stored, values = append(stored, b), append(values, v)
	}
	return stored, values
}

func codedKinds() []kind {
	var kinds []kind
	for f := range codings {
		format := codingFormats[f].format
		kinds = append(kinds, kind{format.String(), func(k *Kernels) *Tiles { return &k.Coded[f] }, format.Block(), func(ks *Kernels, r *rand.Rand, rows, tokens, k int) operands {
			o := operands{k: k, x: random(r, tokens, k), wBlock: f.CodeBytes(), sBlock: f.ScaleBytes()}
			o.rows, o.w = codedRows(r, f, rows, k)
			panels(&o, f.PanelBytes(k), func(dst, rows []byte) { ks.PackCodes(f, dst, rows, k) })
			quantized(&o)
			return o
		}})
	}
	return kinds
}

// quantized makes 8-bit blocks of the activations.
func quantized(o *operands) {
	for t, x := range o.x {
		blocks := make([]Q8Block, o.k/Q8Values)
		quantizeQ8Go(blocks, x)
		for b := range blocks {
			for i, q := range blocks[b].Q {
				o.x[t][b*Q8Values+i] = float32(q) * blocks[b].Scale
			}
		}
		o.acts = append(o.acts, unsafe.Slice((*byte)(unsafe.Pointer(&blocks[0])), len(blocks)*Q8BlockBytes)...)
		o.xStride = len(blocks) * Q8BlockBytes
	}
}

// TestCodingRow: what was packed decodes to the bits that package quant gives, for any bytes.
func TestCodingRow(t *testing.T) {
	eachLevel(t, func(t *testing.T, ks *Kernels) {
		r := rand.New(rand.NewPCG(7, 8))
		for f := range codings {
			format := codingFormats[f].format
			for _, k := range []int{format.Block(), 3 * format.Block(), 9 * format.Block()} {
				for _, rows := range []int{1, 15, 16} {
					for range 30 {
						b := make([]byte, rows*format.RowBytes(k))
						for i := range b {
							b[i] = byte(r.Uint32())
						}
						panel, want, have := make([]byte, f.PanelBytes(k)), make([]float32, k), make([]float32, k)
						ks.PackCodes(f, panel, b, k)
						for j := range rows {
							quant.Decode(format, want, b[j*format.RowBytes(k):][:format.RowBytes(k)])
							f.Row(have, panel, j)
							for i := range want {
								if math.Float32bits(have[i]) != math.Float32bits(want[i]) && (have[i] == have[i] || want[i] == want[i]) {
									t.Fatalf("%s, row %d: value %d of %d is %g, want %g", format, j, i, k, have[i], want[i])
								}
							}
						}
					}
				}
			}
		}
	})
}

func BenchmarkPack(b *testing.B) {
	ks, err := For(Best())
	if err != nil {
		b.Fatal(err)
	}
	for f := range codings {
		b.Run(fmt.Sprint(codingFormats[f].format), func(b *testing.B) {
			const k = 1024
			rows := make([]byte, PanelRows*codingFormats[f].format.RowBytes(k))
			panel := make([]byte, f.PanelBytes(k))
			b.SetBytes(int64(len(rows)))
			for b.Loop() {
				ks.PackCodes(f, panel, rows, k)
			}
		})
	}
}
