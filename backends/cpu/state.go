package cpu

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ullm/ullm/tensor"
)

// state is memory that outlives a step. Slots and rows lie as package tensor lays them out; KV caches as attention's
// kernels want them (see cache).
type state struct {
	*block
	spec  tensor.StateSpec
	cache *cache // of a KV state
}

func (d *device) NewState(spec tensor.StateSpec) (tensor.State, error) {
	s := &state{spec: spec}
	size := spec.Bytes()
	if kv := spec.KV; kv != nil {
		if !slices.Contains(kvFormats(), kv.Format) {
			return nil, fmt.Errorf("cpu: KV cache %s in %s: %w; use one of %v", spec.Name, kv.Format, tensor.ErrUnsupported, kvFormats())
		}
		if kv.HeadDim%kv.Format.Block() != 0 {
			return nil, fmt.Errorf("cpu: KV cache %s in %s with heads of %d values: %w; use a format without blocks", spec.Name,
				kv.Format, kv.HeadDim, tensor.ErrUnsupported)
		}
		s.cache = newCache(*kv)
		size = int64(s.cache.bytes())
	}
	var err error
	if s.block, err = d.alloc(spec.Use(), size, "state "+spec.Name); err != nil {
		return nil, err
	}
	if s.cache != nil {
		s.cache.mem = s.bytes
	}
	if err := d.add(s); err != nil {
		return nil, errors.Join(err, s.free())
	}
	return s, nil
}

func (s *state) Spec() tensor.StateSpec { return s.spec }

func (s *state) Close() error {
	if s.d.remove(s) {
		return s.free()
	}
	return nil
}

func (s *state) Export(w io.Writer) error {
	return s.transfer("export", func() error {
		if s.cache != nil {
			return s.cache.export(w)
		}
		_, err := w.Write(s.bytes)
		return err
	})
}

func (s *state) Import(r io.Reader) error {
	return s.transfer("import", func() error {
		if s.cache != nil {
			return s.cache.load(r)
		}
		_, err := io.ReadFull(r, s.bytes)
		return err
	})
}

func (s *state) transfer(what string, f func() error) error {
	if err := s.d.call("%s %s", what, s.name); err != nil {
		return err
	}
	s.d.memory.Lock()
	defer s.d.memory.Unlock()
	if s.freed.Load() {
		return fmt.Errorf("cpu: %s: %s is %w", what, s.name, tensor.ErrClosed)
	}
	if err := f(); err != nil {
		return fmt.Errorf("cpu: %s %s: %w", what, s.name, err)
	}
	return nil
}
