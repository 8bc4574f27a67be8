//go:build cgo && (linux || windows)

package vulkan

import (
	"io"

	"github.com/ullm/ullm/tensor"
)

// state is memory that outlives a step, in the layout that package tensor defines.
type state struct {
	*buffer
	spec tensor.StateSpec
}

func (d *device) NewState(spec tensor.StateSpec) (tensor.State, error) {
	if err := d.CheckKV(spec, kvFormats()); err != nil {
		return nil, err
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
		return s.pass(true, false, func(b []byte) error {
			_, err := w.Write(b)
			return err
		})
	})
}

func (s *state) Import(r io.Reader) error {
	return s.Transfer("import", func() error {
		return s.pass(false, true, func(b []byte) error {
			_, err := io.ReadFull(r, b)
			return err
		})
	})
}
