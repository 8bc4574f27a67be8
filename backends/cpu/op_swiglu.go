package cpu

import (
	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// gluPanels is how many panels of the gate, and as many of up, a thread computes at a time.
const gluPanels = simd.MaxPanels

func (b *binder) linearSwiGLU(n *tensor.Node) launch {
	x, w, y := b.operand(n.In[0]), b.weight(n.In[1]), b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d := b.d
	b.capacity = x.rows.Cap
	list, acts := b.products([]*weight{w})
	if b.err != nil {
		return nil
	}
	if len(list) != 2 {
		b.fail("weight %s has %d parts, want gate and up", w.spec.Name, len(list))
		return nil
	}
	gate, up := list[0], list[1]
	_, decode := d.linearNeeds(b.graph, n.In[0], n.In[1])
	local := aligned(int(decode))             // where the up product goes in the thread's region, and
	const stride = gluPanels * simd.PanelRows // how far apart its tokens are
	shares, rewrite := shares{cut(list[:1], gluPanels), blockTokens(list)}, d.rewrite(acts, x)
	work := func(t *thread, r *run, lo, hi int) {
		for i := lo; i < hi; i++ {
			p, t0, t1 := shares.at(i, x.count(r))
			from, to := p.p0*simd.PanelRows, min(p.p1*simd.PanelRows, y.cols)
			gate.multiply(t, x, r, p.p0, p.p1, t0, t1, y.pointer(r, t0), 4*y.cols, 0)
			up.multiply(t, x, r, p.p0, p.p1, t0, t1, pointer(t.local, local), 4*stride, p.p0)
			for i := t0; i < t1; i++ {
				row := y.floats(r, i)[from:to]
				d.kernels.SiLUMul(row, row, view[float32](t.local, local+4*(i-t0)*stride, len(row)))
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

func (b *binder) swiGLU(n *tensor.Node) launch {
	x, y := b.operand(n.In[0]), b.operand(n.Out[0])
	d := b.d
	work := func(_ *thread, r *run, lo, hi int) {
		for t := lo; t < hi; t++ {
			row := x.floats(r, t)
			d.kernels.SiLUMul(y.floats(r, t), row[:y.cols], row[y.cols:])
		}
	}
	grain := rowsPerGrain(x.cols)
	return func(r *run) error {
		d.pool.do(r, x.count(r), grain, work)
		return nil
	}
}
