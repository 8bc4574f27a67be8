// Package tensortest is the conformance suite that every backend must pass. It compares a backend's results with those of
// backends/ref, operation by operation in awkward shapes, and as whole small models; it proves that a row's result does
// not depend on its batch, and that every path gives its memory back.
//
//	func TestConformance(t *testing.T) {
//		tensortest.Run(t, func(t testing.TB, fault tensortest.Fault) tensor.Device {
//			d, err := cpu.Open(cpu.Options{Fault: fault})
//			if err != nil {
//				t.Fatal(err)
//			}
//			return d
//		}, tensortest.Config{})
//	}
package tensortest

import (
	"flag"
	"strings"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// Open opens the device under test, and ends the test when it cannot. The suite closes it. A fault that is not nil goes
// into the backend's options.
type Open func(t testing.TB, fault Fault) tensor.Device

// Config is what a backend claims beyond the ordinary.
type Config struct {
	// Tolerances come before the suite's own table (see tolerance.go): looser with a reason, or tighter.
	Tolerances []Tolerance
	// Exceptions list where a row's result may depend on the rows beside it. An entry that nothing needs fails.
	Exceptions []Exception
	// Missing lists operations that the backend does not have. An entry that is supported after all fails.
	Missing []Missing
	// Guards, where the backend can put guard bands around its buffers, checks them; it is called after every case.
	Guards func(tensor.Device) error
	// Quick runs every third case and every fourth model: for a variant of a device beside one that runs everything.
	// The tests' -short flag does the same.
	Quick bool
}

// Missing is an operation in a format that a backend refuses with tensor.ErrUnsupported.
type Missing struct {
	Op     tensor.Op
	Format tensor.Format // of the weight or the cache; NoFormat: every format
	Reason string
}

// Run runs the whole suite.
func Run(t *testing.T, open Open, c Config) {
	s := &suite{open: open, config: c, missed: map[int]bool{}, excused: map[int]bool{}}
	s.quick = c.Quick || testing.Short()
	t.Run("ops", s.ops)
	t.Run("prepare", s.prepare)
	t.Run("rows", s.rows)
	t.Run("replays", s.replays)
	t.Run("model", s.model)
	t.Run("life", s.life)
	if !t.Failed() && !filtered() && !s.quick {
		t.Run("needless", s.needless)
	}
}

// filtered tells whether the command line selects tests: then an entry may be needless because its case did not run.
func filtered() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}

// suite is one run of the suite.
type suite struct {
	open   Open
	config Config
	quick  bool

	missed, excused map[int]bool // entries of Config.Missing and Config.Exceptions that were needed
}

// pair opens the device under test and the reference beside it.
func (s *suite) pair(t testing.TB) (dut, oracle tensor.Device) {
	dut = s.open(t, nil)
	oracle = openRef(t)
	t.Cleanup(func() {
		for _, d := range []tensor.Device{dut, oracle} {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			if n := d.Stats().Total(); n != (tensor.Count{}) {
				t.Errorf("%s: closed and still holds %s", d.Info().Backend, d.Stats())
			}
		}
	})
	return dut, oracle
}

// ops compares every operation with the reference.
func (s *suite) ops(t *testing.T) {
	dut, oracle := s.pair(t)
	n := 0
	each(dut.Info(), func(c *opCase) {
		if n++; s.quick && n%3 != 0 {
			return
		}
		t.Run(c.name, func(t *testing.T) { s.compare(t, dut, oracle, c) })
	})
}

// each makes all cases of single operations that a device's formats allow, one after the other.
func each(i tensor.Info, do func(*opCase)) {
	for _, family := range []func(tensor.Info, func(*opCase)){embedCases, normCases, linearCases, ropeCases, attentionCases,
		swigluCases, keepCases, takeCases, sampleCases} {
		family(i, do)
	}
}

// info asks a fresh device about itself.
func (s *suite) info(t testing.TB) tensor.Info {
	d := s.open(t, nil)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	return d.Info()
}
