package cpu

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

const (
	rooflineBytes = 512 << 20 // read at once: far more than caches hold
	rooflineRows  = 8 * simd.PanelRows
	rooflineCols  = 512 // with rooflineRows, a weight that stays in a core's cache
	rooflineTurns = 64
	rooflineTries = 5 // the best counts: a limit is what the machine can do
)

// Roofline measures what the machine can do at most with the device's threads: bytes read per second from memory, and
// floating-point operations per second of the kernel that multiplies weights of a format, on operands that stay in the
// cache, 0 where there is no such kernel. The device must be idle.
func (d *device) Roofline(ctx context.Context, f tensor.Format) (bytes, flops float64, err error) {
	if bytes, err = d.readBandwidth(ctx); err != nil {
		return 0, 0, err
	}
	flops, err = d.arithmetic(ctx, f)
	return bytes, flops, err
}

// best runs f a few times and returns the shortest time in seconds.
func best(ctx context.Context, f func()) (float64, error) {
	shortest := 0.0
	for i := range rooflineTries {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begun := time.Now()
		f()
		if s := time.Since(begun).Seconds(); i == 0 || s < shortest {
			shortest = s
		}
	}
	return shortest, nil
}

// readBandwidth reads each thread's part once as one stream and once as four, as panels are read for one token: which of
// the two memory serves faster differs between machines and moments.
func (d *device) readBandwidth(ctx context.Context) (float64, error) {
	b, err := d.alloc(tensor.UseStaging, rooflineBytes, "roofline")
	if err != nil {
		return 0, err
	}
	values := unsafe.Slice((*float32)(pointer(b.bytes, 0)), rooflineBytes/4)
	for i := 0; i < len(values); i += 1024 { // pages that were never written are all the same page of zeros
		values[i] = 1
	}
	const piece = simd.MaxPanels * simd.PanelRows * rooflineCols
	streams := []body{func(_ *thread, _ *run, lo, hi int) { d.kernels.Max(values[lo*piece : hi*piece]) }}
	if d.kernels.F32.Tokens > 0 {
		in, out := make([]float32, rooflineCols), make([]float32, len(values)/rooflineCols)
		m := simd.Matrix{W: unsafe.Pointer(&values[0]), PanelStride: 4 * simd.PanelRows * rooflineCols, Rows: len(out),
			K: rooflineCols, KStride: 4 * simd.PanelRows, WBlock: 4 * simd.PanelRows * simd.Q8Values,
			X: unsafe.Pointer(&in[0]), XStride: 4 * rooflineCols, XBlock: plain.block(), C: unsafe.Pointer(&out[0]), CStride: 4 * len(out)}
		streams = append(streams, func(t *thread, _ *run, lo, hi int) {
			d.kernels.F32.Multiply(&t.simd, &m, lo*simd.MaxPanels, hi*simd.MaxPanels, 0, 1)
		})
	}
	fastest := 0.0
	for _, read := range streams {
		var seconds float64
		if seconds, err = best(ctx, func() { d.pool.do(nil, len(values)/piece, 8, read) }); err != nil {
			break
		}
		fastest = max(fastest, rooflineBytes/seconds)
	}
	return fastest, errors.Join(err, b.free())
}

func (d *device) arithmetic(ctx context.Context, f tensor.Format) (float64, error) {
	spec := tensor.WeightSpec{Name: "roofline", Format: f, Cols: rooflineCols, Readers: []tensor.Op{tensor.OpLinear},
		Parts: []tensor.Part{{Name: "roofline", Rows: rooflineRows}}}
	uploaded, err := d.Upload(ctx, spec, zeros{spec})
	if err != nil {
		return 0, err
	}
	w := uploaded.(*weight)
	defer w.Close()
	q := product{w: w, tiles: d.tilesOf(w), m: w.matrix(0)}
	if q.tiles == nil {
		return 0, nil // rows are decoded one by one
	}
	tokens := 2 * simd.MaxTokens
	threads := len(d.pool.threads)
	in := make([]byte, tokens*4*rooflineCols)
	out := make([]float32, threads*tokens*rooflineRows)
	m := q.m
	m.X, m.XStride = pointer(in, 0), max(d.formOf(w.layout, rooflineCols).stride(rooflineCols), 1)
	m.CStride = 4 * rooflineRows
	seconds, err := best(ctx, func() {
		d.pool.do(nil, threads*rooflineTurns, 1, func(t *thread, _ *run, lo, hi int) {
			mine := m
			mine.C = unsafe.Pointer(&out[t.index*tokens*rooflineRows])
			for range hi - lo {
				q.tiles.Multiply(&t.simd, &mine, 0, rooflineRows/simd.PanelRows, 0, tokens)
			}
		})
	})
	return 2 * float64(threads*rooflineTurns) * float64(tokens) * rooflineRows * rooflineCols / seconds, err
}

// zeros is a weight's source.
type zeros struct{ spec tensor.WeightSpec }

func (z zeros) Rows(_, _, n int, use func([]byte) error) error {
	return use(make([]byte, n*z.spec.Format.RowBytes(z.spec.Cols)))
}
