//go:build cgo && (linux || windows)

package vulkan

import (
	"math"

	"github.com/ullm/ullm/tensor"
)

// The lowering of each operation. Push constants are in the order of the shader's struct Push.

// Words of the sections of a Forward block, as tensor.ForwardLimits lays them out.
const (
	headerWords  = 16
	seqWords     = 8
	pageWords    = 3
	paramWords   = 1 + 16
	historyWords = 3
)

func (b *binder) prepare(n *tensor.Node) {
	limits := n.Attr.(tensor.ForwardLimits)
	slots, spec, l := b.slots(n.In[1])
	ids := headerWords
	seqs := ids + limits.Tokens
	pages := seqs + limits.Seqs*seqWords
	params := pages + limits.Pages*pageWords
	history := params + limits.Params*paramWords
	bias := history + limits.History*historyWords
	p := new(push).address(b.at(n.In[0]), slots, b.at(n.Out[0]), b.at(n.Out[1])).
		u32(ids, seqs, pages, params, history, bias).
		u32(int(l.Last), int(l.Params), int(l.Pages), int(l.Bias), int(l.Biases), int(l.Counts), int(l.Prompt)).
		u32(spec.MaxPages, spec.Bias, spec.Vocab, l.PromptWords)
	b.launch(kernel{name: "prepare"}, [3]int{1, 1, 1}, p)
}

func (b *binder) embed(n *tensor.Node) {
	w, x := b.weight(n.In[0]), n.Out[0]
	p := new(push).address(w.planes()...).address(b.at(n.In[1]), b.at(x), b.count(x)).
		u32(b.live(x), w.spec.Cols, w.spec.Rows(), w.layout.chunks, w.layout.padded).f32(float32(math.Ldexp(1, -w.exponent)))
	wide := uint32(0)
	if w.layout.wide {
		wide = 1
	}
	b.launch(kernel{"embed", [numConstants]uint32{uint32(w.layout.format), wide}}, [3]int{b.capacity(x), 1, 1}, p)
}

func (b *binder) addRMSNorm(n *tensor.Node) {
	x, normed, sum := n.In[0], n.Out[len(n.Out)-1], tensor.Value(0)
	if len(n.Out) == 2 {
		sum = n.Out[0]
	}
	p := new(push).address(b.at(x), b.at(n.In[1]), b.vector(n.In[2]), b.at(sum), b.floats(normed), 0, b.count(x)).address(b.roundedTo(normed)...).
		u32(b.live(x), b.graph.ColsOf(x)).f32(n.Attr.(tensor.NormAttr).Eps)
	b.launch(kernel{"norm", [numConstants]uint32{b.halves(normed, 1)}}, [3]int{b.capacity(x), 1, 1}, p)
}

func (b *binder) keepRows(n *tensor.Node) {
	x, kept := n.In[0], n.In[3]
	p := new(push).address(b.at(x), b.at(n.In[1]), b.vector(n.In[2]), 0, b.state(n.In[4]).address(), b.at(kept), b.count(kept), 0, 0).
		u32(b.live(kept), b.graph.ColsOf(x)).f32(n.Attr.(tensor.NormAttr).Eps)
	b.launch(kernel{name: "norm"}, [3]int{b.capacity(kept), 1, 1}, p)
}

func (b *binder) takeRows(n *tensor.Node) {
	x := n.Out[0]
	hidden := b.state(n.In[0])
	p := new(push).address(hidden.address(), b.at(n.In[1]), b.floats(x), b.count(x)).address(b.roundedTo(x)...).
		u32(b.live(x), b.graph.ColsOf(x), hidden.spec.Rows.Rows)
	b.launch(kernel{"rows", [numConstants]uint32{b.halves(x, 1)}}, [3]int{b.capacity(x), 1, 1}, p)
}

func (b *binder) swiGLU(n *tensor.Node) {
	x, y := n.In[0], n.Out[0]
	const threads, most = 256, 4096
	p := new(push).address(b.at(x), b.at(y), b.count(x)).u32(b.live(x), b.graph.ColsOf(y))
	values := b.capacity(x) * b.graph.ColsOf(y)
	b.launch(kernel{name: "swiglu"}, [3]int{min((values+threads-1)/threads, most), 1, 1}, p)
}

func (b *binder) qkNormRopeStore(n *tensor.Node) {
	a := n.Attr.(tensor.HeadAttr)
	x := n.In[0]
	rope, k, v := b.weight(n.In[3]), b.state(n.In[5]), b.state(n.In[6])
	p := new(push).address(b.at(x), b.vector(n.In[1]), b.vector(n.In[2]), rope.address(), b.at(n.In[4]), k.address(), v.address(),
		b.at(n.Out[0]), b.count(x), uint64(k.spec.KV.Values())).
		u32(b.live(x), a.QueryHeads, a.KVHeads, a.HeadDim, rope.layout.padded*chunkValues).f32(a.Eps)
	b.launch(kernel{"rope", [numConstants]uint32{uint32(k.spec.KV.Format)}}, [3]int{a.QueryHeads + 2*a.KVHeads, b.capacity(x), 1}, p)
}

func (b *binder) sample(n *tensor.Node) {
	logits := n.In[0]
	slots, spec, l := b.slots(n.In[2])
	p := new(push).address(b.at(logits), b.at(n.In[1]), slots, b.at(n.Out[0]), b.count(logits), b.arena+uint64(b.plan.work)).
		u32(int(l.Last), int(l.Params), int(l.Bias), int(l.Biases), int(l.Counts), int(l.Prompt)).
		u32(b.live(logits), spec.Vocab, spec.Bias, l.PromptWords)
	b.launch(kernel{name: "sample"}, [3]int{b.capacity(logits), 1, 1}, p)
}
