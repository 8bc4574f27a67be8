package model

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Options size an Instance. Zero values are decided by Load.
type Options struct {
	Context   int           // longest sequence in tokens; 0: the model's, lowered when memory is short
	MaxSeqs   int           // sequences that run at once
	MaxTokens int           // tokens of one step
	KV        tensor.Format // format of the cache; NoFormat: the device's first
	Memory    int64         // bytes of device memory to use in all; 0: no limit but KVBytes
	KVTokens  int           // tokens that the cache holds at most; 0: as many as memory allows
	KVBytes   int64         // bytes of it for the cache at most; 0: whatever is left, at most what MaxSeqs sequences can use
	Eager     bool          // run operations one by one, for debugging

	Progress func(done, total int64) // of the upload, in bytes; may be nil
	Log      *slog.Logger            // nil: silent
}

// Instance is a model on a device: its weights, its states and its Programs, one Forward for each bucket of tokens and
// one Head for each bucket of rows. Start and Close are called by one goroutine.
type Instance struct {
	device  tensor.Device
	config  Config
	sizing  Sizing
	weights map[string]tensor.Weight
	states  map[string]tensor.State
	arena   tensor.Arena
	forward []forwardBucket // ascending
	head    []headBucket    // ascending
	closers []func() error  // in order of making
	closed  bool
	block   []byte // the step block under construction
}

type forwardBucket struct {
	limits  tensor.ForwardLimits
	program tensor.Program
}

type headBucket struct {
	rows    int
	program tensor.Program
}

// Load plans, uploads and compiles a model. The checkpoint is only read while Load runs. When it fails, or ctx ends,
// everything that was allocated has been freed.
func Load(ctx context.Context, d tensor.Device, arch Arch, c Config, from Checkpoint, o Options) (in *Instance, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	in = &Instance{device: d, config: c, weights: map[string]tensor.Weight{}, states: map[string]tensor.State{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
			in = nil
		}
	}()
	shard, err := in.size(arch, from, o)
	if err != nil {
		return in, err
	}
	w, err := arch.Weights(shard)
	if err != nil {
		return in, err
	}
	if err := in.upload(ctx, w, from, o); err != nil {
		return in, err
	}
	for _, spec := range shard.States() {
		s, err := d.NewState(spec)
		if err != nil {
			return in, fmt.Errorf("model: state %s: %w", spec.Name, err)
		}
		in.states[spec.Name] = s
		in.closers = append(in.closers, s.Close)
	}
	if err := in.compile(ctx, arch, w, shard, o); err != nil {
		return in, err
	}
	begun := time.Now()
	ran, err := in.warm(ctx)
	if err != nil {
		return in, err
	}
	o.Log.Info("programs warmed up", "programs", ran, "of", len(in.forward)+len(in.head), "seconds", time.Since(begun).Seconds())
	return in, nil
}

func (in *Instance) upload(ctx context.Context, w Weights, from Checkpoint, o Options) error {
	begun := time.Now()
	total, done := w.Bytes(), int64(0)
	in.sizing.WeightBytes = 0 // the device's own count from here on: repacking pads
	for _, role := range w.Roles {
		for _, spec := range w.Specs(role) {
			if err := ctx.Err(); err != nil {
				return err
			}
			src, err := SourceOf(from, in.config, role, spec)
			if err != nil {
				return err
			}
			u, err := in.device.Upload(ctx, spec, src)
			if err != nil {
				return fmt.Errorf("model: weight %s: %w", spec.Name, err)
			}
			in.weights[spec.Name] = u
			in.closers = append(in.closers, u.Close)
			in.sizing.WeightBytes += u.Bytes()
			if spec.ReadBy(tensor.OpLinear) || spec.ReadBy(tensor.OpLinearSwiGLU) {
				in.sizing.StepBytes += u.Bytes()
			}
			done += spec.Bytes()
			if o.Progress != nil {
				o.Progress(done, total)
			}
		}
	}
	o.Log.Info("weights loaded", "bytes", total, "seconds", time.Since(begun).Seconds())
	return nil
}

