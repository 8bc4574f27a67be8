//go:build cgo && (linux || windows)

package vulkan

import (
	"fmt"
	"io"
	"slices"

	"github.com/ullm/ullm/tensor"
)

// state is memory that outlives a step, in the layout that package tensor defines.
type state struct {
	*buffer
	spec tensor.StateSpec
}

func (d *device) NewState(spec tensor.StateSpec) (tensor.State, error) {
	if kv := spec.KV; kv != nil {
		if !slices.Contains(kvFormats(), kv.Format) {
			return nil, fmt.Errorf("vulkan: KV cache %s in %s: %w; use one of %v", spec.Name, kv.Format, tensor.ErrUnsupported, kvFormats())
		}
		if kv.HeadDim%kv.Format.Block() != 0 {
			return nil, fmt.Errorf("vulkan: KV cache %s in %s with heads of %d values: %w; use a format without blocks", spec.Name,
				kv.Format, kv.HeadDim, tensor.ErrUnsupported)
		}
	}
	b, err := d.alloc(onDevice, spec.Use(), spec.Bytes(), "state "+spec.Name)
	if err != nil {
		return nil, err
	}
	if err := b.zero(); err != nil {
		b.free()
		return nil, err
	}
	s := &state{b, spec}
	if err := d.add(s); err != nil {
		b.free()
		return nil, err
	}
	return s, nil
}

func (s *state) Spec() tensor.StateSpec { return s.spec }

func (s *state) Close() error {
	if s.d.remove(s) {
		s.free()
	}
	return nil
}

func (s *state) Export(w io.Writer) error {
	return s.exchange("export", true, false, func(b []byte) error {
		_, err := w.Write(b)
		return err
	})
}

func (s *state) Import(r io.Reader) error {
	return s.exchange("import", false, true, func(b []byte) error {
		_, err := io.ReadFull(r, b)
		return err
	})
}

func (s *state) exchange(what string, load, store bool, use func([]byte) error) error {
	if err := s.d.call("%s %s", what, s.name); err != nil {
		return err
	}
	if s.freed.Load() {
		return fmt.Errorf("vulkan: %s: %s is %w", what, s.name, tensor.ErrClosed)
	}
	s.d.settle()
	if err := s.pass(load, store, use); err != nil {
		return fmt.Errorf("vulkan: %s %s: %w", what, s.name, err)
	}
	return nil
}

// settle waits until no run is in flight.
func (d *device) settle() {
	d.mu.Lock()
	for d.flying > 0 {
		d.changed.Wait()
	}
	d.mu.Unlock()
}
