package lifetime

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Runner runs a compiled graph. A run has one of as many slots as runs may be in flight.
type Runner interface {
	// Submit hands a run to the device, its step block being in the slot's input. No other Start is under way. A device
	// that runs its programs in Finish checks here that it may.
	Submit(slot int) error
	// Finish runs or awaits what was submitted and copies its outputs to out. Calls come one after the other, in the order
	// of the starts.
	Finish(slot int, out []byte, started time.Time) error
	// Release frees what the program holds.
	Release() error
}

// Program is the part of a program that does not depend on the device: its runs. A backend's program embeds it.
type Program struct {
	device *Device
	graph  *tensor.Graph
	runner Runner
	inputs [][]byte      // the slots' step blocks
	counts []tensor.Rows // every live count in the step block, to be checked before a run
	start  string        // what the calls are for messages
	wait   string

	slots  []int   // those free; under device.mu
	steps  []*step // those free, the longest first; under device.mu
	flying int     // runs started and not done; under device.mu
}

// Open readies and registers the program. inputs are a step block for each run that may be in flight.
func (p *Program) Open(d *Device, g *tensor.Graph, inputs [][]byte, r Runner) error {
	*p = Program{device: d, graph: g, runner: r, inputs: inputs, start: "start " + g.Name, wait: "wait for " + g.Name}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		if r := g.RowsOf(v); g.KindOf(v) != tensor.Stored && r.Count >= 0 && !slices.Contains(p.counts, r) {
			p.counts = append(p.counts, r)
		}
	}
	for i := range inputs {
		p.slots = append(p.slots, i)
	}
	for range 2*len(inputs) + spare {
		s := p.newStep()
		s.done <- struct{}{}
		p.steps = append(p.steps, s)
	}
	return d.Add(p)
}

// Input is the step block of a slot's run.
func (p *Program) Input(slot int) []byte { return p.inputs[slot] }

// Split cuts memory into n step blocks of equal size.
func Split(b []byte, n int) [][]byte {
	size := len(b) / n
	blocks := make([][]byte, n)
	for i := range blocks {
		blocks[i] = b[i*size:][:size:size]
	}
	return blocks
}

// What names the program in messages.
func (p *Program) What() string { return "program " + p.graph.Name }

// Close waits for runs in flight and frees what the program holds.
func (p *Program) Close() error {
	d := p.device
	d.mu.Lock()
	for p.flying > 0 {
		d.changed.Wait()
	}
	d.mu.Unlock()
	if d.Remove(p) {
		return p.runner.Release()
	}
	return nil
}

// Start copies in and enqueues one run. It allocates nothing.
func (p *Program) Start(in []byte) (tensor.Step, error) {
	d := p.device
	if len(in) != p.graph.InputBytes() {
		return nil, fmt.Errorf("%s: %s: step block of %d bytes, want %d", d.backend, p.start, len(in), p.graph.InputBytes())
	}
	for _, r := range p.counts {
		if n := int32(binary.LittleEndian.Uint32(in[r.Count:])); n < 0 || int(n) > r.Cap {
			return nil, fmt.Errorf("%s: %s: step block says %d live rows, capacity is %d", d.backend, p.start, n, r.Cap)
		}
	}
	if err := d.Call(p.start); err != nil {
		return nil, err
	}
	started := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for (d.flying >= d.depth || d.alone) && !d.closed {
		d.changed.Wait()
	}
	if d.closed || !d.open[p] {
		return nil, fmt.Errorf("%s: %s: %w", d.backend, p.start, tensor.ErrClosed)
	}
	last := len(p.slots) - 1
	slot := p.slots[last]
	copy(p.inputs[slot], in)
	if err := p.runner.Submit(slot); err != nil {
		return nil, err
	}
	p.slots = p.slots[:last]
	s := p.take()
	s.slot, s.started = slot, started
	d.flying++
	p.flying++
	d.queue = append(d.queue, s)
	d.changed.Broadcast()
	return s, nil
}

// step is one run, started. A step is used again once it was waited for, but not before spare others were: waiting once more
// for what is done answers what it answered.
type step struct {
	program *Program
	slot    int
	out     []byte
	started time.Time
	// done holds a value when the run is done. Who takes it has the fields below to himself, and puts it back.
	done   chan struct{}
	err    error
	waited bool
}

func (p *Program) newStep() *step {
	return &step{program: p, out: make([]byte, p.graph.OutputBytes()), done: make(chan struct{}, 1)}
}

// spare is how many steps that were waited for are left alone.
const spare = 2

// take is a step for a new run. It must make one when steps were started that nobody waits for.
func (p *Program) take() *step {
	if len(p.steps) <= spare {
		return p.newStep()
	}
	s := p.steps[0]
	p.steps = append(p.steps[:0], p.steps[1:]...)
	<-s.done
	s.err, s.waited = nil, false
	return s
}

func (s *step) Wait(ctx context.Context, out []byte) error {
	p := s.program
	select {
	case <-s.done:
	default:
		select {
		case <-s.done:
		case <-ctx.Done():
			return fmt.Errorf("%s: %s: %w", p.device.backend, p.wait, context.Cause(ctx))
		}
	}
	again := s.waited
	s.waited = true
	if !again && s.err == nil {
		s.err = p.device.Fault(p.wait)
	}
	err := s.err
	if err == nil {
		copy(out, s.out)
	}
	s.done <- struct{}{}
	if !again {
		p.device.mu.Lock()
		p.steps = append(p.steps, s)
		p.device.mu.Unlock()
	}
	return err
}
