//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// Device memory is taken in blocks, each with one buffer over all of it, and dealt out from them: drivers allow few
// allocations. What is large gets a block of its own.
const (
	blockBytes = 32 << 20
	ownBlock   = blockBytes / 4
	leastBlock = 1 << 20 // where memory is short
)

// place says which kind of memory a buffer is in.
type place uint8

const (
	onDevice place = iota // weights, caches, scratch
	onHost                // what passes between processor and device
	numPlaces
)

// memory deals out device memory.
type memory struct {
	d      *device
	mu     sync.Mutex
	kind   [numPlaces]int  // memory types
	mapped [numPlaces]bool // the processor reaches it
	blocks [numPlaces][]*block
}

type region = C.ullm_memory

// block is one allocation of the driver's.
type block struct {
	region
	place place
	bytes int64
	free  []span // by offset; neighbours are merged
}

type span struct{ at, bytes int64 }

func (m *memory) init(d *device) {
	m.d = d
	p := d.physical
	m.kind = [numPlaces]int{p.deviceType(), p.hostType()}
	m.mapped = [numPlaces]bool{p.mapped() && !d.options.Staged, true}
}

// buffer is a piece of counted memory: the common part of weights, states and arenas.
type buffer struct {
	lifetime.Memory
	d     *device
	block *block // nil for no bytes
	at    int64
}

func (d *device) alloc(p place, use tensor.Use, n int64, name string) (*buffer, error) {
	if err := d.Call(fmt.Sprintf("allocate %s (%d bytes)", name, n)); err != nil {
		return nil, err
	}
	b := &buffer{d: d}
	if n > 0 {
		var err error
		if b.block, b.at, err = d.memory.take(p, (n+alignment-1)/alignment*alignment); err != nil {
			return nil, fmt.Errorf("vulkan: %s (%d bytes): %w", name, n, err)
		}
	}
	b.Hold(&d.Device, use, n, name)
	return b, nil
}

func (b *buffer) free() {
	if b.Drop() && b.block != nil {
		b.d.memory.give(b.block, b.at, (b.Bytes()+alignment-1)/alignment*alignment)
	}
}

// address is where shaders find it.
func (b *buffer) address() uint64 {
	if b.block == nil {
		return 0
	}
	return uint64(b.block.address) + uint64(b.at)
}

// host is the memory as the processor sees it; nil where it does not reach it.
func (b *buffer) host() []byte {
	if b.block == nil || b.block.mapped == nil {
		return nil
	}
	return unsafe.Slice((*byte)(b.block.mapped), b.block.bytes)[b.at:][:b.Bytes():b.Bytes()]
}

// copyOf describes a copy of n bytes between two buffers.
func copyOf(from *buffer, fromAt int64, to *buffer, toAt, n int64) C.ullm_copy {
	return C.ullm_copy{
		from: C.uint64_t(uintptr(from.block.buffer)), from_offset: C.uint64_t(from.at + fromAt),
		to: C.uint64_t(uintptr(to.block.buffer)), to_offset: C.uint64_t(to.at + toAt), bytes: C.uint64_t(n),
	}
}

// zeroOf describes n bytes of a buffer that become zero.
func zeroOf(to *buffer, at, n int64) C.ullm_copy {
	return C.ullm_copy{to: C.uint64_t(uintptr(to.block.buffer)), to_offset: C.uint64_t(to.at + at), bytes: C.uint64_t(n)}
}

// take finds room for n bytes, a multiple of alignment.
func (m *memory) take(p place, n int64) (*block, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n < ownBlock {
		for _, b := range m.blocks[p] {
			for i, s := range b.free {
				if s.bytes >= n {
					b.free[i] = span{s.at + n, s.bytes - n}
					if s.bytes == n {
						b.free = append(b.free[:i], b.free[i+1:]...)
					}
					return b, s.at, nil
				}
			}
		}
	}
	if err := m.d.Fault("vkAllocateMemory"); err != nil {
		return nil, 0, err
	}
	size := int64(blockBytes)
	if n >= ownBlock {
		size = n
	}
	b, err := m.allocate(p, size)
	for err != nil && size > max(n, leastBlock) && errors.Is(err, tensor.ErrOutOfMemory) && !m.d.Lost() {
		size = max(size/2, n, leastBlock) // perhaps there is room for less
		b, err = m.allocate(p, size)
	}
	if err != nil {
		return nil, 0, err
	}
	if size > n {
		b.free = []span{{n, size - n}}
	}
	m.blocks[p] = append(m.blocks[p], b)
	return b, 0, nil
}

