package profile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ullm/ullm/internal/profile"
	"github.com/ullm/ullm/tensor"
)

// run is a run of two operations that begins at a time.
func run(begin time.Time) tensor.Run {
	return tensor.Run{Program: "forward/1", Started: begin.Add(-time.Millisecond), Begin: begin, End: begin.Add(5 * time.Millisecond),
		Spans: []tensor.Span{
			{Op: tensor.OpLinear, Kernel: `linear "q8_0"`, Bytes: 6_000_000, End: 3 * time.Millisecond},
			{Op: tensor.OpAttention, Begin: 3 * time.Millisecond, End: 4 * time.Millisecond},
		}}
}

func TestTrace(t *testing.T) {
	var b bytes.Buffer
	r := profile.New(&b)
	begin := time.Now().Add(time.Second)
	r.Run(run(begin))
	r.Run(run(begin.Add(10 * time.Millisecond)))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Ph string
			TS, Dur  float64
			PID, TID int
			Args     map[string]any
		}
	}
	if err := json.Unmarshal(b.Bytes(), &trace); err != nil {
		t.Fatalf("%v in\n%s", err, &b)
	}
	var names []string
	e := trace.TraceEvents
	for _, x := range e {
		names = append(names, x.Name)
	}
	if have, want := strings.Join(names, " "), "thread_name forward/1 Linear Attention forward/1 Linear Attention"; have != want {
		t.Fatalf("the trace has %s, want %s", have, want)
	}
	if e[1].Dur != 5000 || e[2].Dur != 3000 || e[3].Dur != 1000 || e[1].Args["queued_us"] != 1000.0 || e[2].Args["kernel"] != `linear "q8_0"` {
		t.Errorf("the first run is %+v", e[1:4])
	}
	if near := func(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 }; !near(e[2].TS, e[1].TS) || !near(e[3].TS, e[1].TS+3000) || !near(e[4].TS, e[1].TS+10000) {
		t.Errorf("the slices begin at %g, %g, %g, %g µs", e[1].TS, e[2].TS, e[3].TS, e[4].TS)
	}
}

func TestTable(t *testing.T) {
	r := profile.New(&bytes.Buffer{})
	r.Run(run(time.Now()))
	r.Run(run(time.Now()))
	lines := strings.Split(r.Table(), "\n")
	for i, want := range []string{"", "Linear 2 6.000 3000.0 75.0% 2.00", "Attention 2 2.000 1000.0 25.0%", "", "forward/1 2 10.000 5000.0 100.0%"} {
		if have := strings.Join(strings.Fields(lines[i]), " "); want != "" && have != want {
			t.Errorf("line %d is %q, want %q", i, have, want)
		}
	}
}

type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteFails(t *testing.T) {
	r := profile.New(full{})
	r.Run(run(time.Now()))
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("have %v", err)
	}
}
