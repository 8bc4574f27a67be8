package cpu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// TestThreads: the number of threads changes no bit.
func TestThreads(t *testing.T) {
	const rows, cols, ffn = 37, 256, 520
	source := func(name string, f tensor.Format, cols int, rows ...int) *tensortest.Source {
		s := tensortest.Spec(name, f, cols, rows...)
		s.Readers = []tensor.Op{tensor.OpLinear, tensor.OpLinearSwiGLU}
		return tensortest.RandomSource(s, 5)
	}
	for _, level := range cpu.Levels() {
		setup := tensortest.Setup{Weights: []*tensortest.Source{source("a", tensor.BF16, cols, 300, 212), source("norm", tensor.F32, cols, 1)}}
		g := tensor.NewGraph("threads")
		x := g.Input(0, tensor.F32, tensor.Static(rows), cols)
		_, h := g.AddRMSNorm(x, 0, g.Weight(setup.Weights[1].Spec), 1e-6)
		g.Output(g.Linear(h, 0, g.Weight(setup.Weights[0].Spec)))
		for _, f := range tensor.WeightFormats() {
			up := source("up."+f.String(), f, cols, ffn, ffn)
			setup.Weights = append(setup.Weights, up)
			g.Output(g.LinearSwiGLU(h, g.Weight(up.Spec)))
		}
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		var in []byte
		for _, v := range tensortest.Normal(rows*cols, 1, 3) {
			in = binary.LittleEndian.AppendUint32(in, math.Float32bits(v))
		}
		var want []byte
		for _, threads := range []int{1, 2, 3, 8} {
			d, err := cpu.Open(cpu.Options{Level: level, Threads: threads, Guard: true})
			if err != nil {
				t.Fatal(err)
			}
			r, err := tensortest.NewRig(d, setup, true, g)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				out, err := r.Run(0, in)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = out
				}
				if !bytes.Equal(out, want) {
					t.Errorf("%s: %d threads give other bits than one", level, threads)
				}
			}
			if err := errors.Join(r.Close(), d.Close()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestOpen: options out of range are refused with what is possible.
func TestOpen(t *testing.T) {
	for want, o := range map[string]cpu.Options{
		"use 1 or 2":    {Depth: 3},
		"use 1 to 1024": {Threads: 5000},
		"portable":      {Level: 77},
	} {
		if _, err := cpu.Open(o); err == nil || !strings.HasPrefix(err.Error(), "cpu: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one that says %q", o, err, want)
		}
	}
}
