package tensortest

import (
	"math"
	"testing"

	"github.com/ullm/ullm/tensor"
)

func TestTolerance(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tolerance := Tolerance{RMS: 0.1, Max: 0.2}
	for name, c := range map[string]struct {
		have, want []float32
		scale      []float64
		ok         bool
	}{
		"equal":               {[]float32{1, 0}, []float32{1, 0}, []float64{1, 0}, true},
		"close":               {[]float32{1.1, 5}, []float32{1, 5}, []float64{1, 1}, true},
		"one far":             {[]float32{1.3, 5, 5, 5, 5, 5, 5, 5, 5, 5}, []float32{1, 5, 5, 5, 5, 5, 5, 5, 5, 5}, []float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, false},
		"all a little far":    {[]float32{1.15, 5.15}, []float32{1, 5}, []float64{1, 1}, false},
		"by scale":            {[]float32{1.3}, []float32{1}, []float64{10}, true},
		"no scale":            {[]float32{1e-30}, []float32{0}, []float64{0}, false},
		"NaN for a number":    {[]float32{nan}, []float32{1}, []float64{1}, false},
		"Inf for a number":    {[]float32{inf}, []float32{1}, []float64{1}, false},
		"a number for NaN":    {[]float32{1}, []float32{nan}, []float64{1}, false},
		"-Inf for Inf":        {[]float32{-inf}, []float32{inf}, []float64{1}, false},
		"NaN and Inf in both": {[]float32{nan, inf, -inf}, []float32{nan, inf, -inf}, []float64{1, 1, 1}, true},
		"nothing":             {nil, nil, nil, true},
	} {
		if err := tolerance.within(c.have, c.want, c.scale); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExceptions(t *testing.T) {
	s := &suite{excused: map[int]bool{}, config: Config{Exceptions: []Exception{
		{Device: "gpu", Op: tensor.OpLinear, Format: tensor.Q8_0, Rows: 9, Error: 0.01},
		{Device: "gpu", Op: tensor.OpAttention, Rows: 1, Error: 0.01},
	}}}
	alone, near, far := []float32{1, 100}, []float32{1, 100.5}, []float32{1, 102}
	for name, c := range map[string]struct {
		device string
		op     tensor.Op
		format tensor.Format
		rows   int
		have   []float32
		ok     bool
	}{
		"the same bits":   {"cpu", tensor.OpLinear, tensor.Q8_0, 64, alone, true},
		"excused":         {"gpu", tensor.OpLinear, tensor.Q8_0, 9, near, true},
		"other device":    {"cpu", tensor.OpLinear, tensor.Q8_0, 9, near, false},
		"other operation": {"gpu", tensor.OpSwiGLU, tensor.Q8_0, 9, near, false},
		"other format":    {"gpu", tensor.OpLinear, tensor.Q4_0, 9, near, false},
		"too few rows":    {"gpu", tensor.OpLinear, tensor.Q8_0, 8, near, false},
		"too far":         {"gpu", tensor.OpLinear, tensor.Q8_0, 9, far, false},
		"sign of zero":    {"gpu", tensor.OpLinear, tensor.Q8_0, 1, []float32{1, -100}, false},
	} {
		if err := s.sameRow(c.device, c.op, c.format, c.rows, c.have, alone); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !s.excused[0] || s.excused[1] {
		t.Errorf("needed entries are %v, want the first", s.excused)
	}
	zero := []float32{0}
	if err := s.sameRow("cpu", tensor.OpLinear, tensor.F32, 2, []float32{float32(math.Copysign(0, -1))}, zero); err == nil {
		t.Error("-0 has other bits than 0")
	}
}

func TestFaultCounter(t *testing.T) {
	c := FailNth(2, nil)
	for i, want := range []error{nil, ErrInjected, nil} {
		if err := c.Fault("call"); (err == nil) != (want == nil) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if c.Calls() != 3 || c.Hit() != "call" {
		t.Errorf("%d calls, hit %q", c.Calls(), c.Hit())
	}
}
