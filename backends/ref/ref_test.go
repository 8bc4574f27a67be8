package ref

import (
	"context"
	"encoding/binary"
	"math"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// matrix is an F32 weight in memory.
type matrix []float32

func (m matrix) Rows(part, first, n int, use func([]byte) error) error {
	b := make([]byte, 0, 4*len(m))
	for _, v := range m {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	row := len(b) / n
	return use(b[first*row : (first+n)*row])
}

func TestLinearByHand(t *testing.T) {
	d, err := Open(Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.Upload(context.Background(), tensor.WeightSpec{Name: "w", Format: tensor.F32, Cols: 3,
		Parts: []tensor.Part{{Name: "w", Rows: 2}}}, matrix{1, 2, 3, 4, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	g := tensor.NewGraph("linear")
	x := g.Input(0, tensor.F32, tensor.Static(1), 3)
	at := g.Output(g.Linear(x, 0, g.Weight(w.Spec())))
	p, err := d.Plan(g)
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.NewArena(p.Scratch())
	if err != nil {
		t.Fatal(err)
	}
	run, err := d.Compile(p, tensor.Bindings{Weights: map[string]tensor.Weight{"w": w}, Arena: a})
	if err != nil {
		t.Fatal(err)
	}
	in := words(12)
	copy(floats(in), []float32{1, 10, 100})
	s, err := run.Start(in)
	if err != nil {
		t.Fatal(err)
	}
	out := words(int64(g.OutputBytes()))
	if err := s.Wait(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	if y := floats(out[at:]); y[0] != 321 || y[1] != 654 {
		t.Errorf("have %v, want [321 654]", y)
	}
	for _, c := range []interface{ Close() error }{run, a, w, d} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if s := d.Stats().Total(); s != (tensor.Count{}) {
		t.Errorf("still held: %+v", s)
	}
}
