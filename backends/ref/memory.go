package ref

import (
	"context"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// block is a piece of counted memory: the common part of weights, states and arenas.
type block struct {
	lifetime.Memory
	d     *device
	bytes []byte
}

func (d *device) alloc(use tensor.Use, n int64, name string) (*block, error) {
	if n < 0 {
		return nil, fmt.Errorf("ref: %s of %d bytes", name, n)
	}
	if err := d.Call(fmt.Sprintf("allocate %s (%d bytes)", name, n)); err != nil {
		return nil, err
	}
	if held := d.Stats().Total().Bytes; d.options.Memory > 0 && held+n > d.options.Memory {
		return nil, fmt.Errorf("ref: %s: %w: asked for %d bytes, %d are free", name, tensor.ErrOutOfMemory, n, d.options.Memory-held)
	}
	b := &block{d: d, bytes: words(n)}
	b.Hold(&d.Device, use, n, name)
	return b, nil
}

func (b *block) free() {
	if b.Drop() {
		b.bytes = nil
	}
}

// words allocates n zero bytes that can be viewed as 32-bit words.
func words(n int64) []byte {
	w := make([]uint32, (n+3)/4)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), n)
}

// floats views bytes that words allocated as the float32 values they hold; ref runs on little-endian machines.
func floats(b []byte) []float32 {
	if len(b) < 4 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
}

// ints views bytes that words allocated as the int32 values they hold.
func ints(b []byte) []int32 {
	if len(b) < 4 {
		return nil
	}
	return unsafe.Slice((*int32)(unsafe.Pointer(&b[0])), len(b)/4)
}

// weight is a weight as files store it.
type weight struct {
	*block
	spec tensor.WeightSpec
}

// uploadBytes is how much of a weight is read at once.
const uploadBytes = 1 << 20

func (d *device) Upload(ctx context.Context, spec tensor.WeightSpec, src tensor.Source) (tensor.Weight, error) {
	if !slices.Contains(tensor.WeightFormats(), spec.Format) {
		return nil, fmt.Errorf("ref: weight %s in %s: %w", spec.Name, spec.Format, tensor.ErrUnsupported)
	}
	b, err := d.alloc(tensor.UseWeights, spec.Bytes(), "weight "+spec.Name)
	if err != nil {
		return nil, err
	}
	w := &weight{b, spec}
	if err := w.fill(ctx, src); err != nil {
		b.free()
		return nil, err
	}
	if err := d.Add(w); err != nil {
		b.free()
		return nil, err
	}
	return w, nil
}

func (w *weight) fill(ctx context.Context, src tensor.Source) error {
	row := w.spec.Format.RowBytes(w.spec.Cols)
	at := w.bytes
	for p, part := range w.spec.Parts {
		for first := 0; first < part.Rows; {
			n := min(max(uploadBytes/row, 1), part.Rows-first)
			if err := context.Cause(ctx); err != nil {
				return fmt.Errorf("ref: upload %s: %w", w.spec.Name, err)
			}
			if err := w.d.Call(fmt.Sprintf("upload %s, part %d, rows %d to %d", w.spec.Name, p, first, first+n)); err != nil {
				return err
			}
			err := src.Rows(p, first, n, func(rows []byte) error {
				if len(rows) != n*row {
					return fmt.Errorf("%d rows came as %d bytes, want %d", n, len(rows), n*row)
				}
				copy(at, rows)
				return nil
			})
			if err != nil {
				return fmt.Errorf("ref: upload %s, part %s: %w", w.spec.Name, part.Name, err)
			}
			at = at[n*row:]
			first += n
		}
	}
	return nil
}

func (w *weight) Spec() tensor.WeightSpec { return w.spec }

func (w *weight) Close() error {
	if w.d.Remove(w) {
		w.free()
	}
	return nil
}

// row decodes row i into dst.
func (w *weight) row(dst []float32, i int) {
	n := w.spec.Format.RowBytes(w.spec.Cols)
	quant.Decode(w.spec.Format, dst, w.bytes[i*n:(i+1)*n])
}

// vector decodes a weight of one row.
func (w *weight) vector() []float32 {
	v := make([]float32, w.spec.Cols)
	w.row(v, 0)
	return v
}

// arena is the scratch memory of programs.
type arena struct{ *block }

func (d *device) NewArena(bytes int64) (tensor.Arena, error) {
	b, err := d.alloc(tensor.UseScratch, bytes, "arena")
	if err != nil {
		return nil, err
	}
	a := &arena{b}
	if err := d.Add(a); err != nil {
		b.free()
		return nil, err
	}
	return a, nil
}

func (a *arena) Close() error {
	if a.d.Remove(a) {
		a.free()
	}
	return nil
}

// state is memory that outlives a step, in the layout that package tensor defines.
type state struct {
	*block
	spec tensor.StateSpec
}

func (d *device) NewState(spec tensor.StateSpec) (tensor.State, error) {
	if err := d.CheckKV(spec, kvFormats()); err != nil {
		return nil, err
	}
	b, err := d.alloc(spec.Use(), spec.Bytes(), "state "+spec.Name)
	if err != nil {
		return nil, err
	}
	s := &state{b, spec}
	if err := d.Add(s); err != nil {
		b.free()
		return nil, err
	}
	return s, nil
}

func (s *state) Spec() tensor.StateSpec { return s.spec }

func (s *state) Close() error {
	if s.d.Remove(s) {
		s.free()
	}
	return nil
}

func (s *state) Export(w io.Writer) error {
	return s.Transfer("export", func() error {
		_, err := w.Write(s.bytes)
		return err
	})
}

func (s *state) Import(r io.Reader) error {
	return s.Transfer("import", func() error {
		_, err := io.ReadFull(r, s.bytes)
		return err
	})
}
