package tensortest

import (
	"fmt"
	"math"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// Exception is a place where a row's result depends on the rows beside it, with the reason why that is accepted.
type Exception struct {
	Device string        // Info.Name
	Op     tensor.Op     // of one operation
	Format tensor.Format // of the weight or the cache; NoFormat: any
	Rows   int           // batches of at least so many rows differ from one row by itself
	Error  float64       // the largest difference, relative to the largest value of the row
	Reason string
}

// sameRow compares a row's result in a batch with its result by itself. They are equal to the bit, or an exception covers
// the difference.
func (s *suite) sameRow(device string, op tensor.Op, f tensor.Format, rows int, have, alone []float32) error {
	worst, at := 0.0, 0
	peak := 0.0
	for _, v := range alone {
		peak = max(peak, math.Abs(float64(v)))
	}
	for i, v := range alone {
		if math.Float32bits(v) == math.Float32bits(have[i]) {
			continue
		}
		e := math.Abs(float64(v)-float64(have[i])) / peak
		if e > worst || math.IsNaN(e) {
			worst, at = max(e, math.SmallestNonzeroFloat64), i
		}
	}
	if worst == 0 {
		return nil
	}
	for i, x := range s.config.Exceptions {
		if x.Device == device && x.Op == op && (x.Format == f || x.Format == tensor.NoFormat) && rows >= x.Rows && worst <= x.Error {
			s.needed(s.excused, i)
			return nil
		}
	}
	return fmt.Errorf("value %d is %g in a batch of %d rows and %g alone (difference relative to the row's largest value: %.3g)",
		at, have[at], rows, alone[at], worst)
}

// needless fails for every entry of the configuration that no case needed.
func (s *suite) needless(t *testing.T) {
	for i, m := range s.config.Missing {
		if !s.missed[i] {
			t.Errorf("Config.Missing: no case needs %s in %s", m.Op, m.Format)
		}
	}
	name := s.info(t).Name
	for i, x := range s.config.Exceptions {
		if x.Device == name && !s.excused[i] {
			t.Errorf("Config.Exceptions: no case needs %+v", x)
		}
	}
}
