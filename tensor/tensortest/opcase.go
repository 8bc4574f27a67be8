package tensortest

import (
	"errors"
	"fmt"
	"math"
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
	macs   int64 // products that are added, for timings
}

// check is a piece of the outputs, or of a state, to compare: as f32 values when scale or size is set, else bit for bit.
type check struct {
	name   string
	at, n  int                                        // n 4-byte values of the output block, from byte at
	state  string                                     // instead: a state, as it is exported
	view   func([]byte) []float32                     // the state's values
	bits   func([]byte) []byte                        // the part of the state that must be equal
	scale  func() []float64                           // of each value, see Tolerance
	size   func([]float32) []float64                  // instead: the scale that follows from the wanted values
	format tensor.Format                              // whose tolerance holds, where it is not the case's
	judge  func(have, want []byte, t Tolerance) error // instead of all this
}

// ownSize is the scale of values that are one product: their own size.
func ownSize(want []float32) []float64 { return groupSize(1, 1)(want) }

// pairSize is the scale of rotated heads: the length of the vector that was turned.
func pairSize(dim int) func([]float32) []float64 { return groupSize(dim, dim/2) }

// groupSize is the root of the sum of squares over those values of each run of n that stand step apart.
func groupSize(n, step int) func([]float32) []float64 {
	return func(want []float32) []float64 {
		scale := make([]float64, len(want))
		for i := range want {
			for j := i/n*n + i%step; j < (i/n+1)*n; j += step {
				scale[i] += float64(want[j]) * float64(want[j])
			}
			scale[i] = math.Sqrt(scale[i])
		}
		return scale
	}
}

func (k *check) run(have, want []byte, t Tolerance) error {
	if k.state == "" {
		have, want = have[k.at:][:4*k.n], want[k.at:][:4*k.n]
	}
	view := k.view
	switch {
	case k.judge != nil:
		return k.judge(have, want, t)
	case k.bits != nil:
		return equal(k.bits(have), k.bits(want))
	case k.scale == nil && k.size == nil:
		return equal(have, want)
	case view == nil:
		view = floatsOf
	}
	w := view(want)
	if k.size != nil {
		return t.within(view(have), w, k.size(w))
	}
	return t.within(view(have), w, k.scale())
}

func equal(have, want []byte) error {
	for i := range want {
		if i >= len(have) || have[i] != want[i] {
			w := i &^ 3
			return fmt.Errorf("word %d: have bytes % x, want % x", w/4, have[min(w, len(have)):min(w+4, len(have))], want[w:min(w+4, len(want))])
		}
	}
	if len(have) != len(want) {
		return fmt.Errorf("have %d bytes, want %d", len(have), len(want))
	}
	return nil
}

// compare runs a case on both devices.
func (s *suite) compare(t *testing.T, dut, oracle tensor.Device, c *opCase) {
	t.Helper()
	if err := c.graph.Err(); err != nil {
		t.Fatal(err)
	}
	want, wantStates, err := c.execute(oracle)
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	have, haveStates, err := c.execute(dut)
	if s.missing(t, c, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range c.checks {
		h, w := have, want
		if k.state != "" {
			h, w = haveStates[k.state], wantStates[k.state]
		}
		f := c.format
		if k.format != tensor.NoFormat {
			f = k.format
		}
		if err := k.run(h, w, s.tolerance(c.op, f)); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	s.guards(t, dut)
}

func (s *suite) guards(t *testing.T, dut tensor.Device) {
	t.Helper()
	if s.config.Guards == nil {
		return
	}
	if err := s.config.Guards(dut); err != nil {
		t.Errorf("guard bands: %v", err)
	}
}

// execute runs the case on a device whose scratch memory is NaN, and exports the states that are to be checked.
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
	for i, m := range s.config.Missing {
		if m.Op != c.op || m.Format != tensor.NoFormat && m.Format != c.format {
			continue
		}
		s.needed(s.missed, i)
		if !errors.Is(err, tensor.ErrUnsupported) {
			t.Errorf("%s in %s is listed as missing; have error %v", c.op, c.format, err)
			return true
		}
		names(t, err, c.op.String())
		if c.format != tensor.NoFormat {
			names(t, err, c.format.String())
		}
		return true
	}
	return false
}

// names checks that an error's text mentions what it is about.
func names(t *testing.T, err error, what ...string) {
	t.Helper()
	for _, w := range what {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error should name %s: %v", w, err)
		}
	}
}
