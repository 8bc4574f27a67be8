// Package qwen3 is the dense Qwen3 architecture (Qwen Team 2025, "Qwen3 Technical Report"): a decoder of pre-normalised
// blocks with grouped-query attention, RMS-normalised queries and keys, rotary positions and a SwiGLU feed-forward
// network. It follows transformers' modeling_qwen3.py.
package qwen3

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

// Arch is the architecture.
type Arch struct{}

var _ model.Arch = Arch{}

// The roles of the weights that are not in a layer.
const (
	embed = "embed" // also the head where embeddings are tied
	head  = "head"
	norm  = "norm"
)

// layer names a weight of a layer.
func layer(l int, role string) string { return fmt.Sprintf("layers.%d.%s", l, role) }

// Weights lists the embedding, each layer's weights and the head.
func (Arch) Weights(s model.Shard) (model.Weights, error) {
	c := s.Config
	var w model.Weights
	var err error
	one := func(name string, rows int) tensor.Part { return tensor.Part{Name: name, Rows: rows} }
	matrix := func(role string, op tensor.Op, parts ...tensor.Part) {
		if err == nil {
			err = w.Add(s, role, []tensor.Op{op}, parts...)
		}
	}
	vector := func(role string, op tensor.Op, parts ...tensor.Part) {
		if err == nil {
			err = w.AddVector(s, role, op, parts...)
		}
	}
	readers := []tensor.Op{tensor.OpEmbed}
	if c.TieEmbeddings {
		readers = append(readers, tensor.OpLinear)
	}
	if err := w.Add(s, embed, readers, one("model.embed_tokens.weight", c.Vocab)); err != nil {
		return w, err
	}
	w.AddRope(s)
	q, kv := c.QueryHeads*c.HeadDim, c.KVHeads*c.HeadDim
	for l := range c.Layers {
		at := fmt.Sprintf("model.layers.%d.", l)
		vector(layer(l, "attn_norm"), tensor.OpAddRMSNorm, one(at+"input_layernorm.weight", c.Hidden))
		matrix(layer(l, "qkv"), tensor.OpLinear, one(at+"self_attn.q_proj.weight", q),
			one(at+"self_attn.k_proj.weight", kv), one(at+"self_attn.v_proj.weight", kv))
		vector(layer(l, "q_norm"), tensor.OpQKNormRopeStore, one(at+"self_attn.q_norm.weight", c.HeadDim))
		vector(layer(l, "k_norm"), tensor.OpQKNormRopeStore, one(at+"self_attn.k_norm.weight", c.HeadDim))
		matrix(layer(l, "o"), tensor.OpLinear, one(at+"self_attn.o_proj.weight", c.Hidden))
		if c.AttentionBias {
			vector(layer(l, "qkv.bias"), tensor.OpLinear, one(at+"self_attn.q_proj.bias", q),
				one(at+"self_attn.k_proj.bias", kv), one(at+"self_attn.v_proj.bias", kv))
			vector(layer(l, "o.bias"), tensor.OpLinear, one(at+"self_attn.o_proj.bias", c.Hidden))
		}
		vector(layer(l, "ffn_norm"), tensor.OpAddRMSNorm, one(at+"post_attention_layernorm.weight", c.Hidden))
		gate, up := one(at+"mlp.gate_proj.weight", c.FFN), one(at+"mlp.up_proj.weight", c.FFN)
		op := tensor.OpLinearSwiGLU
		gateInfo, _ := s.Lookup(gate.Name)
		if upInfo, _ := s.Lookup(up.Name); gateInfo.Format != upInfo.Format {
			op = tensor.OpLinear
		}
		matrix(layer(l, "gate_up"), op, gate, up)
		matrix(layer(l, "down"), tensor.OpLinear, one(at+"mlp.down_proj.weight", c.Hidden))
	}
	vector(norm, tensor.OpKeepRows, one("model.norm.weight", c.Hidden))
	if !c.TieEmbeddings {
		matrix(head, tensor.OpLinear, one("lm_head.weight", c.Vocab))
	}
	return w, err
}

// Forward computes the layers: eight operations each where a layer's weights share a format.
func (Arch) Forward(g *tensor.Graph, w model.Weights, s model.Shard, limits tensor.ForwardLimits) {
	c := s.Config
	eps := float32(c.NormEps)
	heads := tensor.HeadAttr{QueryHeads: c.QueryHeads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Eps: eps,
		Scale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
	slots := g.State(s.SlotsSpec())
	rope := w.One(g, model.RopeRole)

	in := g.Prepare(limits, slots)
	x := g.Embed(w.One(g, embed), in.Tokens)
	var delta, h tensor.Value
	for l := range c.Layers {
		k, v := g.State(s.CacheSpec(model.KeyState(l))), g.State(s.CacheSpec(model.ValueState(l)))
		get := func(role string) tensor.Value { return w.One(g, layer(l, role)) }

		x, h = g.AddRMSNorm(x, delta, get("attn_norm"), eps)
		qkv := g.Linear(h, get("qkv.bias"), w.In(g, layer(l, "qkv"))...)
		q := g.QKNormRopeStore(qkv, get("q_norm"), get("k_norm"), rope, in.Tokens, k, v, heads)
		o := g.Attention(q, in.Tokens, k, v, slots, heads)
		delta = g.Linear(o, get("o.bias"), w.In(g, layer(l, "o"))...)

		x, h = g.AddRMSNorm(x, delta, get("ffn_norm"), eps)
		if gateUp := w.In(g, layer(l, "gate_up")); len(gateUp) == 1 {
			h = g.LinearSwiGLU(h, gateUp[0])
		} else {
			h = g.SwiGLU(g.Linear(h, 0, gateUp...))
		}
		delta = g.Linear(h, 0, w.In(g, layer(l, "down"))...)
	}
	g.KeepRows(x, delta, w.One(g, norm), in.Kept, g.State(s.HiddenSpec()), eps)
}

// Head multiplies kept rows by the head's matrix and samples.
func (a Arch) Head(g *tensor.Graph, w model.Weights, s model.Shard, rows int) tensor.Value {
	in := g.HeadInput(rows)
	return g.Sample(a.Logits(g, w, s, in), in, g.State(s.SlotsSpec()))
}

// Logits is Head without its sampling.
func (Arch) Logits(g *tensor.Graph, w model.Weights, s model.Shard, in tensor.Value) tensor.Value {
	matrix := head
	if s.Config.TieEmbeddings {
		matrix = embed
	}
	return g.Linear(g.TakeRows(g.State(s.HiddenSpec()), in), 0, w.In(g, matrix)...)
}
