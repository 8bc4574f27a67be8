//go:build cgo && (linux || windows)

package vulkan

import (
	"github.com/ullm/ullm/tensor"
)

// Matrices tells whether a device multiplies 16-bit weights by cooperative matrices.
func Matrices(d tensor.Device) bool { return d.(*device).matrix != matrix{} }

// EachPipeline makes the pipelines that a Program of a graph would have, each once, and calls made with its kernel after it.
// Weights and states have their layouts, and no
// memory.
func EachPipeline(td tensor.Device, g *tensor.Graph, made func(kernel string) error) error {
	d := td.(*device)
	p, err := d.Plan(g)
	if err != nil {
		return err
	}
	bindings := tensor.Bindings{Weights: map[string]tensor.Weight{}, States: map[string]tensor.State{}}
	for v := tensor.Value(1); int(v) < g.Values(); v++ {
		switch g.KindOf(v) {
		case tensor.Weigh:
			spec := g.WeightOf(v)
			if bindings.Weights[spec.Name] != nil {
				continue
			}
			b, err := d.alloc(onDevice, tensor.UseWeights, 0, "weight "+spec.Name)
			if err != nil {
				return err
			}
			w := &weight{buffer: b, spec: spec, layout: d.layoutOf(spec)}
			defer w.Close()
			if err := d.Add(w); err != nil {
				return err
			}
			bindings.Weights[spec.Name] = w
		case tensor.Stored:
			spec := g.StateOf(v)
			if bindings.States[spec.Name] != nil {
				continue
			}
			b, err := d.alloc(onDevice, spec.Use(), 0, "state "+spec.Name)
			if err != nil {
				return err
			}
			s := &state{b, spec}
			defer s.Close()
			if err := d.Add(s); err != nil {
				return err
			}
			bindings.States[spec.Name] = s
		}
	}
	b := &binder{d: d, graph: g, plan: p.(*plan), bindings: bindings, block: nothing, scratch: nothing}
	for i := range g.Nodes {
		b.lower(i)
	}
	if b.err != nil {
		return b.err
	}
	for _, l := range b.launches {
		if d.shaders.made[l.kernel] != nil {
			continue
		}
		if _, err := d.shaders.pipeline(l.kernel); err != nil {
			return err
		}
		if err := made(l.kernel.String()); err != nil {
			return err
		}
	}
	return nil
}
