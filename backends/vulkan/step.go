//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ullm/ullm/tensor"
)

// step is one run, started. A step is used again once it was waited for, but not before spare others were: waiting once more
// for what is done answers what it answered.
type step struct {
	program *program
	slot    *slot
	out     []byte
	started time.Time // for a profile
	// done holds a value when the run is done. Who takes it has the fields below to himself, and puts it back.
	done   chan struct{}
	err    error
	waited bool
}

func (p *program) newStep() *step {
	return &step{program: p, out: make([]byte, p.plan.graph.OutputBytes()), done: make(chan struct{}, 1)}
}

// spare is how many steps that were waited for are left alone.
const spare = 2

// take is a step for a new run. It must make one when steps were started that nobody waits for.
func (p *program) take() *step {
	if len(p.steps) <= spare {
		return p.newStep()
	}
	s := p.steps[0]
	p.steps = append(p.steps[:0], p.steps[1:]...)
	<-s.done
	s.err, s.waited = nil, false
	return s
}

// Start allocates nothing.
func (p *program) Start(in []byte) (tensor.Step, error) {
	g, d := p.plan.graph, p.d
	if len(in) != g.InputBytes() {
		return nil, fmt.Errorf("vulkan: start %s: step block of %d bytes, want %d", g.Name, len(in), g.InputBytes())
	}
	for _, r := range p.counts {
		if n := int32(binary.LittleEndian.Uint32(in[r.Count:])); n < 0 || int(n) > r.Cap {
			return nil, fmt.Errorf("vulkan: start %s: step block says %d live rows, capacity is %d", g.Name, n, r.Cap)
		}
	}
	var started time.Time
	if d.options.Profile != nil {
		started = time.Now()
	}
	if d.options.Fault != nil || d.lost() {
		if err := d.call("vkQueueSubmit, start %s", g.Name); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.flying >= d.options.Depth && !d.closed {
		d.changed.Wait()
	}
	if d.closed || !d.live[p] || p.arena.freed.Load() {
		return nil, fmt.Errorf("vulkan: start %s: %w", g.Name, tensor.ErrClosed)
	}
	last := len(p.slots) - 1
	s := p.slots[last]
	copy(s.in, in)
	if err := p.submit(s); err != nil {
		return nil, err
	}
	p.slots = p.slots[:last]
	st := p.take()
	st.slot, st.started = s, started
	d.flying++
	p.flying++
	d.queue = append(d.queue, st)
	d.changed.Broadcast()
	return st, nil
}

// submit hands a slot's segments to the queue. What was submitted when a later segment is refused has run when submit
// returns, so that the slot is free again.
func (p *program) submit(s *slot) error {
	d := p.d
	d.submit.Lock()
	defer d.submit.Unlock()
	for i, seg := range s.segments {
		r := C.ullm_submit(d.raw, seg.commands)
		if r != 0 {
			err := d.check(r, "start "+p.at(seg))
			if i > 0 {
				err = errors.Join(err, d.await(s.segments[i-1].commands, p.name))
			}
			return err
		}
		if p.eager && i < len(s.segments)-1 {
			if err := d.await(seg.commands, p.name); err != nil {
				return fmt.Errorf("%w, in %s", err, p.at(seg))
			}
		}
	}
	return nil
}

// at names a segment for messages: with --enforce-eager, the one launch that failed.
func (p *program) at(seg *segment) string {
	if seg.end == seg.first+1 {
		return fmt.Sprintf("%s, launch %d, %s %s", p.plan.graph.Name, seg.first, p.spans[seg.first].Op, p.spans[seg.first].Kernel)
	}
	return p.plan.graph.Name
}

// finish waits for the device and takes the outputs.
func (s *step) finish() {
	p, segments := s.program, s.slot.segments
	s.err = p.d.await(segments[len(segments)-1].commands, p.name)
	if s.err != nil {
		return
	}
	copy(s.out, s.slot.out)
	if p.d.options.Profile != nil {
		s.err = s.profile()
	}
}

func (s *step) Wait(ctx context.Context, out []byte) error {
	p := s.program
	select {
	case <-s.done:
	default:
		select {
		case <-s.done:
		case <-ctx.Done():
			return fmt.Errorf("vulkan: wait for %s: %w", p.plan.graph.Name, context.Cause(ctx))
		}
	}
	again := s.waited
	s.waited = true
	if !again && s.err == nil && p.d.options.Fault != nil {
		s.err = p.d.fault("vkWaitForFences, %s", p.plan.graph.Name)
	}
	err := s.err
	if err == nil {
		copy(out, s.out)
	}
	s.done <- struct{}{}
	if !again {
		p.d.mu.Lock()
		p.steps = append(p.steps, s)
		p.d.mu.Unlock()
	}
	return err
}
