// Package random makes checkpoints of a model's real shapes with random weights, so that any machine can be benchmarked
// without a download.
package random

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/weights/quantize"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// Prefix begins the name of a random model.
const Prefix = "random:"

// Spec is a parsed name: "random:0.6b", "random:4b,q4_k,seed=7".
type Spec struct {
	Size   string
	Format tensor.Format // what llama-quantize means by it; BF16 where the name has none
	Seed   uint64        // 1 where the name has none
}

// Parse reads a name that begins with Prefix.
func Parse(name string) (Spec, error) {
	fields := strings.Split(strings.TrimPrefix(name, Prefix), ",")
	s := Spec{Size: fields[0], Format: tensor.BF16, Seed: 1}
	if _, ok := model.Published(s.Size); !ok {
		return s, fmt.Errorf("random: there is no Qwen3 of size %q; use one of %s", s.Size, strings.Join(model.PublishedSizes(), ", "))
	}
	for _, f := range fields[1:] {
		var err error
		if seed, ok := strings.CutPrefix(f, "seed="); ok {
			s.Seed, err = strconv.ParseUint(seed, 10, 64)
		} else {
			s.Format, err = tensor.ParseFormat(strings.ToLower(f)) // sizes may be in capitals too
			if s.Format == tensor.I32 {
				err = fmt.Errorf("i32 is no weight format")
			}
		}
		if err != nil {
			return s, fmt.Errorf("random: %s: %w", name, err)
		}
	}
	return s, nil
}

// chunk is how many values are copied at a time: a multiple of every block.
const chunk = 256

// poolSize is how many chunks of each kind there are to choose from.
const poolSize = 512

// checkpoint draws every row from pools of encoded chunks, which is as fast as memory: only the pools are ever encoded.
type checkpoint struct {
	seed    uint64
	tensors map[string]model.TensorInfo
	pools   map[pool][]byte
}

// pool is a kind of chunk: normal values of a standard deviation, in a format.
type pool struct {
	format tensor.Format
	std    float64
}

// New is a checkpoint for a configuration, its tensors in the formats that llama-quantize would choose.
func New(c model.Config, f tensor.Format, seed uint64) model.Checkpoint {
	r := &checkpoint{seed: seed, tensors: map[string]model.TensorInfo{}, pools: map[pool][]byte{}}
	add := func(name string, layer, rows, cols int) {
		format := quantize.Fit(quantize.TypeFor(f, name, layer, c.Layers, c.TieEmbeddings), cols)
		r.tensors[name] = model.TensorInfo{Format: format, Rows: rows, Cols: cols}
		if p := r.poolOf(name); rows > 1 && r.pools[p] == nil {
			r.pools[p] = p.fill(seed)
		}
	}
	q, kv := c.QueryHeads*c.HeadDim, c.KVHeads*c.HeadDim
	add("model.embed_tokens.weight", 0, c.Vocab, c.Hidden)
	for l := range c.Layers {
		at := fmt.Sprintf("model.layers.%d.", l)
		add(at+"input_layernorm.weight", l, 1, c.Hidden)
		add(at+"self_attn.q_proj.weight", l, q, c.Hidden)
		add(at+"self_attn.k_proj.weight", l, kv, c.Hidden)
		add(at+"self_attn.v_proj.weight", l, kv, c.Hidden)
		add(at+"self_attn.q_norm.weight", l, 1, c.HeadDim)
		add(at+"self_attn.k_norm.weight", l, 1, c.HeadDim)
		add(at+"self_attn.o_proj.weight", l, c.Hidden, q)
		add(at+"post_attention_layernorm.weight", l, 1, c.Hidden)
		add(at+"mlp.gate_proj.weight", l, c.FFN, c.Hidden)
		add(at+"mlp.up_proj.weight", l, c.FFN, c.Hidden)
		add(at+"mlp.down_proj.weight", l, c.Hidden, c.FFN)
	}
	add("model.norm.weight", 0, 1, c.Hidden)
	if !c.TieEmbeddings {
		add("lm_head.weight", 0, c.Vocab, c.Hidden)
	}
	return r
}

// poolOf scales matrices by 1/sqrt(columns), which keeps activations near one, and the embedding so that logits spread.
func (r *checkpoint) poolOf(name string) pool {
	t := r.tensors[name]
	std := 1 / math.Sqrt(float64(t.Cols))
	if !strings.Contains(name, "layers") {
		std = 0.05
	}
	return pool{t.Format, std}
}

func (p pool) fill(seed uint64) []byte {
	g := rand.New(rand.NewPCG(seed, math.Float64bits(p.std)))
	values := make([]float32, chunk*poolSize)
	for i := range values {
		values[i] = float32(g.NormFloat64() * p.std)
	}
	stored := make([]byte, p.format.RowBytes(len(values)))
	quant.Encode(p.format, stored, values)
	return stored
}

func (r *checkpoint) Lookup(name string) (model.TensorInfo, bool) {
	t, ok := r.tensors[name]
	return t, ok
}

func (r *checkpoint) Rows(name string, first, n int, use func([]byte) error) error {
	t, ok := r.tensors[name]
	if !ok || first < 0 || n < 0 || first+n > t.Rows {
		return fmt.Errorf("random: no rows %d to %d of a tensor %s", first, first+n, name)
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	key := h.Sum64() ^ r.seed
	if t.Rows == 1 { // a norm: around one
		g := rand.New(rand.NewPCG(key, 0))
		values, stored := make([]float32, t.Cols), make([]byte, t.Format.RowBytes(t.Cols))
		for i := range values {
			values[i] = 0.8 + 0.4*g.Float32()
		}
		quant.Encode(t.Format, stored, values)
		return use(stored)
	}
	pool, chunkBytes := r.pools[r.poolOf(name)], t.Format.RowBytes(chunk)
	row := t.Format.RowBytes(t.Cols)
	out := make([]byte, n*row)
	for i := range n {
		g := rand.NewPCG(key, uint64(first+i))
		for at := 0; at < row; at += chunkBytes {
			from := int(g.Uint64()%poolSize) * chunkBytes
			copy(out[i*row+at:(i+1)*row], pool[from:from+chunkBytes])
		}
	}
	return use(out)
}

func (r *checkpoint) Close() error { return nil }
