package cpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// layout is how a weight lies in memory.
type layout uint8

const (
	stored    layout = iota // rows as files store them; decoded when they are used
	panelsF32               // simd.PackRows of 4 bytes
	panelsF16               // simd.PackRows of 2 bytes
	pairs                   // simd.PackPairs
	blocksQ8                // simd.PackQ8
	coded                   // simd.Kernels.PackCodes
)

var layoutNames = []string{"stored", "panels", "panels", "pairs", "blocks", "codes"}

func (l layout) String() string { return layoutNames[l] }

// layoutOf fixes a weight's layout, and with it its numeric class, from the level, the format and who reads it.
func (d *device) layoutOf(w tensor.WeightSpec) layout {
	if !w.ReadBy(tensor.OpLinear) && !w.ReadBy(tensor.OpLinearSwiGLU) || d.kernels.Level == simd.Portable {
		return stored
	}
	switch w.Format {
	case tensor.F32:
		return panelsF32
	case tensor.F16:
		return panelsF16
	case tensor.BF16:
		return pairs
	case tensor.Q8_0:
		return blocksQ8
	}
	if _, ok := codingOf(w.Format); ok {
		return coded
	}
	return stored
}

// codingOf is how a format's codes are packed.
func codingOf(f tensor.Format) (c simd.Coding, ok bool) {
	switch f {
	case tensor.Q4_0:
		return simd.Q4_0, true
	case tensor.Q4_1:
		return simd.Q4_1, true
	case tensor.Q5_0:
		return simd.Q5_0, true
	case tensor.Q5_1:
		return simd.Q5_1, true
	case tensor.Q4_K:
		return simd.Q4_K, true
	case tensor.Q5_K:
		return simd.Q5_K, true
	case tensor.Q6_K:
		return simd.Q6_K, true
	}
	return 0, false
}

// weight is a weight on the device: its parts one after the other, each of whole panels (or of rows, where stored), and
// each beginning on a cache line.
type weight struct {
	*block
	spec   tensor.WeightSpec
	layout layout
	coding simd.Coding // where the layout is coded
	parts  []part
}

type part struct {
	rows   int
	offset int // of its first panel or row
}

const line = 64

func aligned(n int) int { return (n + line - 1) &^ (line - 1) }

// panelBytes is the size of one panel; of one row where the layout is stored.
func (w *weight) panelBytes() int {
	switch k := w.spec.Cols; w.layout {
	case panelsF32:
		return 4 * simd.PanelRows * k
	case panelsF16:
		return aligned(2 * simd.PanelRows * k)
	case pairs:
		return 4 * simd.PanelRows * ((k + 1) / 2)
	case blocksQ8:
		return aligned(simd.Q8PanelBytes(k))
	case coded:
		return aligned(w.coding.PanelBytes(k))
	}
	return w.spec.Format.RowBytes(w.spec.Cols)
}

// unitRows is how many rows lie in what panelBytes measures.
func (w *weight) unitRows() int {
	if w.layout == stored {
		return 1
	}
	return simd.PanelRows
}

func panelsOf(rows int) int { return (rows + simd.PanelRows - 1) / simd.PanelRows }

// pieceBytes is how much of a weight is read at once: with every thread at it, no more than a few tens of megabytes of a
// file and of their repacked copy exist at the same time.
const pieceBytes = 2 << 20

// maxUploaders bounds how many pieces are in work at once.
const maxUploaders = 8

func (d *device) Upload(ctx context.Context, spec tensor.WeightSpec, src tensor.Source) (tensor.Weight, error) {
	if !slices.Contains(tensor.WeightFormats(), spec.Format) {
		return nil, fmt.Errorf("cpu: weight %s in %s: %w", spec.Name, spec.Format, tensor.ErrUnsupported)
	}
	w := &weight{spec: spec, layout: d.layoutOf(spec)}
	w.coding, _ = codingOf(spec.Format)
	size := 0
	for _, p := range spec.Parts {
		w.parts = append(w.parts, part{p.Rows, size})
		size = aligned(size + (p.Rows+w.unitRows()-1)/w.unitRows()*w.panelBytes())
	}
	var err error
	if w.block, err = d.alloc(tensor.UseWeights, int64(size), "weight "+spec.Name); err != nil {
		return nil, err
	}
	w.place()
	if err := w.fill(ctx, src); err != nil {
		return nil, errors.Join(err, w.free())
	}
	if err := d.Add(w); err != nil {
		return nil, errors.Join(err, w.free())
	}
	return w, nil
}

// place puts the weight where its panels will be read: those of a gate and of its up by the same thread.
func (w *weight) place() {
	p := w.d.pool.placement
	panels := func(parts []part) (n int) {
		for _, part := range parts {
			n += (part.rows + w.unitRows() - 1) / w.unitRows()
		}
		return n
	}
	if !w.spec.ReadBy(tensor.OpLinearSwiGLU) {
		p.place(w.bytes, panels(w.parts))
		return
	}
	for i, part := range w.parts {
		n := panels(w.parts[i : i+1])
		p.place(w.bytes[part.offset:][:n*w.panelBytes()], n)
	}
}

