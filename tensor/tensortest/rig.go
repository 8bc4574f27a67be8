package tensortest

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/ullm/ullm/tensor"
)

// Setup is what a graph's names stand for.
type Setup struct {
	Weights []*Source
	States  []StateInit
}

// StateInit is a state and what it holds at first, in ref's layout; nil: zeros.
type StateInit struct {
	Spec tensor.StateSpec
	Data []byte
}

// Rig holds graphs compiled on a device with all they need, and frees it again.
type Rig struct {
	Device   tensor.Device
	Programs []tensor.Program
	States   map[string]tensor.State
	graphs   []*tensor.Graph
	weights  map[string]tensor.Weight
	arena    tensor.Arena
}

// NewRig uploads, allocates and compiles. When any of it fails, everything is freed again. With poison, the arena is as
// large as the graphs need and full of NaN.
func NewRig(d tensor.Device, s Setup, poison bool, graphs ...*tensor.Graph) (r *Rig, err error) {
	r = &Rig{Device: d, States: map[string]tensor.State{}, weights: map[string]tensor.Weight{}}
	defer func() {
		if err != nil {
			r.Close()
			r = nil
		}
	}()
	var plans []tensor.Plan
	scratch := int64(0)
	for _, g := range graphs {
		p, err := d.Plan(g)
		if err != nil {
			return r, err
		}
		plans = append(plans, p)
		scratch = max(scratch, p.Scratch())
	}
	for _, w := range s.Weights {
		if r.weights[w.Spec.Name], err = upload(d, w); err != nil {
			return r, err
		}
	}
	for _, i := range s.States {
		if err := r.addState(i); err != nil {
			return r, err
		}
	}
	var fill *tensor.Graph
	if poison && scratch > 0 {
		fill = poisonGraph(scratch)
		p, err := d.Plan(fill)
		if err != nil {
			return r, err
		}
		graphs, plans = append(graphs, fill), append(plans, p)
		scratch = max(scratch, p.Scratch())
	}
	if r.arena, err = d.NewArena(scratch); err != nil {
		return r, err
	}
	for i, p := range plans {
		program, err := d.Compile(p, tensor.Bindings{Weights: r.weights, States: r.States, Arena: r.arena})
		if err != nil {
			return r, err
		}
		r.graphs = append(r.graphs, graphs[i])
		r.Programs = append(r.Programs, program)
	}
	if fill != nil {
		last := len(graphs) - 1
		if _, err := r.Run(last, bytes.Repeat([]byte{0xff}, fill.InputBytes())); err != nil {
			return r, err
		}
		err := r.Programs[last].Close()
		r.Programs, r.graphs = r.Programs[:last], r.graphs[:last]
		return r, err
	}
	return r, nil
}

// poisonGraph has one result as large as the arena, which is NaN when its input is.
func poisonGraph(arena int64) *tensor.Graph {
	g := tensor.NewGraph("poison")
	g.SwiGLU(g.Input(0, tensor.F32, tensor.Static(1), int(arena/4)*2))
	return g
}

func upload(d tensor.Device, s *Source) (tensor.Weight, error) {
	w, err := d.Upload(context.Background(), s.Spec, s)
	if err != nil {
		return nil, err // not w: an interface that holds a nil pointer is not nil
	}
	return w, nil
}

func (r *Rig) addState(i StateInit) error {
	s, err := r.Device.NewState(i.Spec)
	if err != nil {
		return err
	}
	r.States[i.Spec.Name] = s
	if i.Data == nil {
		return nil
	}
	return s.Import(bytes.NewReader(i.Data))
}

// Run runs program i once and returns its outputs.
func (r *Rig) Run(i int, in []byte) ([]byte, error) {
	s, err := r.Programs[i].Start(in)
	if err != nil {
		return nil, err
	}
	out := make([]byte, r.graphs[i].OutputBytes())
	return out, s.Wait(context.Background(), out)
}

// Export is a state's content in ref's layout.
func (r *Rig) Export(name string) ([]byte, error) {
	var b bytes.Buffer
	err := r.States[name].Export(&b)
	if err == nil && int64(b.Len()) != r.States[name].Spec().Bytes() {
		err = fmt.Errorf("tensortest: state %s exported as %d bytes, want %d", name, b.Len(), r.States[name].Spec().Bytes())
	}
	return b.Bytes(), err
}

// Close frees everything in reverse order and returns the first error.
func (r *Rig) Close() error {
	var list []io.Closer
	for _, p := range r.Programs {
		list = append(list, p)
	}
	if r.arena != nil {
		list = append(list, r.arena)
	}
	for _, s := range r.States {
		list = append(list, s)
	}
	for _, w := range r.weights {
		if w != nil {
			list = append(list, w)
		}
	}
	var first error
	for _, c := range list {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
