package cpu

import (
	"unsafe"

	"gonum.org/v1/gonum/blas/blas32"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// form is what a kernel wants activations to be.
type form uint8

const (
	plain  form = iota // f32 rows as they are
	padded             // f32 rows with a zero behind an odd number of values
	halves             // bf16, rounded, an even number of values
	blocks             // simd.Q8Block
)

func (d *device) formOf(l layout, cols int) form {
	switch {
	case l == blocksQ8 || l == coded:
		return blocks
	case l == pairs && d.kernels.Dot.Tokens > 0:
		return halves
	case l == pairs && cols%2 != 0:
		return padded
	}
	return plain
}

// stride is the size of a row of cols values in a form.
func (f form) stride(cols int) int {
	switch f {
	case padded:
		return 4 * (cols + 1)
	case halves:
		return 2 * ((cols + 1) &^ 1)
	case blocks:
		return cols / simd.Q8Values * simd.Q8BlockBytes
	}
	return 4 * cols
}

// block is the size of 32 values of a row.
func (f form) block() int {
	switch f {
	case halves:
		return 2 * simd.Q8Values
	case blocks:
		return simd.Q8BlockBytes
	}
	return 4 * simd.Q8Values
}

// linearNeeds is what multiplying x by the weight w needs of the stage and, where rows are decoded one by one, of each
// thread's region, in bytes.
func (d *device) linearNeeds(g *tensor.Graph, x, w tensor.Value) (stage, local int64) {
	spec := g.WeightOf(w)
	l := d.layoutOf(spec)
	if f := d.formOf(l, spec.Cols); f != plain {
		stage = int64(aligned(g.RowsOf(x).Cap * f.stride(spec.Cols)))
	}
	if l == stored {
		local = int64(4 * spec.Cols)
	}
	return stage, local
}

// product is one part of a weight as an operand: rows first and on of the result.
type product struct {
	w     *weight
	part  int
	tiles *simd.Tiles // nil: gonum
	m     simd.Matrix // without X and C
	in    *activation
	first int // column of the result
}

// activation is the operand of products, in their form.
type activation struct {
	form   form
	stage  int // offset in the arena, where form is not plain
	stride int
}

// piece is a few panels of one product: what a thread computes at a time.
type piece struct {
	product *product
	p0, p1  int
}

// products prepares the weights of a Linear, stacked; stage is used up from the plan's stage on.
func (b *binder) products(ws []*weight) (list []*product, acts []*activation) {
	at, first := int(b.plan.stage), 0
	for _, w := range ws {
		if w.layout == stored && b.d.kernels.Level != simd.Portable {
			b.fail("weight %s was uploaded for other operations", w.spec.Name)
			return nil, nil
		}
		f := b.d.formOf(w.layout, w.spec.Cols)
		var in *activation
		for _, a := range acts {
			if a.form == f {
				in = a
			}
		}
		if in == nil {
			in = &activation{f, at, f.stride(w.spec.Cols)}
			acts = append(acts, in)
		}
		for p := range w.parts {
			list = append(list, &product{w, p, b.d.tilesOf(w), w.matrix(p), in, first})
			first += w.parts[p].rows
		}
		// The plan counted every weight's share, needed or not.
		if f != plain {
			at += aligned(in.stride * b.capacity)
		}
	}
	return list, acts
}

func (d *device) tilesOf(w *weight) *simd.Tiles {
	switch k, l := d.kernels, w.layout; {
	case k.Level == simd.Portable:
		return nil
	case l == panelsF16:
		return &k.F16
	case l == blocksQ8:
		return &k.Q8
	case l == coded:
		return &k.Coded[w.coding]
	case l == pairs && k.Dot.Tokens > 0:
		return &k.Dot
	case l == pairs:
		return &k.Pairs
	default:
		return &k.F32
	}
}

// rewrite brings the operand's live rows into the forms that kernels want.
func (d *device) rewrite(acts []*activation, x operand) launch {
	var bodies []body
	for _, a := range acts {
		switch a.form {
		case padded:
			bodies = append(bodies, func(_ *thread, r *run, lo, hi int) {
				for t := lo; t < hi; t++ {
					row := view[float32](r.arena, a.stage+t*a.stride, x.cols+1)
					copy(row, x.floats(r, t))
					row[x.cols] = 0
				}
			})
		case halves:
			bodies = append(bodies, func(_ *thread, r *run, lo, hi int) {
				for t := lo; t < hi; t++ {
					row := view[uint16](r.arena, a.stage+t*a.stride, a.stride/2)
					row[len(row)-1] = 0
					d.kernels.ToBF16(row[:x.cols], x.floats(r, t))
				}
			})
		case blocks:
			bodies = append(bodies, func(_ *thread, r *run, lo, hi int) {
				for t := lo; t < hi; t++ {
					row := unsafe.Slice((*simd.Q8Block)(pointer(r.arena, a.stage+t*a.stride)), x.cols/simd.Q8Values)
					d.kernels.QuantizeQ8(row, x.floats(r, t))
				}
			})
		}
	}
	grain := rowsPerGrain(x.cols)
	return func(r *run) error {
		for _, f := range bodies {
			d.pool.do(r, x.count(r), grain, f)
		}
		return nil
	}
}

// rowsPerGrain is how many rows of light work make sharing them out worthwhile.
func rowsPerGrain(cols int) int { return max(1, 2048/cols) }

// multiply computes panels [p0, p1) of the product for tokens [t0, t1); c is where token t0's result of panel first goes,
// cStride the distance of tokens in bytes.
func (q *product) multiply(t *thread, x operand, r *run, p0, p1, t0, t1 int, c unsafe.Pointer, cStride, first int) {
	m := q.m
	m.First = first
	m.XStride = q.in.stride
	if q.in.form == plain {
		m.X = x.pointer(r, t0)
	} else {
		m.X = pointer(r.arena, q.in.stage+t0*m.XStride)
	}
	m.XBlock = q.in.form.block()
	m.C, m.CStride = c, cStride
	if q.tiles == nil {
		q.dots(t, x, r, p0, p1, t0, t1, &m)
	} else {
		q.tiles.Multiply(&t.simd, &m, p0, p1, 0, t1-t0)
	}
}

// dots is the portable path: rows are decoded one by one, and gonum multiplies each with each token. One routine for all
// keeps a result independent of how many tokens there are; gonum's sums depend on the alignment of its second vector,
// which is always that of the thread's region.
func (q *product) dots(t *thread, x operand, r *run, p0, p1, t0, t1 int, m *simd.Matrix) {
	k := m.K
	row := view[float32](t.local, 0, k)
	y := blas32.Vector{N: k, Inc: 1, Data: row}
	for i := p0 * simd.PanelRows; i < min(p1*simd.PanelRows, m.Rows); i++ {
		size := q.w.panelBytes()
		quant.Decode(q.w.spec.Format, row, q.w.bytes[q.w.parts[q.part].offset+i*size:][:size])
		for tok := t0; tok < t1; tok++ {
			v := blas32.Dot(blas32.Vector{N: k, Inc: 1, Data: x.floats(r, tok)}, y)
			*(*float32)(unsafe.Add(m.C, (tok-t0)*m.CStride+4*(i-m.First*simd.PanelRows))) = v
		}
	}
}

// blockBytes is how much of the activations meets all panels before the rest does: what stays in a core's second cache.
const blockBytes = 512 << 10

// blockTokens is how many tokens that is, in whole tiles; on the portable path, which decodes a row for each, all of them.
func blockTokens(list []*product) int {
	n := 1 << 30
	for _, q := range list {
		if q.tiles != nil {
			n = min(n, max(blockBytes/q.in.stride/q.tiles.Tokens, 1)*q.tiles.Tokens)
		}
	}
	return n
}

// shares are the pieces of an operation for each block of tokens.
type shares struct {
	pieces []piece
	block  int // tokens
}

// count is how many shares n tokens make.
func (s *shares) count(n int) int { return (n + s.block - 1) / s.block * len(s.pieces) }

// at is share i: a piece, and the tokens that it is for.
func (s *shares) at(i, n int) (p piece, t0, t1 int) {
	t0 = i / len(s.pieces) * s.block
	return s.pieces[i%len(s.pieces)], t0, min(t0+s.block, n)
}

// cut makes pieces of whole panels, a few at a time.
func cut(list []*product, panels int) []piece {
	var pieces []piece
	for _, q := range list {
		n := panelsOf(q.m.Rows)
		for p := 0; p < n; p += panels {
			pieces = append(pieces, piece{q, p, min(p+panels, n)})
		}
	}
	return pieces
}

func (b *binder) linear(n *tensor.Node) launch {
	x, bias, y := b.operand(n.In[0]), b.vector(n.In[1]), b.operand(n.Out[0])
	var ws []*weight
	for _, v := range n.In[2:] {
		ws = append(ws, b.weight(v))
	}
	if b.err != nil {
		return nil
	}
	d := b.d
	b.capacity = x.rows.Cap
	list, acts := b.products(ws)
	if b.err != nil {
		return nil
	}
	shares, rewrite := shares{cut(list, simd.MaxPanels), blockTokens(list)}, d.rewrite(acts, x)
	work := func(t *thread, r *run, lo, hi int) {
		for i := lo; i < hi; i++ {
			p, t0, t1 := shares.at(i, x.count(r))
			q := p.product
			q.multiply(t, x, r, p.p0, p.p1, t0, t1, unsafe.Add(y.pointer(r, t0), 4*q.first), 4*y.cols, 0)
			if bias == nil {
				continue
			}
			from, to := q.first+p.p0*simd.PanelRows, q.first+min(p.p1*simd.PanelRows, q.m.Rows)
			for i := t0; i < t1; i++ {
				row := y.floats(r, i)[from:to]
				for j, v := range bias[from:to] {
					row[j] += v
				}
			}
		}
	}
	return func(r *run) error {
		if x.count(r) == 0 {
			return nil
		}
		if err := rewrite(r); err != nil {
			return err
		}
		d.pool.do(r, shares.count(x.count(r)), 1, work)
		return nil
	}
}
