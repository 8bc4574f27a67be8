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
	"slices"
	"strings"
	"sync"
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
	// Formats, where it is not nil, says that this is a variant of a device that is tested by itself, which multiplies by
	// weights of these formats in another way: what multiplies runs, in them alone.
	Formats []tensor.Format
}

// Missing is an operation in a format that a backend refuses with tensor.ErrUnsupported.
type Missing struct {
	Op     tensor.Op
	Format tensor.Format // of the weight or the cache; NoFormat: every format
	Reason string
}

// Run runs the whole suite. Its parts run beside one another, each with devices of its own.
func Run(t *testing.T, open Open, c Config) {
	s := &suite{open: open, config: c, missed: map[int]bool{}, excused: map[int]bool{}}
	s.quick = testing.Short()
	t.Cleanup(func() { // when all parts are done
		if !t.Failed() && !filtered() && !s.quick {
			s.needless(t)
		}
	})
	// What takes longest comes first.
	s.part(t, "model", s.model)
	if c.Formats == nil {
		s.part(t, "life", s.life)
		s.part(t, "prepare", s.prepare)
	}
	s.part(t, "ops", s.ops)
	s.part(t, "rows", s.rows)
	s.part(t, "replays", s.replays)
}

func (s *suite) part(t *testing.T, name string, run func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		run(t)
	})
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
	quick  bool // every third case and every fourth model: the tests' -short flag

	mu              sync.Mutex
	missed, excused map[int]bool // entries of Config.Missing and Config.Exceptions that were needed
}

// needed remembers that an entry was.
func (s *suite) needed(entries map[int]bool, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries[i] = true
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
	each(s.formats(dut), func(c *opCase) {
		if s.config.Formats != nil && c.op != tensor.OpLinear && c.op != tensor.OpLinearSwiGLU {
			return
		}
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

// formats is what a device says of itself, with the formats of weights that are tested.
func (s *suite) formats(d tensor.Device) tensor.Info {
	i := d.Info()
	if s.config.Formats != nil {
		i.Formats = slices.Clone(i.Formats)
		i.Formats = slices.DeleteFunc(i.Formats, func(f tensor.Format) bool { return !slices.Contains(s.config.Formats, f) })
	}
	return i
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
