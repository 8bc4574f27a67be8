//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"errors"
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
	commands [2]*C.ullm_commands // objects of their own: what C gets may not lie beside Go pointers
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
	for i := range t.commands {
		c := new(C.ullm_commands)
		if err := d.check(C.ullm_commands_create(d.raw, c), "make a command buffer"); err != nil {
			t.destroy()
			return err
		}
		t.commands[i], t.d = c, d
	}
	t.made = true
	return nil
}

func (t *transfer) destroy() {
	for i, c := range t.commands {
		if c != nil {
			C.ullm_commands_destroy(t.d.raw, c)
			t.commands[i] = nil
		}
	}
}

// finish submits what was recorded and waits.
func (t *transfer) finish(what string) error {
	if err := t.submit(t.commands[0], what); err != nil {
		return err
	}
	return t.d.await(t.commands[0], what)
}

func (t *transfer) submit(c *C.ullm_commands, what string) error {
	d := t.d
	if err := d.Fault(fmt.Sprintf("vkQueueSubmit, %s", what)); err != nil {
		return err
	}
	d.submit.Lock()
	defer d.submit.Unlock()
	return d.check(C.ullm_submit(d.raw, c), what)
}

// ring passes pieces to the device through memory that both reach: while the device copies one piece, the processor makes
// the next. Who has a ring has the transfer to himself until he closes it.
type ring struct {
	t      *transfer
	stages [2]*buffer
	flying [2]bool // the device copies from the stage
	turn   int
}

// ring makes one for pieces of n bytes.
func (t *transfer) ring(d *device, n int64, name string) (*ring, error) {
	t.mu.Lock()
	r := &ring{t: t}
	err := t.begin(d)
	for i := range r.stages {
		if err == nil {
			r.stages[i], err = d.alloc(onHost, tensor.UseStaging, n, "stage for "+name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.close(name))
	}
	return r, nil
}

// next is the stage for the next piece, once the device has done with it.
func (r *ring) next(what string) (*buffer, error) { return r.stages[r.turn], r.land(r.turn, what) }

// land waits for the copy out of a stage.
func (r *ring) land(i int, what string) error {
	if !r.flying[i] {
		return nil
	}
	r.flying[i] = false
	return r.t.d.await(r.t.commands[i], what)
}

// send has the piece in the stage that next gave copied.
func (r *ring) send(what string, copies ...C.ullm_copy) error {
	c, d := r.t.commands[r.turn], r.t.d
	if err := d.check(C.ullm_record(d.raw, c, &copies[0], C.uint32_t(len(copies)), nil, 0, nil, 0, nil), what); err != nil {
		return err
	}
	if err := r.t.submit(c, what); err != nil {
		return err
	}
	r.flying[r.turn] = true
	r.turn = 1 - r.turn
	return nil
}

// close waits for what was sent and frees the ring.
func (r *ring) close(what string) error {
	defer r.t.mu.Unlock()
	err := errors.Join(r.land(0, what), r.land(1, what))
	for _, s := range r.stages {
		if s != nil {
			s.free()
		}
	}
	return err
}

// move copies between buffers and waits.
func (d *device) move(what string, copies ...C.ullm_copy) error {
	t := &d.transfer
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.begin(d); err != nil {
		return err
	}
	if err := d.check(C.ullm_record(d.raw, t.commands[0], &copies[0], C.uint32_t(len(copies)), nil, 0, nil, 0, nil), what); err != nil {
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
	r := C.ullm_record_fill(b.d.raw, t.commands[0], C.uint64_t(uintptr(b.block.buffer)), C.uint64_t(b.at), C.uint64_t(n), 0)
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
