package lifetime

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/ullm/ullm/tensor"
)

// Memory is what every piece of device memory has. A backend's buffers embed it.
type Memory struct {
	device *Device
	use    tensor.Use
	name   string
	bytes  int64
	freed  atomic.Bool
}

// Hold enters n bytes into the ledger. Drop is to be called once they are free.
func (m *Memory) Hold(d *Device, use tensor.Use, n int64, name string) {
	m.device, m.use, m.bytes, m.name = d, use, n, name
	d.Ledger.Alloc(use, n)
}

// Drop takes the bytes from the ledger, and tells whether that had not been done before.
func (m *Memory) Drop() bool {
	if m.freed.Swap(true) {
		return false
	}
	m.device.Ledger.Free(m.use, m.bytes)
	return true
}

// What is the memory's name in messages.
func (m *Memory) What() string { return m.name }

// Bytes is the size of what is held.
func (m *Memory) Bytes() int64 { return m.bytes }

// Freed tells whether Drop was called.
func (m *Memory) Freed() bool { return m.freed.Load() }

// On tells whether the memory is d's.
func (m *Memory) On(d *Device) bool { return m.device == d }

// memory is what Memory's embedding gives.
type memory interface {
	comparable
	On(*Device) bool
	Freed() bool
}

// Weight finds the weight that a graph names among what is bound, and holds it against the graph.
func Weight[W interface {
	memory
	tensor.Weight
}](d *Device, b tensor.Bindings, spec tensor.WeightSpec) (W, error) {
	var none W
	w, ok := b.Weights[spec.Name].(W)
	if !ok || !w.On(d) {
		return none, fmt.Errorf("no weight %s of this device is bound", spec.Name)
	}
	if w.Freed() {
		return none, fmt.Errorf("weight %s is %w", spec.Name, tensor.ErrClosed)
	}
	if has := w.Spec(); has.Format != spec.Format || has.Rows() != spec.Rows() || has.Cols != spec.Cols {
		return none, fmt.Errorf("weight %s is %d × %d %s, the graph wants %d × %d %s", spec.Name, has.Rows(), has.Cols, has.Format,
			spec.Rows(), spec.Cols, spec.Format)
	}
	return w, nil
}

// State finds the state that a graph names among what is bound, and holds it against the graph.
func State[S interface {
	memory
	tensor.State
}](d *Device, b tensor.Bindings, spec tensor.StateSpec) (S, error) {
	var none S
	s, ok := b.States[spec.Name].(S)
	switch {
	case !ok || !s.On(d):
		return none, fmt.Errorf("no state %s of this device is bound", spec.Name)
	case s.Freed():
		return none, fmt.Errorf("state %s is %w", spec.Name, tensor.ErrClosed)
	case !reflect.DeepEqual(s.Spec(), spec):
		return none, fmt.Errorf("state %s is not as the graph wants it", spec.Name)
	}
	return s, nil
}

// CheckKV refuses a KV cache that is in none of the formats, or whose heads are not whole blocks of its format.
func (d *Device) CheckKV(spec tensor.StateSpec, formats []tensor.Format) error {
	kv := spec.KV
	if kv == nil {
		return nil
	}
	if !slices.Contains(formats, kv.Format) {
		return fmt.Errorf("%s: KV cache %s in %s: %w; use one of %v", d.backend, spec.Name, kv.Format, tensor.ErrUnsupported, formats)
	}
	if kv.HeadDim%kv.Format.Block() != 0 {
		return fmt.Errorf("%s: KV cache %s in %s with heads of %d values: %w; use a format without blocks", d.backend, spec.Name,
			kv.Format, kv.HeadDim, tensor.ErrUnsupported)
	}
	return nil
}

// Transfer exports or imports (what says which) a state's memory while no run is in flight.
func (m *Memory) Transfer(what string, f func() error) error {
	d := m.device
	if err := d.Call(what + " " + m.name); err != nil {
		return err
	}
	return d.Alone(func() error {
		if m.Freed() {
			return fmt.Errorf("%s: %s: %s is %w", d.backend, what, m.name, tensor.ErrClosed)
		}
		if err := f(); err != nil {
			return fmt.Errorf("%s: %s %s: %w", d.backend, what, m.name, err)
		}
		return nil
	})
}
