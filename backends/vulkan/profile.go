//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"slices"
	"time"
	"unsafe"

	"github.com/ullm/ullm/tensor"
)

// stamps are the timestamps of a segment: one before its first launch and one after each. The zero stamps take none.
type stamps struct {
	pool  unsafe.Pointer
	ticks []C.uint64_t
}

// create makes them if the device is profiled and has a clock.
func (s *stamps) create(d *device, launches int) error {
	if d.options.Profile == nil || d.physical.timestamp_bits == 0 {
		return nil
	}
	if err := d.Fault("vkCreateQueryPool"); err != nil {
		return err
	}
	s.ticks = make([]C.uint64_t, launches+1)
	return d.check(C.ullm_stamps_create(d.raw, C.uint32_t(len(s.ticks)), &s.pool), "make timestamps")
}

func (s *stamps) destroy(d *device) {
	if s.pool != nil {
		C.ullm_stamps_destroy(d.raw, s.pool)
	}
}

// read takes the times of a segment that has run.
func (s *stamps) read(d *device) error {
	return d.check(C.ullm_stamps_read(d.raw, s.pool, C.uint32_t(len(s.ticks)), &s.ticks[0]), "read timestamps")
}

// profile tells how a run went. The device has a clock of its own; its last stamp is taken for the moment at which the
// processor learns that the run is done.
func (p *program) profile(s *slot, started time.Time) error {
	d := p.d
	end := time.Now()
	spans := slices.Clone(p.spans)
	if d.physical.timestamp_bits == 0 {
		d.options.Profile(tensor.Run{Program: p.plan.graph.Name, Started: started, Begin: started, End: end, Spans: spans})
		return nil
	}
	var zero C.uint64_t
	var last time.Duration
	for i, seg := range s.segments {
		if err := seg.stamps.read(d); err != nil {
			return err
		}
		if i == 0 {
			zero = seg.stamps.ticks[0]
		}
		for j, t := range seg.stamps.ticks {
			at := d.physical.duration(uint64(t - zero))
			last = max(last, at)
			switch {
			case j == 0:
				spans[seg.first].Begin = at
			default:
				spans[seg.first+j-1].End = at
				if seg.first+j < seg.end {
					spans[seg.first+j].Begin = at
				}
			}
		}
	}
	d.options.Profile(tensor.Run{Program: p.plan.graph.Name, Started: started, Begin: end.Add(-last), End: end, Spans: spans})
	return nil
}

// duration turns a difference of two timestamps into time.
func (p *physical) duration(ticks uint64) time.Duration {
	if bits := uint(p.timestamp_bits); bits < 64 {
		ticks &= 1<<bits - 1
	}
	return time.Duration(float64(ticks) * float64(p.timestamp_period))
}
