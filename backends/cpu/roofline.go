package cpu

import (
	"context"
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

func (d *device) readBandwidth(ctx context.Context) (float64, error) {
	b, err := d.alloc(tensor.UseStaging, rooflineBytes, "roofline")
	if err != nil {
		return 0, err
	}
	values := unsafe.Slice((*float32)(pointer(b.bytes, 0)), rooflineBytes/4)
	for i := 0; i < len(values); i += 1024 { // pages that were never written are all the same page of zeros
		values[i] = 1
	}
	const piece = 1 << 18
	seconds, err := best(ctx, func() {
		d.pool.do(nil, len(values)/piece, 1, func(_ *thread, _ *run, lo, hi int) {
			d.kernels.Max(values[lo*piece : hi*piece])
		})
	})
	if freeErr := b.free(); err == nil {
		err = freeErr
	}
	return rooflineBytes / seconds, err
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
