package simd

import (
	"fmt"
	"testing"
	"unsafe"
)

// BenchmarkTiles multiplies a matrix larger than the caches by one and more tokens on one thread.
func BenchmarkTiles(b *testing.B) {
	const rows, k = 16384, 1024
	for _, l := range Levels() {
		ks, err := For(l)
		if err != nil {
			b.Fatal(err)
		}
		type operands struct {
			name          string
			tiles         *Tiles
			panel, xBytes int
			kStride       int
			wBlock        int
			sBlock        int
		}
		const xBlocks = k / Q8Values * Q8BlockBytes
		cases := []operands{{"f32", &ks.F32, 64 * k, 4 * k, 64, 64 * Q8Values, 0}, {"bf16", &ks.BF16, 32 * k, 4 * k, 32, 32 * Q8Values, 0}, {"pairs", &ks.Pairs, 32 * k, 4 * k, 0, 32 * Q8Values, 0}, {"dot", &ks.Dot, 32 * k, 2 * k, 0, 32 * Q8Values, 0},
			{"q8", &ks.Q8, Q8PanelBytes(k), xBlocks, 0, PanelRows * Q8Values, Q8ScaleBytes}}
		for f := range codings {
			cases = append(cases, operands{codingFormats[f].format.String(), &ks.Coded[f], f.PanelBytes(k), xBlocks, 0, f.CodeBytes(), f.ScaleBytes()})
		}
		for _, c := range cases {
			if c.tiles.Tokens == 0 || l == Portable {
				continue
			}
			w := make([]byte, c.panel*rows/PanelRows)
			for _, tokens := range []int{1, 2, 4, 8, 32, 128} {
				x, y := make([]byte, c.xBytes*tokens), make([]float32, rows*tokens)
				m := Matrix{W: unsafe.Pointer(&w[0]), PanelStride: c.panel, Rows: rows, K: k, KStride: c.kStride,
					X: unsafe.Pointer(&x[0]), XStride: c.xBytes,
					WBlock: c.wBlock, SBlock: c.sBlock, XBlock: c.xBytes * Q8Values / k, C: unsafe.Pointer(&y[0]), CStride: 4 * rows}
				b.Run(fmt.Sprintf("%s/%s/%d", l, c.name, tokens), func(b *testing.B) {
					s := new(Scratch)
					b.SetBytes(int64(len(w)))
					for b.Loop() {
						c.tiles.Multiply(s, &m, 0, rows/PanelRows, 0, tokens)
					}
					b.ReportMetric(2*float64(rows)*k*float64(tokens)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
