package cpu

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// BenchmarkLinear multiplies matrices that together are larger than any cache by one and more tokens, as Linear does, on
// one thread and on two. MB/s counts the weights.
func BenchmarkLinear(b *testing.B) {
	const (
		rows, cols, capacity = 6144, 1024, 512
		bytes                = 512 << 20
	)
	for _, f := range []tensor.Format{tensor.BF16, tensor.Q8_0, tensor.Q4_0, tensor.Q4_1, tensor.Q5_0, tensor.Q5_1, tensor.Q4_K, tensor.Q5_K, tensor.Q6_K} {
		for threads := 1; threads <= 2; threads++ {
			b.Run(fmt.Sprintf("%s/threads%d", f, threads), func(b *testing.B) {
				opened, err := Open(Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				defer opened.Close()
				d := opened.(*device)
				spec := tensor.WeightSpec{Name: "w", Format: f, Cols: cols, Readers: []tensor.Op{tensor.OpLinear}, Parts: []tensor.Part{{Name: "w", Rows: rows}}}
				var products []*product
				for size := 0; size < bytes; size += rows * f.RowBytes(cols) {
					w, err := d.Upload(b.Context(), spec, zeros{spec})
					if err != nil {
						b.Fatal(err)
					}
					defer w.Close()
					products = append(products, &product{w: w.(*weight), tiles: d.tilesOf(w.(*weight)), m: w.(*weight).matrix(0)})
				}
				if products[0].tiles == nil {
					b.Skip("rows are decoded one by one")
				}
				pieces := cut(products, simd.MaxPanels)
				in, out := make([]byte, capacity*4*cols), make([]float32, capacity*rows)
				format := d.formOf(products[0].w.layout, cols)
				for _, tokens := range []int{1, 4, 8, 12, 16, 24, 32, 64, 512} {
					b.Run(fmt.Sprintf("tokens%d", tokens), func(b *testing.B) {
						each := len(pieces) / len(products)
						b.SetBytes(int64(rows * f.RowBytes(cols)))
						at := 0
						for b.Loop() {
							of := pieces[at*each : (at+1)*each]
							at = (at + 1) % len(products)
							d.pool.do(nil, each, 1, func(t *thread, _ *run, lo, hi int) {
								for _, p := range of[lo:hi] {
									m := p.product.m
									m.X, m.XStride, m.XBlock = pointer(in, 0), format.stride(cols), format.block()
									m.C, m.CStride = unsafe.Pointer(&out[0]), 4*rows
									p.product.tiles.Multiply(&t.simd, &m, p.p0, p.p1, 0, tokens)
								}
							})
						}
						b.ReportMetric(2*rows*cols*float64(tokens)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					})
				}
			})
		}
	}
}