// allocate asks the driver for a block.
func (m *memory) allocate(p place, n int64) (*block, error) {
	if err := m.room(p, n); err != nil {
		return nil, err
	}
	b := &block{place: p, bytes: n}
	mapped := C.int(0)
	if m.mapped[p] {
		mapped = 1
	}
	r := C.ullm_memory_create(m.d.raw, C.uint64_t(n), C.uint32_t(m.kind[p]), mapped, &b.region)
	if err := m.d.check(r, fmt.Sprintf("allocate %d bytes", n)); err != nil {
		if errors.Is(err, tensor.ErrOutOfMemory) {
			return nil, fmt.Errorf("%w; %s", err, m.advice(p))
		}
		return nil, err
	}
	return b, nil
}

// room checks a block against the driver's limit and the share of the memory that may be used.
func (m *memory) room(p place, n int64) error {
	ph := m.d.physical
	if most := int64(ph.max_allocation); most > 0 && n > most {
		return fmt.Errorf("%w: one buffer of %d bytes, the driver allows %d", tensor.ErrOutOfMemory, n, most)
	}
	if p == onDevice && n > m.free() {
		return fmt.Errorf("%w: a block of %d bytes; %s", tensor.ErrOutOfMemory, n, m.advice(p))
	}
	return nil
}

// free is how much of the device's memory blocks may still take: what the driver has left for this process, and what the
// Fraction allows.
func (m *memory) free() int64 {
	return available(m.d.physical, m.d.physical.budget(m.d.instance), m.held(onDevice), m.d.options.Fraction)
}

// available is how much more a device may give that gave held bytes since it was opened, as it was then and is now.
func available(then, now *physical, held int64, fraction float64) int64 {
	free := now.free()
	if now.memory_budget == 0 {
		free -= held
	}
	if fraction > 0 {
		share := int64(fraction * float64(then.free()))
		free = min(free, share+share/32-held)
	}
	return max(free, 0)
}

// advice says what is free and what to do.
func (m *memory) advice(p place) string {
	if p == onHost {
		return "the machine's own memory is short; lower --max-bs or --max-batch-tokens"
	}
	allowed := "all"
	if f := m.d.options.Fraction; f > 0 {
		allowed = fmt.Sprintf("%g", f)
	}
	return fmt.Sprintf("%d of %d bytes are free (--gpu-memory-utilization: %s); lower --context-len, --max-bs or --max-batch-tokens, or choose a smaller --kv-dtype or weight format",
		m.free(), m.d.physical.total(), allowed)
}

// held is how much the blocks of a place hold.
func (m *memory) held(p place) (n int64) {
	for _, b := range m.blocks[p] {
		n += b.bytes
	}
	return n
}

// give takes room back, and returns a block that is wholly free to the driver, except the last small one of its place.
func (m *memory) give(b *block, at, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := 0
	for i < len(b.free) && b.free[i].at < at {
		i++
	}
	b.free = append(b.free, span{})
	copy(b.free[i+1:], b.free[i:])
	b.free[i] = span{at, n}
	if i+1 < len(b.free) && at+n == b.free[i+1].at {
		b.free[i].bytes += b.free[i+1].bytes
		b.free = append(b.free[:i+1], b.free[i+2:]...)
	}
	if i > 0 && b.free[i-1].at+b.free[i-1].bytes == at {
		b.free[i-1].bytes += b.free[i].bytes
		b.free = append(b.free[:i], b.free[i+1:]...)
	}
	if len(b.free) != 1 || b.free[0].bytes != b.bytes {
		return
	}
	list := m.blocks[b.place]
	small := 0
	for _, o := range list {
		if o.bytes == blockBytes {
			small++
		}
	}
	if b.bytes == blockBytes && small == 1 {
		return
	}
	for j, o := range list {
		if o == b {
			m.blocks[b.place] = append(list[:j], list[j+1:]...)
			break
		}
	}
	C.ullm_memory_destroy(m.d.raw, &b.region)
}

// destroy returns every block.
func (m *memory) destroy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, list := range m.blocks {
		for _, b := range list {
			C.ullm_memory_destroy(m.d.raw, &b.region)
		}
		m.blocks[p] = nil
	}
}

// budget is the device as it is now: its free memory changes.
func (p *physical) budget(in *instance) *physical {
	now := *p
	C.ullm_physical_budget(in.getProc, in.raw(), unsafe.Pointer(p.handle), &now.facts)
	return &now
}

// arena is the scratch memory of programs.
type arena struct{ *buffer }

func (d *device) NewArena(bytes int64) (tensor.Arena, error) {
	if bytes < 0 {
		return nil, fmt.Errorf("vulkan: arena of %d bytes", bytes)
	}
	b, err := d.alloc(onDevice, tensor.UseScratch, bytes, "arena")
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
