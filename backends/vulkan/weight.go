//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ullm/ullm/tensor"
)

// weight is a weight on the device.
type weight struct {
	*buffer
	spec   tensor.WeightSpec
	layout layout
	// exponent of the power of two that values are stored multiplied by.
	exponent int
}

// pieceBytes is how much of a weight is read and repacked at once.
const pieceBytes = 4 << 20

func (d *device) Upload(ctx context.Context, spec tensor.WeightSpec, src tensor.Source) (tensor.Weight, error) {
	if !slices.Contains(tensor.WeightFormats(), spec.Format) {
		return nil, fmt.Errorf("vulkan: weight %s in %s: %w", spec.Name, spec.Format, tensor.ErrUnsupported)
	}
	l := d.layoutOf(spec)
	b, err := d.alloc(onDevice, tensor.UseWeights, l.bytes, "weight "+spec.Name)
	if err != nil {
		return nil, err
	}
	w := &weight{buffer: b, spec: spec, layout: l}
	if l.format != spec.Format {
		w.exponent = halfExponent
	}
	var big *tooLarge
	err = w.fill(ctx, src)
	for errors.As(err, &big) {
		w.exponent = big.exponent
		err = w.fill(ctx, src)
	}
	if err != nil {
		b.free()
		return nil, err
	}
	if err := d.Add(w); err != nil {
		b.free()
		return nil, err
	}
	return w, nil
}

// fill packs the weight piece by piece, straight into its memory where the processor reaches it.
func (w *weight) fill(ctx context.Context, src tensor.Source) (err error) {
	l := w.layout
	all := w.host()
	var stages *ring
	panelBytes := max(w.layout.bytes/int64(l.panels), 1)
	step := int(max(pieceBytes/panelBytes, 1))
	if all != nil {
		clear(all)
	} else {
		if stages, err = w.d.transfer.ring(w.d, w.imageBytes(min(step, l.panels)), w.What()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stages.close("upload "+w.spec.Name)) }()
	}
	for first := 0; first < l.panels; first += step {
		n := min(step, l.panels-first)
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("vulkan: upload %s: %w", w.spec.Name, err)
		}
		if err := w.d.Call(fmt.Sprintf("upload %s, panels %d to %d", w.spec.Name, first, first+n)); err != nil {
			return err
		}
		skip, take := l.planes(first), l.planes(n)
		var m image
		var stage *buffer
		if stages != nil {
			if stage, err = stages.next("upload " + w.spec.Name); err != nil {
				return err
			}
		}
		var copies []C.ullm_copy
		at := int64(0)
		for i := range m {
			to := l.at[i] + skip[i]
			if all != nil {
				m[i] = all[to:][:take[i]]
			} else if take[i] > 0 {
				m[i] = stage.host()[at:][:take[i]]
				clear(m[i])
				copies = append(copies, copyOf(stage, at, w.buffer, to, take[i]))
				at += up(take[i])
			}
		}
		if err := w.pack(m, first*l.panel, n*l.panel, src); err != nil {
			return err
		}
		if all == nil {
			if err := stages.send("upload "+w.spec.Name, copies...); err != nil {
				return err
			}
		}
	}
	return nil
}

// imageBytes is the size of a staged image of some panels, each plane aligned.
func (w *weight) imageBytes(panels int) (n int64) {
	for _, b := range w.layout.planes(panels) {
		n += up(b)
	}
	return n
}

// pack reads n rows from first and writes them to an image that begins with them.
func (w *weight) pack(m image, first, n int, src tensor.Source) error {
	row, at := w.spec.Format.RowBytes(w.spec.Cols), 0
	half := make([]byte, 2*w.spec.Cols)
	return rowsOf(w.spec.Parts, first, n, func(part, first, n int) error {
		err := src.Rows(part, first, n, func(rows []byte) error {
			if len(rows) != n*row {
				return fmt.Errorf("%d rows came as %d bytes, want %d", n, len(rows), n*row)
			}
			for i := range n {
				r := rows[i*row:][:row]
				if w.layout.format != w.spec.Format {
					if err := halves(half, r, w.exponent); err != nil {
						return err
					}
					r = half
				}
				w.layout.pack(m, at+i, r)
			}
			return nil
		})
		at += n
		if err != nil {
			return fmt.Errorf("vulkan: upload %s, part %s: %w", w.spec.Name, w.spec.Parts[part].Name, err)
		}
		return nil
	})
}

func (w *weight) Spec() tensor.WeightSpec { return w.spec }

func (w *weight) Close() error {
	if w.d.Remove(w) {
		w.free()
	}
	return nil
}
