//go:build cgo && (linux || windows)

package vulkan

import (
	"iter"

	"github.com/ullm/ullm/tensor"
)

func (b *binder) linear(n *tensor.Node) {
	bias, first, rounded := b.vector(n.In[1]), 0, asFloats
	for _, v := range n.In[2:] {
		w := b.weight(v)
		rounded = b.round(n.In[0], b.d.formFor(w.spec), rounded)
		b.product(n.In[0], n.Out[0], w, bias, first, w.spec.Rows(), false)
		first += w.spec.Rows()
	}
}

func (b *binder) linearSwiGLU(n *tensor.Node) {
	w := b.weight(n.In[1])
	b.round(n.In[0], b.d.formFor(w.spec), asFloats)
	b.product(n.In[0], n.Out[0], w, 0, 0, w.spec.Rows()/2, true)
}

// Geometry of the linear shader.
const (
	linearClusters = 8  // in a workgroup, of groupChunks invocations
	linearTile     = 4  // most tokens of a cluster
	linearShared   = 32 // clusters in a workgroup that shares reads
	linearDeep     = 4  // of these, what differs in tokens
)

// Flags of the linear shader.
const (
	linearAligned = 1 << iota // rows of x are whole chunks, and begin at multiples of 32 bytes
	linearSwiGLU
	linearNarrow // a single row, not in groups
)

// product multiplies by one weight, to columns of y from first. A weight or an activation that is longer than what a
// binding reaches takes a launch for each piece.
func (b *binder) product(x, y tensor.Value, w *weight, bias uint64, first, rows int, swiglu bool) {
	switch b.d.formFor(w.spec) {
	case asBytes:
		b.dotProduct(x, y, w, bias, first, rows, swiglu)
		return
	case asHalves:
		b.matrixProduct(x, y, w, bias, first, rows, swiglu)
		return
	}
	l, cols, stride := w.layout, w.spec.Cols, b.graph.ColsOf(y)
	each, appetite := b.reach(int64(4*cols)), b.d.physical.appetite()
	for p := range pieces(w, b.capacity(x), each, rows, b.take(w, rows, swiglu), swiglu) {
		in, skip := b.windowOf(x, int64(4*cols*p.token), int64(4*cols*p.tokens))
		g := geometryOf(p.tokens, p.rows, appetite, b.d.physical.reuse(), swiglu)
		if cols%chunkValues == 0 && skip%32 == 0 {
			g.flags |= linearAligned
		}
		if !l.wide {
			g.flags |= linearNarrow
		}
		clusters, wide, high := linearClusters, linearClusters*g.rows, g.tile
		// A large workgroup reads half of what as many small ones do, once there are enough of them.
		if sharedWide, sharedHigh := linearShared/linearDeep*g.rows, linearDeep*g.tile; (p.rows/sharedWide)*(p.tokens/sharedHigh)*linearShared*groupChunks >= appetite {
			clusters, wide, high = linearShared, sharedWide, sharedHigh
		}
		k := kernel{"linear", [numConstants]uint32{uint32(w.spec.Format), uint32(g.tile), uint32(g.rows), g.flags, uint32(clusters * groupChunks)}}
		b.launch(k, [3]int{(p.rows + wide - 1) / wide, (p.tokens + high - 1) / high, 1},
			new(push).address(b.at(y), biasAt(bias, first+p.row), b.count(x)).
				u32(b.live(x), p.token, cols, stride, first+p.row, p.rows, l.chunks, l.padded, int(skip/4)),
			append(w.windows(p.row, p.span), in)...)
	}
}

// piece is what one launch of a product computes, and how many rows of the weight it binds.
type piece struct{ token, tokens, row, rows, span int }

// pieces cuts a product into launches of at most each tokens and take rows; there is none where take is 0.
func pieces(w *weight, tokens, each, rows, take int, swiglu bool) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for t := 0; t < tokens; t += each {
			for r := 0; r < rows && take > 0; r += take {
				p := piece{t, min(each, tokens-t), r, min(take, rows-r), min(take, rows-r)}
				if swiglu {
					p.span = w.spec.Rows()
				}
				if !yield(p) {
					return
				}
			}
		}
	}
}

// reach is how many rows of so many bytes a binding reaches, wherever the first begins; at least one.
func (b *binder) reach(row int64) int {
	return max(1, int((int64(b.d.physical.max_storage_range)-alignment)/row))
}

// take is how many of a weight's rows a launch reaches; 0, with an error, where that is not enough.
func (b *binder) take(w *weight, rows int, swiglu bool) int {
	take, longest := rows, int64(b.d.physical.max_storage_range)
	if n := w.layout.planes(1)[planeValues]; n*int64(w.layout.panels) > longest {
		// Planes of whole pieces begin at multiples of alignment.
		const piece = 16 * panelRows
		take = int(longest/(n/panelRows)) / piece * piece
	}
	if swiglu && take < rows || take == 0 {
		b.fail("vulkan: %s of %d × %d %s: %w on this device, whose bindings reach %d bytes", w.spec.Name, w.spec.Rows(), w.spec.Cols, w.spec.Format,
			tensor.ErrUnsupported, longest)
		return 0
	}
	return take
}

// biasAt is the address of a bias's value i; 0 for no bias.
func biasAt(bias uint64, i int) uint64 {
	if bias == 0 {
		return 0
	}
	return bias + uint64(4*i)
}

// windows are the planes of rows [first, first+n) of a weight, where first begins a panel.
func (w *weight) windows(first, n int) []window {
	l := w.layout
	panels := (n + l.panel - 1) / l.panel
	skip, take := l.planes(first/l.panel), l.planes(panels)
	ws := make([]window, numPlanes)
	for i := range ws {
		ws[i] = window{w.buffer, l.at[i] + skip[i], take[i]}
		if take[i] == 0 {
			ws[i] = ws[0]
		}
	}
	return ws
}

// appetites are the invocations that a kind of device wants at once, so that enough reads are on their way.
var appetites = []int{4096, 8192, 32768, 8192, 64} // by VkPhysicalDeviceType: other, integrated, discrete, virtual, software

func (p *physical) appetite() int { return appetites[min(p._type, 4)] }

// geometry is how a product is dealt to invocations. It does not touch a result's bits.
type geometry struct {
	tile  int // tokens of a cluster
	rows  int // rows of a cluster
	flags uint32
}

// geometryOf takes as many tokens and rows to a cluster, of these at most most, as leave a device work for all its invocations:
// a row's values are unpacked once for all its tokens, and a token's read once for all rows.
func geometryOf(tokens, rows, appetite, most int, swiglu bool) geometry {
	g := geometry{tile: 1, rows: most}
	for g.tile < linearTile && g.tile < tokens {
		g.tile *= 2
	}
	if swiglu {
		g.flags = linearSwiGLU
	}
	// The rows of both halves of SwiGLU are read by panels, so the second has to begin where a panel does.
	for g.rows > 1 && (swiglu && rows%g.rows != 0 || rows/g.rows*groupChunks*((tokens+g.tile-1)/g.tile) < appetite) {
		g.rows /= 2
	}
	return g
}
