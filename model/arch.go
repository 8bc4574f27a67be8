package model

import (
	"fmt"

	"github.com/ullm/ullm/tensor"
)

// Arch is a model's architecture: which weights it has and how it computes, as data and graphs. It knows no device.
type Arch interface {
	// Weights lists what has to be uploaded. Parts are named as Hugging Face checkpoints name their tensors.
	Weights(s Shard) (Weights, error)
	// Forward builds the graph from token ids to kept hidden rows.
	Forward(g *tensor.Graph, w Weights, s Shard, l tensor.ForwardLimits)
	// Head builds the graph from kept hidden rows to sampled tokens, and returns the result to read back.
	Head(g *tensor.Graph, w Weights, s Shard, rows int) tensor.Value
}

// Shard is the part of a model that one device holds, and the states it has there.
type Shard struct {
	Config Config
	Lookup func(name string) (TensorInfo, bool) // the checkpoint's tensors, by Hugging Face names
	KV     tensor.KVSpec                        // one layer's keys or values
	Slots  tensor.SlotSpec
	Hidden tensor.RowSpec // rows kept for Head
	// Positions is the number of rows of the rope table: the context length.
	Positions int
}

// TensorInfo is what a checkpoint's header says of a tensor.
type TensorInfo struct {
	Format     tensor.Format // NoFormat: one that is not supported
	Stored     string        // the format in the file's own words; "" where that says no more than Format
	Rows, Cols int           // a vector is one row
}

// The names of the states in every architecture's graphs.
const (
	SlotsState  = "slots"
	HiddenState = "hidden"
)

// KeyState and ValueState name a layer's caches.
func KeyState(layer int) string   { return fmt.Sprintf("k.%d", layer) }
func ValueState(layer int) string { return fmt.Sprintf("v.%d", layer) }

// SlotsSpec is the state of the sequence slots.
func (s Shard) SlotsSpec() tensor.StateSpec {
	return tensor.StateSpec{Name: SlotsState, Slots: &s.Slots}
}

// HiddenSpec is the state of the kept rows.
func (s Shard) HiddenSpec() tensor.StateSpec {
	return tensor.StateSpec{Name: HiddenState, Rows: &s.Hidden}
}

// CacheSpec is a layer's cache of that name.
func (s Shard) CacheSpec(name string) tensor.StateSpec {
	return tensor.StateSpec{Name: name, KV: &s.KV}
}

// States are all states that the shard's graphs name.
func (s Shard) States() []tensor.StateSpec {
	specs := []tensor.StateSpec{s.SlotsSpec(), s.HiddenSpec()}
	for l := range s.Config.Layers {
		specs = append(specs, s.CacheSpec(KeyState(l)), s.CacheSpec(ValueState(l)))
	}
	return specs
}

// lookup finds a tensor that the model cannot do without.
func (s Shard) lookup(name string) (TensorInfo, error) {
	info, ok := s.Lookup(name)
	if !ok {
		return info, fmt.Errorf("model: the checkpoint has no tensor %s; is it complete?", name)
	}
	if info.Format == tensor.NoFormat {
		return info, fmt.Errorf("model: tensor %s is stored as %s; supported: %v", name, info.Stored, tensor.WeightFormats())
	}
	return info, nil
}

// Weights are a shard's weights by role ("layers.0.qkv"). A role whose parts differ in format has several weights, one
// below the other.
type Weights struct {
	Roles []string // in the order of upload
	specs map[string][]tensor.WeightSpec
}

// Add gives a role its parts, grouped into runs of equal format. Vectors (norms, biases, tables) are converted to f32.
func (w *Weights) Add(s Shard, role string, readers []tensor.Op, parts ...tensor.Part) error {
	var specs []tensor.WeightSpec
	for _, p := range parts {
		info, err := s.lookup(p.Name)
		if err != nil {
			return err
		}
		if info.Rows != p.Rows {
			return fmt.Errorf("model: tensor %s is %d × %d; its config asks for %d rows", p.Name, info.Rows, info.Cols, p.Rows)
		}
		n := len(specs)
		if n > 0 && specs[n-1].Cols != info.Cols {
			return fmt.Errorf("model: tensor %s has %d columns, %s has %d", p.Name, info.Cols, specs[n-1].Parts[0].Name, specs[n-1].Cols)
		}
		if n > 0 && specs[n-1].Format == info.Format {
			specs[n-1].Parts = append(specs[n-1].Parts, p)
			continue
		}
		if info.Cols%info.Format.Block() != 0 {
			return fmt.Errorf("model: tensor %s: rows of %d values cannot be stored as %s", p.Name, info.Cols, info.Format)
		}
		name := role
		if n > 0 {
			name = fmt.Sprintf("%s/%d", role, n)
		}
		specs = append(specs, tensor.WeightSpec{Name: name, Format: info.Format, Parts: []tensor.Part{p}, Cols: info.Cols, Readers: readers})
	}
	w.put(role, specs)
	return nil
}

// AddVector gives a role one row of f32: the named vectors of the checkpoint one after the other.
func (w *Weights) AddVector(s Shard, role string, op tensor.Op, parts ...tensor.Part) error {
	cols := 0
	for _, p := range parts {
		info, err := s.lookup(p.Name)
		if err != nil {
			return err
		}
		if info.Rows != 1 || info.Cols != p.Rows {
			return fmt.Errorf("model: tensor %s is %d × %d; its config asks for a vector of %d", p.Name, info.Rows, info.Cols, p.Rows)
		}
		cols += info.Cols
	}
	spec := tensor.WeightSpec{Name: role, Format: tensor.F32, Cols: cols, Readers: []tensor.Op{op}}
	spec.Parts = []tensor.Part{{Name: joinNames(parts), Rows: 1}}
	w.put(role, []tensor.WeightSpec{spec})
	return nil
}

// AddRope gives the role "rope" the table of rotations (see RopeTable).
func (w *Weights) AddRope(s Shard) {
	w.put(RopeRole, []tensor.WeightSpec{{Name: RopeRole, Format: tensor.F32, Cols: s.Config.HeadDim,
		Parts: []tensor.Part{{Name: RopeRole, Rows: s.Positions}}, Readers: []tensor.Op{tensor.OpQKNormRopeStore}}})
}

func (w *Weights) put(role string, specs []tensor.WeightSpec) {
	if w.specs == nil {
		w.specs = map[string][]tensor.WeightSpec{}
	}
	w.Roles = append(w.Roles, role)
	w.specs[role] = specs
}

// Has tells whether the role has weights.
func (w Weights) Has(role string) bool { return len(w.specs[role]) > 0 }

// Specs are the role's weights.
func (w Weights) Specs(role string) []tensor.WeightSpec { return w.specs[role] }

// In names the role's weights in a graph.
func (w Weights) In(g *tensor.Graph, role string) []tensor.Value {
	var vs []tensor.Value
	for _, s := range w.specs[role] {
		vs = append(vs, g.Weight(s))
	}
	return vs
}

// One names the only weight of a role in a graph, or none (0) if the role has no weight.
func (w Weights) One(g *tensor.Graph, role string) tensor.Value {
	if len(w.specs[role]) == 0 {
		return 0
	}
	return g.Weight(w.specs[role][0])
}

// Bytes is the size of all weights as their files store them.
func (w Weights) Bytes() int64 {
	var n int64
	for _, role := range w.Roles {
		for _, s := range w.specs[role] {
			n += s.Bytes()
		}
	}
	return n
}
