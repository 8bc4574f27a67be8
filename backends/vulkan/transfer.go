//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"sync"

	"github.com/ullm/ullm/tensor"
)

// transfer moves bytes between the processor and buffers, outside of steps. Where the processor reaches a buffer it is read
// and written directly, else through a staging buffer that lives as long as the transfer.
type transfer struct {
	mu       sync.Mutex
	made     bool
	d        *device
	commands *C.ullm_commands // an object of its own: what C gets may not lie beside Go pointers
}

// stageBytes is how much is staged at once.
const stageBytes = 4 << 20

// begin makes the commands on first use.
func (t *transfer) begin(d *device) error {
	if t.made {
		return nil
	}
	if err := d.Fault("vkCreateCommandPool"); err != nil {
		return err
	}
	t.commands = new(C.ullm_commands)
	if err := d.check(C.ullm_commands_create(d.raw, t.commands), "make a command buffer"); err != nil {
		return err
	}
	t.made, t.d = true, d
	return nil
}

func (t *transfer) destroy() {
	if t.made {
		C.ullm_commands_destroy(t.d.raw, t.commands)
	}
}

// finish submits what was recorded and waits.
func (t *transfer) finish(what string) error {
	d := t.d
	if err := d.Fault(fmt.Sprintf("vkQueueSubmit, %s", what)); err != nil {
		return err
	}
	d.submit.Lock()
	r := C.ullm_submit(d.raw, t.commands)
	d.submit.Unlock()
	if err := d.check(r, what); err != nil {
		return err
	}
	return d.await(t.commands, what)
}

// move copies between buffers and waits.
func (d *device) move(what string, copies ...C.ullm_copy) error {
	t := &d.transfer
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.begin(d); err != nil {
		return err
	}
	if err := d.check(C.ullm_record(d.raw, t.commands, &copies[0], C.uint32_t(len(copies)), nil, 0, nil, 0, nil), what); err != nil {
		return err
	}
	return t.finish(what)
}

// zero clears a buffer.
func (b *buffer) zero() error {
	if h := b.host(); h != nil || b.block == nil {
		clear(h)
		return nil
	}
	t := &b.d.transfer
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.begin(b.d); err != nil {
		return err
	}
	n := (b.Bytes() + 3) / 4 * 4
	what := "clear " + b.What()
	r := C.ullm_record_fill(b.d.raw, t.commands, C.uint64_t(uintptr(b.block.buffer)), C.uint64_t(b.at), C.uint64_t(n), 0)
	if err := b.d.check(r, what); err != nil {
		return err
	}
	return t.finish(what)
}

// pass hands a buffer's bytes to use in pieces, in order: before use they are read from the device (load), after it they are
// written to it (store).
func (b *buffer) pass(load, store bool, use func(piece []byte) error) error {
	if b.block == nil {
		return nil
	}
	if h := b.host(); h != nil {
		return use(h)
	}
	stage, err := b.d.alloc(onHost, tensor.UseStaging, min(b.Bytes(), stageBytes), "stage for "+b.What())
	if err != nil {
		return err
	}
	defer stage.free()
	for at := int64(0); at < b.Bytes(); at += stageBytes {
		n := min(stageBytes, b.Bytes()-at)
		if load {
			if err := b.d.move("read "+b.What(), copyOf(b, at, stage, 0, n)); err != nil {
				return err
			}
		}
		if err := use(stage.host()[:n]); err != nil {
			return fmt.Errorf("vulkan: %s: %w", b.What(), err)
		}
		if store {
			if err := b.d.move("write "+b.What(), copyOf(stage, 0, b, at, n)); err != nil {
				return err
			}
		}
	}
	return nil
}