// fill reads and packs the weight, pieces of whole panels in parallel.
func (w *weight) fill(ctx context.Context, src tensor.Source) error {
	type piece struct{ part, first, n int }
	var pieces []piece
	row := w.spec.Format.RowBytes(w.spec.Cols)
	step := max(pieceBytes/row, 1)
	step = (step + simd.PanelRows - 1) / simd.PanelRows * simd.PanelRows
	for p, part := range w.parts {
		for first := 0; first < part.rows; first += step {
			pieces = append(pieces, piece{p, first, min(step, part.rows-first)})
		}
	}
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	fail := func(err error) {
		mu.Lock()
		fault = errors.Join(fault, err)
		mu.Unlock()
		next.Store(int64(len(pieces)))
	}
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(pieces) {
				return
			}
			if err := context.Cause(ctx); err != nil {
				fail(fmt.Errorf("cpu: upload %s: %w", w.spec.Name, err))
				return
			}
			p := pieces[i]
			if err := w.d.Call(fmt.Sprintf("upload %s, part %d, rows %d to %d", w.spec.Name, p.part, p.first, p.first+p.n)); err != nil {
				fail(err)
				return
			}
			err := src.Rows(p.part, p.first, p.n, func(rows []byte) error {
				if len(rows) != p.n*row {
					return fmt.Errorf("%d rows came as %d bytes, want %d", p.n, len(rows), p.n*row)
				}
				w.pack(p.part, p.first, rows)
				return nil
			})
			if err != nil {
				fail(fmt.Errorf("cpu: upload %s, part %s: %w", w.spec.Name, w.spec.Parts[p.part].Name, err))
				return
			}
		}
	}
	for range min(w.d.options.Threads, maxUploaders, len(pieces)) - 1 {
		group.Add(1)
		go func() {
			defer group.Done()
			work()
		}()
	}
	work()
	group.Wait()
	return fault
}

// pack writes stored rows, which begin at a panel, to their place.
func (w *weight) pack(part, first int, rows []byte) {
	p, size, row := w.parts[part], w.panelBytes(), w.spec.Format.RowBytes(w.spec.Cols)
	if w.layout == stored {
		copy(w.bytes[p.offset+first*size:], rows)
		return
	}
	for at := first; len(rows) > 0; at += simd.PanelRows {
		n := min(simd.PanelRows*row, len(rows))
		dst, cols, k := w.bytes[p.offset+at/simd.PanelRows*size:][:size], w.spec.Cols, w.d.kernels
		switch w.layout {
		case panelsF32:
			k.PackRows(dst, rows[:n], cols, 4)
		case panelsF16:
			k.PackRows(dst, rows[:n], cols, 2)
		case pairs:
			k.PackPairs(dst, rows[:n], cols)
		case blocksQ8:
			k.PackQ8(dst, rows[:n], cols)
		case coded:
			k.PackCodes(w.coding, dst, rows[:n], cols)
		}
		rows = rows[n:]
	}
}

func (w *weight) Spec() tensor.WeightSpec { return w.spec }

func (w *weight) Close() error {
	if w.d.Remove(w) {
		return w.free()
	}
	return nil
}

// row decodes row i of all parts into dst, which has w.spec.Cols values.
func (w *weight) row(dst []float32, i int) {
	p := 0
	for i >= w.parts[p].rows {
		i -= w.parts[p].rows
		p++
	}
	size, k := w.panelBytes(), w.spec.Cols
	if w.layout == stored {
		quant.Decode(w.spec.Format, dst, w.bytes[w.parts[p].offset+i*size:][:size])
		return
	}
	panel := w.bytes[w.parts[p].offset+i/simd.PanelRows*size:][:size]
	j := i % simd.PanelRows
	switch w.layout {
	case panelsF32:
		v := view[float32](panel, 0, k*simd.PanelRows)
		for c := range dst {
			dst[c] = v[c*simd.PanelRows+j]
		}
	case panelsF16:
		v := view[uint16](panel, 0, k*simd.PanelRows)
		for c := range dst {
			dst[c] = simd.F16(v[c*simd.PanelRows+j])
		}
	case pairs:
		v := view[uint16](panel, 0, (k+1)/2*2*simd.PanelRows)
		for c := range dst {
			dst[c] = simd.BF16(v[c/2*2*simd.PanelRows+2*j+c%2])
		}
	case blocksQ8:
		scales := view[uint16](panel, k*simd.PanelRows, k/simd.Q8Values*simd.PanelRows)
		for c := range dst {
			q := int8(panel[c/4*4*simd.PanelRows+4*j+c%4] ^ simd.Q8Flip)
			dst[c] = float32(q) * simd.F16(scales[c/simd.Q8Values*simd.PanelRows+j])
		}
	case coded:
		w.coding.Row(dst[:k], panel, j)
	}
}

// vector decodes a weight of one row.
func (w *weight) vector() []float32 {
	v := make([]float32, w.spec.Cols)
	w.row(v, 0)
	return v
}

// matrix is one part as kernels see it; X and C are missing.
func (w *weight) matrix(p int) simd.Matrix {
	const rows, block = simd.PanelRows, simd.Q8Values
	m := simd.Matrix{W: unsafe.Add(pointer(w.bytes, 0), w.parts[p].offset), PanelStride: w.panelBytes(), Rows: w.parts[p].rows, K: w.spec.Cols}
	switch w.layout {
	case panelsF16:
		m.KStride, m.WBlock = 2*rows, 2*rows*block
	case pairs:
		m.K, m.WBlock = (m.K+1)&^1, 2*rows*block
	case blocksQ8:
		m.WBlock, m.SBlock = rows*block, simd.Q8ScaleBytes
	case coded:
		m.WBlock, m.SBlock = w.coding.CodeBytes(), w.coding.ScaleBytes()
	default:
		m.KStride, m.WBlock = 4*rows, 4*rows*block
	}
	return m
}
