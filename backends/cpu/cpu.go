// Package cpu runs graphs on the processor's cores.
//
// Weights are repacked once, when they are uploaded, into panels that package simd's kernels stream through; a pool of
// threads shares each operation out in pieces whose results do not depend on who computes them, so that a row's bits are
// the same alone and in a batch, however its prompt was cut, on any number of threads.
package cpu

import (
	"fmt"
	"runtime"

	"github.com/klauspost/cpuid/v2"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/backends/internal/lifetime"
	"github.com/ullm/ullm/tensor"
)

// Level says which instructions the kernels use, and so how they round. Results are reproducible to the bit within a
// level.
type Level uint8

// The levels. Auto is the fastest one that the machine runs.
const (
	Auto       Level = iota
	Portable         // plain Go and gonum
	AVX2             // AVX2, FMA, F16C
	AVX512           // AVX-512 with VNNI
	AVX512BF16       // and VDPBF16PS: bf16 weights meet bf16 activations
	NEON             // arm64's vectors
	NEONDot          // and SDOT: the same bits as NEON, sooner
)

// String is the level's lower-case name.
func (l Level) String() string {
	if l == Auto {
		return "auto"
	}
	return simd.Level(l - 1).String()
}

// ParseLevel finds a level by its name; "" is Auto.
func ParseLevel(name string) (Level, error) {
	if name == "" || name == Auto.String() {
		return Auto, nil
	}
	l, err := simd.ParseLevel(name)
	if err != nil {
		return Auto, fmt.Errorf("cpu: %w", err)
	}
	return Level(l) + 1, nil
}

// Levels lists the levels that this machine runs, lowest first.
func Levels() []Level {
	var ls []Level
	for _, l := range simd.Levels() {
		ls = append(ls, Level(l)+1)
	}
	return ls
}

// Options choose how a device behaves; the zero Options are a device for use.
type Options struct {
	Threads int   // threads that compute; 0: as many as Go may use
	Level   Level // Auto unless a test wants another
	Depth   int   // runs that may be in flight: 1 or 2; 0 is 2
	// Guard puts bands of known bytes behind every buffer, which CheckGuards and the buffer's release inspect.
	Guard bool
	// Fault, when set, is asked before every call that could fail on a real device: each allocation, piece of an
	// upload, compilation, start and wait. The call fails with what it answers. An answer that wraps
	// tensor.ErrDeviceLost loses the device.
	Fault   func(call string) error
	Profile tensor.Profile // nil: nothing is timed
}

// maxThreads bounds Options.Threads.
const maxThreads = 1024

// Open makes a device.
func Open(o Options) (tensor.Device, error) {
	var err error
	if o.Depth, err = lifetime.Depth("cpu", o.Depth); err != nil {
		return nil, err
	}
	if o.Threads == 0 {
		o.Threads = min(runtime.GOMAXPROCS(0), maxThreads)
	}
	if o.Threads < 1 || o.Threads > maxThreads {
		return nil, fmt.Errorf("cpu: %d threads; use 1 to %d", o.Threads, maxThreads)
	}
	level := simd.Best()
	if o.Level != Auto {
		level = simd.Level(o.Level - 1)
	}
	kernels, err := simd.For(level)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	d := &device{options: o, kernels: kernels}
	d.Init("cpu", o.Depth, o.Fault)
	d.pool = newPool(kernels, o.Threads, machineNodes())
	d.memoryAll, d.memoryFree = systemMemory()
	go func() {
		d.pool.placement.stay(0)
		d.Work()
	}()
	return d, nil
}

func (d *device) Info() tensor.Info {
	name := cpuid.CPU.BrandName
	if name == "" {
		name = runtime.GOARCH
	}
	return tensor.Info{
		Backend:   "cpu",
		Name:      name,
		Detail:    fmt.Sprintf("%s, %s, %d threads", runtime.GOARCH, d.kernels.Level, d.options.Threads),
		Memory:    d.memoryAll,
		Free:      d.memoryFree,
		Shared:    true,
		Threads:   d.options.Threads,
		Depth:     d.options.Depth,
		HeadRows:  64,
		Formats:   tensor.WeightFormats(),
		KVFormats: kvFormats(),
	}
}

// kvFormats are the caches that attention reads, the default first: f16 costs what bf16 costs and keeps three more bits.
func kvFormats() []tensor.Format {
	return []tensor.Format{tensor.F16, tensor.BF16, tensor.F32, tensor.Q8_0}
}
