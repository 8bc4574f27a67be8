package ullm

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Options say how a model is opened. The zero value is the command line's default for each; see docs for the flags of
// the same names.
type Options struct {
	Backend  string // "auto" (also ""), "cuda", "vulkan", "cpu", "ref"
	DeviceID int    // which device of the backend
	Threads  int    // CPU worker threads; 0: one for each core
	CPULevel string // instructions that the CPU backend uses: "auto" (also ""), "portable", "avx2", "avx512", "avx512bf16", "neon", "neondot"

	ContextLen        int     // longest sequence in tokens; 0: the model's, lowered when memory is short
	MaxBatchSeqs      int     // sequences that run at once; 0: 256
	MaxBatchTokens    int     // tokens of one step; 0: 512
	KVCacheTokens     int     // tokens that the KV cache holds at most; 0: as many as memory allows
	MemoryUtilization float64 // share of the device's free memory to use; 0: 0.9
	KVDType           string  // "auto" (also ""), "f32", "f16", "bf16", "q8_0"
	NoPrefixCache     bool
	NoAsync           bool // plan a step only when the one before has been read
	Eager             bool // launch operations one by one, for debugging
	MaxQueue          int  // requests that may wait; 0: no bound

	ServedName   string // the model's name in answers; "": taken from MODEL
	ChatTemplate string // replaces the model's own; ""
	RopeScaling  string // a JSON object as config.json has it; ""

	HubOffline bool // use only what the hub's cache holds

	Profile  tensor.Profile                        // is told of every run of a Program once the model is loaded; nil: nothing is timed
	Progress func(stage string, done, total int64) // of download and load; may be nil
	Log      *slog.Logger                          // nil: silent
	Now      func() time.Time                      // for templates that ask for the date; nil: time.Now

	device func() (tensor.Device, error) // makes the device instead of Backend, for tests; nil
	loaded *atomic.Bool                  // what runs before, to warm up, is not profiled; nil without a profile
}

// Option changes Options.
type Option func(*Options)

// Backend chooses the backend by name.
func Backend(name string) Option { return func(o *Options) { o.Backend = name } }

// Threads sets the number of CPU worker threads.
func Threads(n int) Option { return func(o *Options) { o.Threads = n } }

// ContextLen bounds the length of a sequence in tokens.
func ContextLen(tokens int) Option { return func(o *Options) { o.ContextLen = tokens } }

// Log sends log lines to a logger.
func Log(l *slog.Logger) Option { return func(o *Options) { o.Log = l } }

// With replaces all options.
func With(options Options) Option { return func(o *Options) { *o = options } }
