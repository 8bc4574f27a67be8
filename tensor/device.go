package tensor

import (
	"context"
	"io"
)

// Device is one processor with its memory: the interface that a backend implements. Its methods may be called from any
// goroutine; Programs of one device run in the order in which they were started.
type Device interface {
	// Info tells what the device is and can do; it never fails and does not change.
	Info() Info
	// NewState allocates zeroed memory that outlives a step. ErrOutOfMemory, ErrUnsupported (a cache format).
	NewState(StateSpec) (State, error)
	// Upload brings one weight onto the device, repacked as its kernels want it. It is the only place where weights
	// are repacked, and it fixes the weight's numeric class from the device, the format and the shape alone: never
	// from how many rows will be multiplied. It reads the source in pieces and keeps none of it.
	Upload(context.Context, WeightSpec, Source) (Weight, error)
	// NewArena allocates the memory for values between operations that Programs share, since they never overlap.
	NewArena(bytes int64) (Arena, error)
	// Plan decides how the graph will run and what that needs. It allocates no device memory. ErrUnsupported names
	// the operation and the format.
	Plan(*Graph) (Plan, error)
	// Compile makes a plan runnable.
	Compile(Plan, Bindings) (Program, error)
	// Stats reads the ledger.
	Stats() Stats
	// Close waits for what was started, frees everything that is still live and returns an error that says what
	// leaked: whatever its owners had not closed before. It is idempotent.
	Close() error
}

// Info describes a device.
type Info struct {
	Backend   string   // "cpu", "ref", "vulkan", "cuda"
	Name      string   // as the driver or the processor names itself
	Detail    string   // what was chosen on it: instruction sets, driver version
	Limits    []string // what its driver allows and has, for people to read
	Lacks     string   // why it cannot be opened, for people to read; "" if it can
	Memory    int64    // bytes of memory in all; 0 when unknown
	Free      int64    // bytes free when the device was opened; 0 when unknown
	Shared    bool     // its memory is the machine's own, which other programs need too
	Threads   int      // worker threads; 0 where that means nothing
	Depth     int      // how many started Programs may be in flight: 1 or 2
	HeadRows  int      // rows of logits one Head should hold at most
	Formats   []Format // weights it can multiply
	KVFormats []Format // caches it can hold, the default first
}

// Source streams the stored bytes of one weight.
type Source interface {
	// Rows hands rows [first, first+n) of a part to use, in the weight's format. The slice is valid inside use only,
	// and the file pages behind it are let go afterwards. Calls may be concurrent.
	Rows(part, first, n int, use func(rows []byte) error) error
}

// WeightSpec says what a weight is before any of it is read.
type WeightSpec struct {
	Name   string // for messages and prints: "layers.0.qkv"
	Format Format
	Parts  []Part // row blocks, one below the other: q, k, v; gate, up
	Cols   int    // values per row; a multiple of the format's block
	// Readers are the operations that will read it. A matrix read by both Embed and Linear (tied embeddings) is held
	// once, in Linear's layout.
	Readers []Op
}

// Part is a block of rows of a weight that is a tensor of its own in the model's files.
type Part struct {
	Name string
	Rows int
}

// Rows is the number of rows of all parts together.
func (w WeightSpec) Rows() int {
	n := 0
	for _, p := range w.Parts {
		n += p.Rows
	}
	return n
}

// Bytes is the weight's size as files store it.
func (w WeightSpec) Bytes() int64 { return int64(w.Rows()) * int64(w.Format.RowBytes(w.Cols)) }

// ReadBy tells whether op is among the weight's readers.
func (w WeightSpec) ReadBy(op Op) bool {
	for _, r := range w.Readers {
		if r == op {
			return true
		}
	}
	return false
}

// Weight is an uploaded weight.
type Weight interface {
	Spec() WeightSpec
	Bytes() int64 // on the device
	Close() error
}

// State is memory on a device that outlives a step: KV pages, sequence slots, kept rows.
type State interface {
	Spec() StateSpec
	// Export writes the state in ref's layout (see StateSpec); no Program may be running.
	Export(io.Writer) error
	// Import reads what Export wrote.
	Import(io.Reader) error
	Close() error
}

// Arena is the scratch memory that Programs share.
type Arena interface {
	Bytes() int64
	Close() error
}

// Plan is a graph prepared by one device's Plan for the same device's Compile.
type Plan interface {
	// Scratch is the size in bytes of the arena that the Program will need.
	Scratch() int64
	// Program is the size in bytes of what the Program will hold by itself.
	Program() int64
	// String lists the launches: kernel, shape, bytes read and written.
	String() string
}

// Bindings give the things that a graph only names. Weights and States are found by the names used in the graph.
type Bindings struct {
	Weights map[string]Weight
	States  map[string]State
	Arena   Arena // at least Plan.Scratch bytes; one arena serves all Programs of a device
	// Eager runs and awaits each operation by itself, for debugging.
	Eager bool
}

// Program is a compiled graph. It is immutable; what varies between steps is in the input block and in States.
type Program interface {
	// Start copies in (Graph.InputBytes long) and enqueues one run. It blocks while Info.Depth runs are in flight.
	// Runs of all Programs of a device happen in the order of Start.
	Start(in []byte) (Step, error)
	// String lists kernels, grids and bytes moved, as Plan.String does.
	String() string
	// Close waits for runs in flight and frees what the Program holds. Idempotent.
	Close() error
}

// Step is one run of a Program.
type Step interface {
	// Wait blocks until the run is done and copies its outputs to out (Graph.OutputBytes long; shorter gets a prefix,
	// nil none). When ctx ends first the run goes on, and Wait may be called again. It must succeed or fail once for
	// each Start.
	Wait(ctx context.Context, out []byte) error
}
