package cpu

import (
	"errors"
	"io"

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
	if err := d.CheckKV(spec, kvFormats()); err != nil {
		return nil, err
	}
	if kv := spec.KV; kv != nil {
		s.cache = newCache(*kv)
		size = int64(s.cache.bytes())
	}
	var err error
	if s.block, err = d.alloc(spec.Use(), size, "state "+spec.Name); err != nil {
		return nil, err
	}
	d.pool.placement.spread(s.bytes)
	if s.cache != nil {
		s.cache.mem = s.bytes
	}
	if err := d.Add(s); err != nil {
		return nil, errors.Join(err, s.free())
	}
	return s, nil
}

func (s *state) Spec() tensor.StateSpec { return s.spec }

func (s *state) Close() error {
	if s.d.Remove(s) {
		return s.free()
	}
	return nil
}

func (s *state) Export(w io.Writer) error {
	return s.Transfer("export", func() error {
		if s.cache != nil {
			return s.cache.export(w)
		}
		_, err := w.Write(s.bytes)
		return err
	})
}

func (s *state) Import(r io.Reader) error {
	return s.Transfer("import", func() error {
		if s.cache != nil {
			return s.cache.load(r)
		}
		_, err := io.ReadFull(r, s.bytes)
		return err
	})
}