// plan plans every Program: a Forward for each bucket of tokens, then a Head for each bucket of rows, both ascending.
func (in *Instance) plan(arch Arch, w Weights, s Shard) ([]tensor.Plan, error) {
	var graphs []*tensor.Graph
	for _, l := range in.sizing.forwardLimits() {
		g := tensor.NewGraph(fmt.Sprintf("forward/%d", l.Tokens))
		arch.Forward(g, w, s, l)
		graphs = append(graphs, g)
	}
	for _, rows := range powersUpTo(in.sizing.HeadRows) {
		g := tensor.NewGraph(fmt.Sprintf("head/%d", rows))
		g.Output(arch.Head(g, w, s, rows))
		graphs = append(graphs, g)
	}
	var plans []tensor.Plan
	for _, g := range graphs {
		if err := g.Err(); err != nil {
			return nil, err
		}
		p, err := in.device.Plan(g)
		if err != nil {
			return nil, fmt.Errorf("model: %s: %w", g.Name, err)
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// scratch is the size of the arena that all the plans' Programs share.
func scratch(plans []tensor.Plan) int64 {
	n := int64(0)
	for _, p := range plans {
		n = max(n, p.Scratch())
	}
	return n
}

func (in *Instance) compile(ctx context.Context, arch Arch, w Weights, s Shard, o Options) error {
	plans, err := in.plan(arch, w, s)
	if err != nil {
		return err
	}
	if in.arena, err = in.device.NewArena(scratch(plans)); err != nil {
		return fmt.Errorf("model: scratch of %d bytes: %w", scratch(plans), err)
	}
	in.closers = append(in.closers, in.arena.Close)
	forward, head := in.sizing.forwardLimits(), powersUpTo(in.sizing.HeadRows)
	for i, p := range plans {
		if err := ctx.Err(); err != nil {
			return err
		}
		program, err := in.device.Compile(p, tensor.Bindings{Weights: in.weights, States: in.states, Arena: in.arena, Eager: o.Eager})
		if err != nil {
			return fmt.Errorf("model: compile: %w", err)
		}
		in.closers = append(in.closers, program.Close)
		if i < len(forward) {
			in.forward = append(in.forward, forwardBucket{forward[i], program})
		} else {
			in.head = append(in.head, headBucket{head[i-len(forward)], program})
		}
	}
	return nil
}

// enoughWarmth is how long warming up may take once the smallest buckets are done. A GPU runs all Programs in
// milliseconds; software that plays one takes seconds for a large bucket's empty workgroups.
const enoughWarmth = 2 * time.Second

// warm runs Programs once with an empty step, so that no request waits for what some drivers put off until a kernel's first
// launch: the three smallest of each kind, which have all kernels, for one row, for two and for several, and the larger ones
// as long as that is quick. It returns how many ran.
func (in *Instance) warm(ctx context.Context) (ran int, err error) {
	begun := time.Now()
	for i := range max(len(in.forward), len(in.head)) {
		if i >= 3 && time.Since(begun) > enoughWarmth {
			break
		}
		if i < len(in.forward) {
			f := in.forward[i]
			in.block = grow(in.block, f.limits.Bytes())
			if err := f.limits.Encode(in.block, &tensor.ForwardStep{}); err != nil {
				return ran, err
			}
			if err := in.runOnce(ctx, f.program); err != nil {
				return ran, err
			}
			ran++
		}
		if i < len(in.head) {
			h := in.head[i]
			in.block = grow(in.block, tensor.HeadBytes(h.rows))
			if err := tensor.EncodeHead(in.block, nil); err != nil {
				return ran, err
			}
			if err := in.runOnce(ctx, h.program); err != nil {
				return ran, err
			}
			ran++
		}
	}
	return ran, nil
}

// runOnce runs the step block through a program, to its end even if ctx ends first.
func (in *Instance) runOnce(ctx context.Context, p tensor.Program) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	step, err := p.Start(in.block)
	if err == nil {
		err = step.Wait(context.Background(), nil)
	}
	if err != nil {
		return fmt.Errorf("model: warm up: %w", err)
	}
	return nil
}

// powersUpTo lists 1, 2, 4 … and, last, n itself.
func powersUpTo(n int) []int {
	var p []int
	for b := 1; b < n; b *= 2 {
		p = append(p, b)
	}
	return append(p, n)
}

// Format is the format of most of the weights, by bytes.
func (in *Instance) Format() tensor.Format {
	bytes := map[tensor.Format]int64{}
	most := tensor.NoFormat
	for _, w := range in.weights {
		f := w.Spec().Format
		bytes[f] += w.Bytes()
		if bytes[f] > bytes[most] {
			most = f
		}
	}
	return most
}

// Config is the model's configuration.
func (in *Instance) Config() Config { return in.config }

// Sizing says what Load decided.
func (in *Instance) Sizing() Sizing { return in.sizing }

// Programs prints every Program, for debugging.
func (in *Instance) Programs() []string {
	var s []string
	for _, f := range in.forward {
		s = append(s, f.program.String())
	}
	for _, h := range in.head {
		s = append(s, h.program.String())
	}
	return s
}

// Close frees everything that Load made, last things first, and waits for steps in flight. It is idempotent; the device
// stays open.
func (in *Instance) Close() error {
	if in.closed {
		return nil
	}
	in.closed = true
	var errs []error
	for i := len(in.closers) - 1; i >= 0; i-- {
		errs = append(errs, in.closers[i]())
	}
	return errors.Join(errs...)
}
