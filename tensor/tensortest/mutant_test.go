package tensortest_test

import (
	"context"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// mutant is a device with one fault, which the suite must find.
type mutant struct {
	tensor.Device
	fault string
}

// mutants are the faults, and the test of the suite that is to find each.
var mutants = map[string]string{
	"no fault":           "",
	"inexact":            "ops/AddRMSNorm",
	"rows beyond":        "ops/KeepRows",
	"dependent rows":     "rows/SwiGLU",
	"wrong draw":         "ops/Sample/33",
	"forgets a page":     "prepare/8",
	"unstable":           "replays",
	"lost step":          "life/waits",
	"swallows a fault":   "life/faults",
	"leaks silently":     "life/leaks",
	"closes noisily":     "life/close",
	"supports all":       "life/refuses",
	"imports half":       "model/f32/exchange",
	"another last token": "model/f32/pipeline",
}

const mutantVariable = "ULLM_TEST_MUTANT"

// TestMutant is one faulty device under the suite; TestSuiteFindsFaults runs it in a process of its own.
func TestMutant(t *testing.T) {
	fault := os.Getenv(mutantVariable)
	if fault == "" {
		return
	}
	tensortest.Run(t, func(t testing.TB, f tensortest.Fault) tensor.Device {
		if fault == "swallows a fault" {
			f = nil
		}
		d, err := ref.Open(ref.Options{Fault: f})
		if err != nil {
			t.Fatal(err)
		}
		return &mutant{Device: d, fault: fault}
	}, tensortest.Config{})
}

func TestSuiteFindsFaults(t *testing.T) {
	for fault, test := range mutants {
		t.Run(fault, func(t *testing.T) {
			run := "^TestMutant$/" + strings.ReplaceAll("^"+test+"$", "/", "$/^")
			switch {
			case test == "":
				run = "^TestMutant$/^(replays|life)$"
			case strings.HasPrefix(test, "ops/"):
				run = "^TestMutant$/^ops$/^" + strings.Join(strings.Split(test, "/")[1:], "/")
			}
			cmd := exec.Command(os.Args[0], "-test.run", run)
			cmd.Env = append(os.Environ(), mutantVariable+"="+fault)
			out, err := cmd.CombinedOutput()
			if failed := err != nil; failed != (test != "") {
				t.Errorf("%s under %s: failed is %v\n%s", fault, run, failed, out)
			}
			if test != "" && !strings.Contains(string(out), "--- FAIL") {
				t.Errorf("%s under %s: no test failed:\n%s", fault, run, out)
			}
		})
	}
}

func (m *mutant) Plan(g *tensor.Graph) (tensor.Plan, error) {
	p, err := m.Device.Plan(g)
	if m.fault == "supports all" {
		return p, nil
	}
	return p, err
}

func (m *mutant) NewState(s tensor.StateSpec) (tensor.State, error) {
	st, err := m.Device.NewState(s)
	if err == nil && m.fault == "imports half" {
		return &halfState{st}, nil
	}
	return st, err
}

// Compile hides the program, so that what goes in and comes out can be changed.
func (m *mutant) Compile(p tensor.Plan, b tensor.Bindings) (tensor.Program, error) {
	states := map[string]tensor.State{}
	for name, s := range b.States {
		if h, ok := s.(*halfState); ok {
			s = h.State
		}
		states[name] = s
	}
	b.States = states
	inner, err := m.Device.Compile(p, b)
	if err != nil {
		return nil, err
	}
	return &mutantProgram{Program: inner, m: m, text: p.String(), states: b.States}, nil
}

func (m *mutant) Close() error {
	err := m.Device.Close()
	switch m.fault {
	case "leaks silently":
		return nil
	case "closes noisily":
		if err == nil {
			return tensor.ErrClosed
		}
	}
	return err
}

// halfState imports only the first half.
type halfState struct{ tensor.State }

func (h *halfState) Import(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) < h.Spec().Bytes() {
		return io.ErrUnexpectedEOF
	}
	clear(b[len(b)/2:])
	return h.State.Import(strings.NewReader(string(b)))
}

type mutantProgram struct {
	tensor.Program
	m      *mutant
	text   string
	states map[string]tensor.State
	runs   int
}

func (p *mutantProgram) Start(in []byte) (tensor.Step, error) {
	in = append([]byte(nil), in...)
	if p.m.fault == "forgets a page" && strings.Contains(p.text, "graph prepare") {
		in[12] = 0 // the count of page writes
	}
	if p.m.fault == "another last token" && strings.Contains(p.text, " = Sample(") {
		in[4*(16+1)]++ // the first row's slot
	}
	s, err := p.Program.Start(in)
	if err != nil {
		return nil, err
	}
	p.runs++
	return &mutantStep{Step: s, p: p, run: p.runs, rows: int(in[0])}, nil
}

type mutantStep struct {
	tensor.Step
	p         *mutantProgram
	run, rows int
	gone      bool
}

func (s *mutantStep) Wait(ctx context.Context, out []byte) error {
	if s.gone {
		return tensor.ErrClosed
	}
	if ctx.Err() != nil && s.p.m.fault == "lost step" {
		s.gone = true
		_ = s.Step.Wait(context.Background(), nil)
		return ctx.Err()
	}
	if err := s.Step.Wait(ctx, out); err != nil {
		return err
	}
	has := func(op string) bool { return strings.Contains(s.p.text, " = "+op+"(") }
	switch {
	case len(out) < 4:
	case s.p.m.fault == "inexact" && has("AddRMSNorm"):
		bend(out[len(out)/2&^3:], 1.0001)
		bend(out, 1.0001)
	case s.p.m.fault == "dependent rows" && has("SwiGLU") && s.rows > 8:
		out[0] ^= 1
	case s.p.m.fault == "unstable" && s.run > 3:
		out[0] ^= 1
	case s.p.m.fault == "wrong draw" && has("Sample"):
		out[0] ^= 1
	}
	if s.p.m.fault == "rows beyond" && has("KeepRows") {
		return overwriteLast(s.p.states["hidden"])
	}
	return nil
}

func bend(b []byte, by float32) {
	v := math.Float32frombits(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16|uint32(b[3])<<24) * by
	u := math.Float32bits(v)
	b[0], b[1], b[2], b[3] = byte(u), byte(u>>8), byte(u>>16), byte(u>>24)
}

// overwriteLast changes the last byte of a state.
func overwriteLast(s tensor.State) error {
	var b strings.Builder
	if err := s.Export(&b); err != nil {
		return err
	}
	c := []byte(b.String())
	c[len(c)-1] ^= 1
	return s.Import(strings.NewReader(string(c)))
}
