package tensortest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// opCase is one graph, mostly of one operation, with its inputs.
type opCase struct {
	name   string
	op     tensor.Op
	format tensor.Format
	graph  *tensor.Graph
	setup  Setup
	in     []byte
	checks []check
	macs   int64 // multiplications and additions, for timings
}

// check is a piece of the outputs, or of a state, to compare.
type check struct {
	name  string
	state string // compare this state, bit for bit unless kv is set
	kv    func(export []byte) []float32
	at, n int       // else n 4-byte values of the output block, from byte at
	scale []float64 // of f32 values; nil: the values are i32 and must be equal
}

// compare runs a case on both devices.
func (s *suite) compare(t *testing.T, dut, oracle tensor.Device, c *opCase) {
	t.Helper()
	if err := c.graph.Err(); err != nil {
		t.Fatal(err)
	}
	want, wantStates := execute(t, oracle, c)
	have, haveStates, err := c.execute(dut)
	if s.missing(t, c, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	tolerance := s.tolerance(c.op, c.format)
	for _, k := range c.checks {
		var err error
		switch h, w := haveStates[k.state], wantStates[k.state]; {
		case k.state != "" && k.kv != nil:
			err = tolerance.within(k.kv(h), k.kv(w), k.scale)
		case k.state != "":
			err = equal(h, w)
		case k.scale == nil:
			err = equal(have[k.at:][:4*k.n], want[k.at:][:4*k.n])
		default:
			err = tolerance.within(floatsOf(have[k.at:][:4*k.n]), floatsOf(want[k.at:][:4*k.n]), k.scale)
		}
		if err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	if s.config.Guards != nil {
		if err := s.config.Guards(dut); err != nil {
			t.Errorf("guard bands: %v", err)
		}
	}
}

func execute(t *testing.T, d tensor.Device, c *opCase) ([]byte, map[string][]byte) {
	out, states, err := c.execute(d)
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	return out, states
}

// execute runs the case on a device whose scratch memory is NaN.
func (c *opCase) execute(d tensor.Device) (out []byte, states map[string][]byte, err error) {
	r, err := NewRig(d, c.setup, true, c.graph)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if out, err = r.Run(0, c.in); err != nil {
		return nil, nil, err
	}
	states = map[string][]byte{}
	for _, k := range c.checks {
		if k.state != "" {
			if states[k.state], err = r.Export(k.state); err != nil {
				return nil, nil, err
			}
		}
	}
	return out, states, nil
}

// missing tells whether the backend lists this case as missing, and checks that it says so properly.
func (s *suite) missing(t *testing.T, c *opCase, err error) bool {
	for _, m := range s.config.Missing {
		if m.Op != c.op || m.Format != tensor.NoFormat && m.Format != c.format {
			continue
		}
		s.used["missing "+m.Op.String()+" "+m.Format.String()] = true
		switch {
		case !errors.Is(err, tensor.ErrUnsupported):
			t.Errorf("%s in %s is listed as missing; have error %v", c.op, c.format, err)
		case !strings.Contains(err.Error(), c.op.String()) || c.format != tensor.NoFormat && !strings.Contains(err.Error(), c.format.String()):
			t.Errorf("the error should name %s and %s: %v", c.op, c.format, err)
		}
		return true
	}
	return false
}

func equal(have, want []byte) error {
	if bytes.Equal(have, want) {
		return nil
	}
	for i := range want {
		if i >= len(have) || have[i] != want[i] {
			w := i &^ 3
			return errorAt(w, have[w:min(w+4, len(have))], want[w:min(w+4, len(want))])
		}
	}
	return errors.New("too long")
}

func errorAt(at int, have, want []byte) error {
	return fmt.Errorf("byte %d: have % x, want % x", at, have, want)
}
