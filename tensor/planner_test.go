package tensor_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// drawGraph is any chain of operations whose results are read near and far.
func drawGraph(t *rapid.T) *tensor.Graph {
	g := tensor.NewGraph("any")
	hidden := g.State(tensor.StateSpec{Name: "hidden", Rows: &tensor.RowSpec{Rows: 64, Cols: 8}})
	kept := g.Input(0, tensor.I32, tensor.Static(2), 1)
	values := []tensor.Value{g.Input(8, tensor.F32, tensor.Static(rapid.IntRange(1, 64).Draw(t, "rows")), 8)}
	weight := func(cols, rows int) tensor.Value {
		return g.Weight(tensortest.Spec(fmt.Sprint("w", g.Values()), tensor.F32, cols, rows))
	}
	for range rapid.IntRange(1, 30).Draw(t, "operations") {
		x := rapid.SampledFrom(values).Draw(t, "x")
		cols := g.ColsOf(x)
		switch rapid.IntRange(0, 5).Draw(t, "operation") {
		case 0:
			values = append(values, g.Linear(x, 0, weight(cols, rapid.IntRange(1, 40).Draw(t, "width"))))
		case 1:
			sum, normed := g.AddRMSNorm(x, x, weight(cols, 1), 0)
			values = append(values, sum, normed)
		case 2:
			_, normed := g.AddRMSNorm(x, 0, weight(cols, 1), 0)
			values = append(values, normed)
		case 3:
			if cols%2 == 0 {
				values = append(values, g.SwiGLU(x))
			}
		case 4:
			if cols == 8 {
				g.KeepRows(x, 0, weight(8, 1), kept, hidden, 0)
			}
		case 5:
			if g.KindOf(x) == tensor.Result {
				g.Output(x)
			}
		}
	}
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	return g
}

// sizes gives some values no place, and others more than their rows, as backends do.
func sizes(t *rapid.T, g *tensor.Graph) func(tensor.Value) int64 {
	skip := rapid.IntRange(2, 9).Draw(t, "skip")
	return func(v tensor.Value) int64 {
		if int(v)%skip == 0 {
			return 0
		}
		return g.BytesOf(v) + int64(v)%3*5
	}
}

func TestPlaceKeepsLiveValuesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		size := sizes(t, g)
		align := int64(1) << rapid.IntRange(0, 8).Draw(t, "align")
		p := tensor.Place(g, size, align)
		// Walk through the graph as a run would, noting who owns each byte.
		owner := make([]tensor.Value, p.Bytes)
		lastRead := map[tensor.Value]int{}
		for i, n := range g.Nodes {
			for _, v := range n.In {
				lastRead[v] = i
			}
		}
		for i, n := range g.Nodes {
			for _, v := range n.Out {
				o := p.Offset[v]
				if size(v) == 0 {
					if o != -1 {
						t.Fatalf("value %d has no size and lies at %d", v, o)
					}
					continue
				}
				if o < 0 || o%align != 0 || o+size(v) > p.Bytes {
					t.Fatalf("value %d lies at %d of %d", v, o, p.Bytes)
				}
				for b := o; b < o+size(v); b++ {
					if w := owner[b]; w != 0 {
						_, output := g.OutputOf(w)
						if last, ok := lastRead[w]; ok && last >= i || output || !ok && contains(n.Out, w) {
							t.Fatalf("value %d, made by operation %d, overwrites value %d, which is needed", v, i, w)
						}
					}
					owner[b] = v
				}
			}
		}
	})
}

func contains(list []tensor.Value, v tensor.Value) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// TestDependsIsSharedMemory compares Depends with the bytes and states that two operations touch.
func TestDependsIsSharedMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		size := sizes(t, g)
		p := tensor.Place(g, size, 16)
		type touch struct {
			v      tensor.Value
			lo, hi int64 // of the arena; empty for a value that is not there
		}
		touches := func(list []tensor.Value) (all []touch) {
			for _, v := range list {
				t := touch{v: v}
				if p.Offset[v] >= 0 {
					t.lo, t.hi = p.Offset[v], p.Offset[v]+size(v)
				}
				if v != 0 {
					all = append(all, t)
				}
			}
			return all
		}
		meet := func(a, b []touch) bool {
			for _, x := range a {
				for _, y := range b {
					if x.v == y.v || max(x.lo, y.lo) < min(x.hi, y.hi) {
						return true
					}
				}
			}
			return false
		}
		// A few neighbours are enough for each graph.
		for i := range g.Nodes {
			for j := i + 1; j < min(i+4, len(g.Nodes)); j++ {
				a, b := &g.Nodes[i], &g.Nodes[j]
				writesA, writesB := touches(append(a.Writes(), a.Out...)), touches(append(b.Writes(), b.Out...))
				want := meet(writesA, writesB) || meet(writesA, touches(b.In)) || meet(touches(a.In), writesB)
				if have := tensor.Depends(g, p, size, a, b); have != want {
					t.Fatalf("%s (%d) and %s (%d): Depends says %v, their memory %v\n%s", a.Op, i, b.Op, j, have, want, g)
				}
			}
		}
	})
}

// TestPlaceIsTight: a model's arena is no larger than what is live at its widest operation, but for a little.
func TestPlaceIsTight(t *testing.T) {
	m := tensortest.SmallModel("m", tensor.F32, tensortest.One(tensor.F32))
	g := m.Forward(tensor.ForwardLimits{Tokens: 64, Seqs: 4, Rows: 4, Pages: 4, Params: 4, History: 4, Bias: 4})
	p := tensor.Place(g, g.BytesOf, 64)
	widest := int64(0)
	for i := range g.Nodes {
		live := int64(0)
		seen := map[tensor.Value]bool{}
		for j := range g.Nodes[i:] {
			for _, v := range append(g.Nodes[i+j].In, g.Nodes[i].Out...) {
				made := false
				for _, n := range g.Nodes[:i+1] {
					made = made || contains(n.Out, v)
				}
				if v != 0 && made && !seen[v] {
					seen[v] = true
					live += g.BytesOf(v)
				}
			}
		}
		widest = max(widest, live)
	}
	if p.Bytes < widest || p.Bytes > widest*5/4 {
		t.Errorf("the arena has %d bytes; %d are live at once", p.Bytes, widest)
	}
}
