// Package profile turns what devices tell a tensor.Profile into a trace that Perfetto (https://ui.perfetto.dev) and
// Chrome open, and into a table of where the time went.
package profile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ullm/ullm/tensor"
)

// Recorder writes a trace while runs come in. Its Run is the tensor.Profile.
type Recorder struct {
	mu       sync.Mutex
	out      *bufio.Writer
	err      error // the first one
	zero     time.Time
	ops      map[tensor.Op]*sum
	programs map[string]*sum
}

// sum is what an operation or a program took in all.
type sum struct {
	name  string
	count int
	bytes int64
	time  time.Duration
}

// event is one line of a trace, in the format that Chrome's trace viewer began: times are microseconds.
type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"` // X: a slice; M: a name
	TS    float64        `json:"ts"`
	Dur   float64        `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// New begins a trace.
func New(w io.Writer) *Recorder {
	r := &Recorder{out: bufio.NewWriterSize(w, 1<<16), zero: time.Now(), ops: map[tensor.Op]*sum{}, programs: map[string]*sum{}}
	_, r.err = r.out.WriteString("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n")
	r.write(event{Name: "thread_name", Phase: "M", PID: 1, TID: 1, Args: map[string]any{"name": "device"}}, "")
	return r
}

func (r *Recorder) write(e event, before string) {
	b, err := json.Marshal(e)
	if err == nil && r.err == nil {
		_, r.err = r.out.WriteString(before)
	}
	if err == nil && r.err == nil {
		_, err = r.out.Write(b)
	}
	if r.err == nil {
		r.err = err
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func add[K comparable](m map[K]*sum, key K, name string, d time.Duration, bytes int64) {
	s := m[key]
	if s == nil {
		s = &sum{name: name}
		m[key] = s
	}
	s.count++
	s.time += d
	s.bytes += bytes
}

// Run records a run: a slice for it, and one within it for each of its launches.
func (r *Recorder) Run(run tensor.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	begin := run.Begin.Sub(r.zero)
	r.write(event{Name: run.Program, Phase: "X", TS: micros(begin), Dur: micros(run.End.Sub(run.Begin)), PID: 1, TID: 1,
		Args: map[string]any{"queued_us": micros(run.Begin.Sub(run.Started))}}, ",\n")
	add(r.programs, run.Program, run.Program, run.End.Sub(run.Begin), 0)
	for _, s := range run.Spans {
		args := map[string]any{}
		if s.Kernel != "" {
			args["kernel"] = s.Kernel
		}
		if s.Bytes > 0 {
			args["bytes"] = s.Bytes
		}
		r.write(event{Name: s.Op.String(), Phase: "X", TS: micros(begin + s.Begin), Dur: micros(s.End - s.Begin), PID: 1, TID: 1, Args: args}, ",\n")
		add(r.ops, s.Op, s.Op.String(), s.End-s.Begin, s.Bytes)
	}
}

// Close ends the trace; what comes later is not in it. It returns the first error of writing.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, r.err = r.out.WriteString("\n]}\n")
	}
	if r.err == nil {
		r.err = r.out.Flush()
	}
	if r.err != nil {
		return fmt.Errorf("profile: write the trace: %w", r.err)
	}
	return nil
}

// Table sums up operations and programs, the longest first. GB/s counts bytes at capacity: where a bucket was not full it
// is more than was moved.
func (r *Recorder) Table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s %9s %11s %11s %7s %8s\n", "operation", "launches", "total ms", "mean µs", "share", "GB/s")
	table(&b, r.ops)
	fmt.Fprintf(&b, "%-16s %9s %11s %11s %7s\n", "program", "runs", "total ms", "mean µs", "share")
	table(&b, r.programs)
	return b.String()
}

func table[K comparable](b *strings.Builder, m map[K]*sum) {
	var list []*sum
	var all time.Duration
	for _, s := range m {
		list = append(list, s)
		all += s.time
	}
	slices.SortFunc(list, func(a, b *sum) int {
		if a.time != b.time {
			return int(b.time - a.time)
		}
		return strings.Compare(a.name, b.name)
	})
	for _, s := range list {
		fmt.Fprintf(b, "%-16s %9d %11.3f %11.1f %6.1f%%", s.name, s.count, micros(s.time)/1e3, micros(s.time)/float64(s.count),
			100*float64(s.time)/float64(max(all, 1)))
		if s.bytes > 0 && s.time > 0 {
			fmt.Fprintf(b, " %8.2f", float64(s.bytes)/float64(s.time.Nanoseconds()))
		}
		b.WriteByte('\n')
	}
}
