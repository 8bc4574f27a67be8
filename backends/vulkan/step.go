//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"errors"
	"fmt"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Submit hands a run's segments to the queue.
func (p *program) Submit(slot int) error {
	if p.arena.Freed() {
		return fmt.Errorf("vulkan: start %s: its arena is %w", p.plan.graph.Name, tensor.ErrClosed)
	}
	return p.submit(p.runs[slot])
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

// Finish waits for the device and takes the outputs.
func (p *program) Finish(slot int, out []byte, started time.Time) error {
	s := p.runs[slot]
	if err := p.d.await(s.segments[len(s.segments)-1].commands, p.name); err != nil {
		return err
	}
	copy(out, s.out)
	if p.d.options.Profile != nil {
		return p.profile(s, started)
	}
	return nil
}
