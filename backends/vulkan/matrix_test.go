//go:build cgo && (linux || windows)

package vulkan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMatrixDispatches(t *testing.T) {
	needMatrices(t)
	for _, f := range []tensor.Format{tensor.F16, tensor.BF16} {
		roundedDispatches(t, vulkan.Options{Matrix: vulkan.MatrixAlways}, f, "matrix")
	}
}

// multiply runs tokens of x, cols wide, through a Linear, or LinearSwiGLU, of rows results, and gives these back.
func multiply(t *testing.T, d tensor.Device, w *tensortest.Source, swiglu bool, x []float32, tokens int) []byte {
	t.Helper()
	cols := w.Spec.Cols
	g := tensor.NewGraph(fmt.Sprintf("%d tokens", tokens))
	in := g.Input(0, tensor.F32, tensor.Static(tokens), cols)
	if swiglu {
		g.Output(g.LinearSwiGLU(in, g.Weight(w.Spec)))
	} else {
		g.Output(g.Linear(in, 0, g.Weight(w.Spec)))
	}
	r, err := tensortest.NewRig(d, tensortest.Setup{Weights: []*tensortest.Source{w}}, false, g)
	if err != nil {
		t.Fatal(err)
	}
	block, out := make([]byte, 0, 4*len(x)), make([]byte, g.OutputBytes())
	for _, v := range x[:tokens*cols] {
		block = append(block, floatBytes(v)...)
	}
	s, err := r.Programs[0].Start(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Wait(context.Background(), out), r.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMatrixGeometries: a token has the same bits alone, among a few, and in the tiles of many, whose segments of k come one
// after the other; and values beyond f16 neither overflow nor lose what f16 has.
func TestMatrixGeometries(t *testing.T) {
	needMatrices(t)
	d := open(t, vulkan.Options{Matrix: vulkan.MatrixAlways})
	for _, c := range []struct {
		format     tensor.Format
		rows, cols int
		swiglu     bool
		large      float32
	}{
		{tensor.F16, 40, 2336, false, 1}, // ten groups, the last with one chunk, in five segments
		{tensor.BF16, 27, 512, false, 1e6},
		{tensor.F16, 32, 768, true, 100},
	} {
		spec := tensortest.Spec("w", c.format, c.cols, c.rows)
		spec.Readers = []tensor.Op{tensor.OpLinear}
		if c.swiglu {
			spec = tensortest.Spec("w", c.format, c.cols, c.rows, c.rows)
			spec.Readers = []tensor.Op{tensor.OpLinearSwiGLU}
		}
		w := tensortest.RandomSource(spec, 3)
		const most = 70
		x := tensortest.Normal(most*c.cols, 1, 4)
		x[5] = c.large
		all := multiply(t, d, w, c.swiglu, x, most)
		sizes := []int{1, 3, 9, 32}
		if c.swiglu {
			sizes = sizes[:1]
		}
		for _, n := range sizes {
			if have := multiply(t, d, w, c.swiglu, x, n); !bytes.Equal(have, all[:len(have)]) {
				t.Errorf("%s %d × %d: %d tokens have other bits than %d", c.format, c.rows, c.cols, n, most)
			}
		}
		if c.swiglu {
			continue
		}
		values := w.Values()
		for token := range 2 {
			for row := range c.rows {
				want, squares := 0.0, 0.0
				for k := range c.cols {
					p := float64(x[token*c.cols+k]) * float64(values[row*c.cols+k])
					want += p
					squares += p * p
				}
				have := float64(bytesFloat(all[4*(token*c.rows+row):]))
				if far := math.Abs(have-want) / math.Sqrt(squares); far > 1./(1<<10) {
					t.Errorf("%s %d × %d, token %d, row %d: have %g, want %g", c.format, c.rows, c.cols, token, row, have, want)
				}
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
