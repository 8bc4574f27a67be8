package cpu

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// block is a piece of memory from the operating system, counted by the ledger: the common part of weights, states and
// arenas. It begins on a page.
type block struct {
	lifetime.Memory
	d     *device
	bytes []byte
	whole []byte // with the guard band
}

const (
	guardBytes = 256
	guardByte  = 0xa5
)

func (d *device) alloc(use tensor.Use, n int64, name string) (*block, error) {
	if n < 0 || n != int64(int(n)) {
		return nil, fmt.Errorf("cpu: %s of %d bytes", name, n)
	}
	if err := d.Call(fmt.Sprintf("allocate %s (%d bytes)", name, n)); err != nil {
		return nil, err
	}
	size := n
	if d.options.Guard {
		size += guardBytes
	}
	b := &block{d: d}
	if size > 0 {
		whole, err := allocate(int(size))
		if err != nil {
			return nil, fmt.Errorf("cpu: %s: %w: asked for %d bytes: %w", name, tensor.ErrOutOfMemory, size, err)
		}
		advise(whole, use)
		b.whole, b.bytes = whole, whole[:n:n]
		for i := range whole[n:] {
			whole[int(n)+i] = guardByte
		}
	}
	b.Hold(&d.Device, use, n, name)
	return b, nil
}

// free returns the memory to the operating system. It says when somebody wrote past the block's end.
func (b *block) free() error {
	if !b.Drop() {
		return nil
	}
	err := b.checkGuard()
	if len(b.whole) > 0 {
		err = errors.Join(err, release(b.whole))
	}
	b.bytes, b.whole = nil, nil
	return err
}

func (b *block) checkGuard() error {
	for i, v := range b.whole[len(b.bytes):] {
		if v != guardByte {
			return fmt.Errorf("cpu: %s: byte %d behind its end was overwritten", b.What(), i)
		}
	}
	return nil
}

func (b *block) guarded() *block { return b }

// CheckGuards inspects the guard bands of a device that was opened with Options.Guard.
func CheckGuards(t tensor.Device) error {
	d, ok := t.(*device)
	if !ok {
		return fmt.Errorf("cpu: %T is no device of this backend", t)
	}
	return d.Alone(func() error {
		var err error
		for _, c := range d.Open() {
			if g, ok := c.(interface{ guarded() *block }); ok {
				err = errors.Join(err, g.guarded().checkGuard())
			}
		}
		return err
	})
}

// pointer is the address of b[at:]; nil where b is empty.
func pointer(b []byte, at int) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[at])
}

// view sees n values of T from byte at of b, which must be aligned for them.
func view[T int8 | uint16 | int32 | uint32 | float32](b []byte, at, n int) []T {
	if n == 0 {
		return nil
	}
	var z T
	_ = b[at : at+n*int(unsafe.Sizeof(z))]
	return unsafe.Slice((*T)(unsafe.Pointer(&b[at])), n)
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
		return nil, errors.Join(err, b.free())
	}
	return a, nil
}

func (a *arena) Close() error {
	if a.d.Remove(a) {
		return a.free()
	}
	return nil
}
