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

// decodeValues is how many values of each row of a stored panel are decoded before they are packed: a multiple of every
// format's block.
const decodeValues = 256

// linearNeeds is what multiplying x by the weight w needs of the stage and of each thread's region, in bytes.
func (d *device) linearNeeds(g *tensor.Graph, x, w tensor.Value) (stage, local int64) {
	spec := g.WeightOf(w)
	l := d.layoutOf(spec)
	if f := d.formOf(l, spec.Cols); f != plain {
		stage = int64(aligned(g.RowsOf(x).Cap * f.stride(spec.Cols)))
	}
	if l == stored {
		local = int64(4 * simd.PanelRows * (spec.Cols + decodeValues))
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
func rowsPerGrain(cols int) int { return max(1, 16384/cols) }

// multiply computes panels [p0, p1) of the product for n tokens; c is where token 0's result of panel first goes, cStride
// the distance of tokens in bytes.
func (q *product) multiply(d *device, t *thread, x operand, r *run, p0, p1, n int, c unsafe.Pointer, cStride, first int) {
	m := q.m
	m.First = first
	m.X, m.XStride = x.pointer(r, 0), 4*x.cols
	if q.in.form != plain {
		m.X, m.XStride = pointer(r.arena, q.in.stage), q.in.stride
	}
	m.XBlock = q.in.form.block()
	m.C, m.CStride = c, cStride
	switch {
	case q.tiles == nil:
		q.dots(t, x, r, p0, p1, n, &m)
	case q.w.layout == stored:
		q.decoded(d, t, p0, p1, n, &m)
	default:
		q.tiles.Multiply(&t.simd, &m, p0, p1, 0, n)
	}
}

// decoded unpacks stored rows panel by panel into the thread's region and multiplies them as f32.
func (q *product) decoded(d *device, t *thread, p0, p1, n int, m *simd.Matrix) {
	k := m.K
	panel := view[float32](t.local, 0, simd.PanelRows*k)
	buffer := view[float32](t.local, 4*simd.PanelRows*k, simd.PanelRows*decodeValues)
	one := *m
	one.W, one.PanelStride, one.First = pointer(t.local, 0), 0, 0
	for p := p0; p < p1; p++ {
		rows := min(simd.PanelRows, m.Rows-p*simd.PanelRows)
		q.w.decodePanel(d.kernels, panel, buffer, q.part, p*simd.PanelRows, rows)
		one.Rows = rows
		one.C = unsafe.Add(m.C, (p-m.First)*simd.PanelRows*4)
		q.tiles.Multiply(&t.simd, &one, 0, 1, 0, n)
	}
}

// decodePanel decodes rows of a part into a panel of k rows of 16 values; lanes without a row are zero.
func (w *weight) decodePanel(k *simd.Kernels, panel, buffer []float32, part, first, rows int) {
	f, cols := w.spec.Format, w.spec.Cols
	clear(buffer)
	for at := 0; at < cols; at += decodeValues {
		n := min(decodeValues, cols-at)
		for i := range rows {
			row := w.bytes[w.parts[part].offset+(first+i)*w.panelBytes()+f.RowBytes(at):]
			decode(k, f, buffer[i*decodeValues:][:n], row[:f.RowBytes(n)])
		}
		k.Transpose(panel[at*simd.PanelRows:], buffer, decodeValues, n)
	}
}

// dots is the portable path: rows are decoded one by one, and gonum multiplies each with each token. One routine for all
// keeps a result independent of how many tokens there are; gonum's sums depend on the alignment of its second vector,
// which is always that of the thread's region.
func (q *product) dots(t *thread, x operand, r *run, p0, p1, n int, m *simd.Matrix) {
	k := m.K
	row := view[float32](t.local, 0, k)
	y := blas32.Vector{N: k, Inc: 1, Data: row}
	for i := p0 * simd.PanelRows; i < min(p1*simd.PanelRows, m.Rows); i++ {
		size := q.w.panelBytes()
		quant.Decode(q.w.spec.Format, row, q.w.bytes[q.w.parts[q.part].offset+i*size:][:size])
		for tok := range n {
			v := blas32.Dot(blas32.Vector{N: k, Inc: 1, Data: x.floats(r, tok)}, y)
			*(*float32)(unsafe.Add(m.C, tok*m.CStride+4*(i-m.First*simd.PanelRows))) = v
		}
	}
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
	pieces, rewrite := cut(list, simd.MaxPanels), d.rewrite(acts, x)
	work := func(t *thread, r *run, lo, hi int) {
		tokens := x.count(r)
		for _, p := range pieces[lo:hi] {
			q := p.product
			q.multiply(d, t, x, r, p.p0, p.p1, tokens, unsafe.Add(y.pointer(r, 0), 4*q.first), 4*y.cols, 0)
			if bias == nil {
				continue
			}
			from, to := q.first+p.p0*simd.PanelRows, q.first+min(p.p1*simd.PanelRows, q.m.Rows)
			for i := range tokens {
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
		d.pool.do(r, len(pieces), 1, work)
		return nil
	}
}
