//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"unsafe"

	"github.com/ullm/ullm/tensor"
)

// window is a piece of a buffer that a kernel reads through a descriptor.
type window struct {
	buffer    *buffer
	at, bytes int64
}

// windowOf is n bytes of a value from offset at; skip is how far behind the window's beginning they lie, since windows
// begin at multiples of alignment.
func (b *binder) windowOf(v tensor.Value, at, n int64) (w window, skip int64) {
	from, in := b.scratch, b.plan.place.Offset[v]
	if b.graph.KindOf(v) == tensor.Input {
		from, in = b.block, int64(b.graph.OffsetOf(v))
	}
	skip = (in + at) % alignment
	return window{from, in + at - skip, n + skip}, skip
}

// describe makes the launches' descriptor sets, all in one pool; nil where none has bindings.
func (b *binder) describe(out []C.ullm_launch) (pool unsafe.Pointer, err error) {
	var bindings []C.ullm_binding
	var users []int
	for i := range b.launches {
		l := &b.launches[i]
		if len(l.bound) == 0 {
			continue
		}
		users = append(users, i)
		for j := range C.ULLM_BINDINGS {
			w := l.bound[min(j, len(l.bound)-1)] // every binding has to be something
			bindings = append(bindings, C.ullm_binding{buffer: C.uint64_t(uintptr(w.buffer.block.buffer)),
				offset: C.uint64_t(w.buffer.at + w.at), bytes: C.uint64_t(w.bytes)})
		}
	}
	if len(users) == 0 {
		return nil, nil
	}
	if err := b.d.Fault("vkCreateDescriptorPool"); err != nil {
		return nil, err
	}
	sets := make([]C.uint64_t, len(users))
	r := C.ullm_sets_create(b.d.raw, &bindings[0], C.uint32_t(len(users)), &pool, &sets[0])
	if err := b.d.check(r, "make descriptor sets"); err != nil {
		if pool != nil {
			C.ullm_sets_destroy(b.d.raw, pool)
		}
		return nil, err
	}
	for i, u := range users {
		out[u].set = sets[i]
	}
	return pool, nil
}
