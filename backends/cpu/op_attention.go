package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// chunk is the number of positions over which attention sums before it merges with what stands left of them.
const chunk = tensor.AttentionChunk

// attention is the geometry of one kernel call and the layout of a thread's region for it.
//
// A thread takes a few consecutive tokens of one sequence and one KV head: the rows of a tile are the query heads of that
// KV head, token by token, so that keys and values are read once for all of them.
type attention struct {
	tensor.HeadAttr
	group  int // query heads of one KV head
	tokens int // of one tile
	rows   int // of one tile: query heads × tokens
	width  int // HeadDim padded to whole panels

	// Offsets in the thread's region, in bytes.
	q, scores, part, sum, k, v, bytes int
}

func newAttention(h tensor.HeadAttr) *attention {
	a := &attention{HeadAttr: h, group: h.QueryHeads / h.KVHeads, width: panelsOf(h.HeadDim) * simd.PanelRows}
	a.tokens = max(1, tileRows/a.group)
	a.rows = a.tokens * a.group
	place := func(values int) int {
		at := a.bytes
		a.bytes += aligned(4 * values)
		return at
	}
	a.q = place(a.rows * h.HeadDim)
	a.scores = place(a.rows * chunk)
	a.part = place(a.rows * a.width)
	a.sum = place(a.rows * a.width)
	a.k = place(4 * tokens * h.HeadDim) // decoded keys of four pages
	a.v = place(tokens * h.HeadDim)
	return a
}

// tileRows is how many query heads × tokens a tile should have.
const tileRows = 8

// tile is a run of tokens of one sequence.
type tile struct {
	first, count int32
}

func (b *binder) attention(n *tensor.Node) launch {
	a := newAttention(n.Attr.(tensor.HeadAttr))
	q, tok := b.operand(n.In[0]), b.operand(n.In[1])
	keys, values, sl := b.cache(n.In[2], true), b.cache(n.In[3], false), b.slots(n.In[4])
	o := b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d, stage := b.d, int(b.plan.stage)
	tiles := func(r *run, n int) []tile {
		return unsafe.Slice((*tile)(pointer(r.arena, stage)), n)
	}
	work := func(t *thread, r *run, lo, hi int) {
		table := tok.ints(r)
		for i := lo; i < hi; i++ {
			tl := tiles(r, i/a.KVHeads+1)[i/a.KVHeads]
			first := int(tl.first)
			row := table[first*tensor.TokenColumns:]
			w := attend{a: a, t: t, kernels: d.kernels, keys: keys, values: values, head: i % a.KVHeads,
				pages: sl.pages(row[tensor.TokenSlot]), start: int(row[tensor.TokenPosition]), count: int(tl.count)}
			w.run(q.floats2(r, first, w.count), o.floats2(r, first, w.count))
		}
	}
	return func(r *run) error {
		table, count := tok.ints(r), q.count(r)
		list, n := tiles(r, count), 0
		for t := range count {
			if t+1 == count || !follows(table, t+1) {
				if err := checkPages(sl, keys, table[t*tensor.TokenColumns:]); err != nil {
					return err
				}
			}
			if n > 0 && int(list[n-1].count) < a.tokens && follows(table, t) {
				list[n-1].count++
				continue
			}
			list[n] = tile{int32(t), 1}
			n++
		}
		d.pool.do(r, n*a.KVHeads, 1, work)
		return nil
	}
}

// follows tells whether token t stands behind token t−1 in the same sequence.
func follows(table []int32, t int) bool {
	last, row := table[(t-1)*tensor.TokenColumns:], table[t*tensor.TokenColumns:]
	return last[tensor.TokenSlot] == row[tensor.TokenSlot] && last[tensor.TokenPosition]+1 == row[tensor.TokenPosition]
}

// checkPages fails where a token's slot, or a page up to its position, does not exist.
func checkPages(sl *slots, c *cache, row []int32) error {
	slot, position := row[tensor.TokenSlot], int(row[tensor.TokenPosition])
	if err := sl.check(slot); err != nil {
		return err
	}
	if position < 0 || position >= sl.spec.MaxPages*tokens {
		return fmt.Errorf("slot %d: position %d, its page table covers %d", slot, position, sl.spec.MaxPages*tokens)
	}
	for i, p := range sl.pages(slot)[:position/tokens+1] {
		if p < 0 || int(p) >= c.spec.Pages {
			return fmt.Errorf("slot %d: positions from %d are on page %d of %d", slot, i*tokens, p, c.spec.Pages)
		}
	}
	return nil
}

// floats2 is n rows from row t on.
func (o operand) floats2(r *run, t, n int) []float32 {
	return view[float32](o.memory(r), o.offset+t*o.cols*4, n*o.cols)
}

// attend is one tile at work.
type attend struct {
	a            *attention
	t            *thread
	kernels      *simd.Kernels
	keys, values *cache
	head         int // KV head
	pages        []int32
	start, count int // position of the first token, tokens
}

// running is the state of one row's softmax.
type running struct{ peak, total float32 }

// maxRows bounds a tile's rows without allocating: query heads of one KV head, or MaxTokens.
const maxRows = 64

func (w *attend) run(q, o []float32) {
	a, dim := w.a, w.a.HeadDim
	rows := w.count * a.group
	cols := a.QueryHeads * dim
	region := func(at, n int) []float32 { return view[float32](w.t.local, at, n) }
	queries := region(a.q, rows*dim)
	for i := range w.count {
		from := q[i*cols+w.head*a.group*dim:][:a.group*dim]
		w.kernels.Scale(queries[i*a.group*dim:][:a.group*dim], from, a.Scale)
	}
	var fixed [maxRows]running
	state := fixed[:]
	if rows > maxRows {
		state = make([]running, rows)
	}
	last := w.start + w.count - 1
	for first := 0; first <= last; first += chunk {
		n := min(chunk, last+1-first)
		w.score(first, n, rows)
		w.merge(first, n, state[:rows])
	}
	for i := range rows {
		at := i/a.group*cols + (w.head*a.group+i%a.group)*dim
		w.kernels.Scale(o[at:][:dim], region(a.sum+4*i*a.width, dim), 1/state[i].total)
	}
}

// score multiplies the rows' queries with the n keys from position first on.
func (w *attend) score(first, n, rows int) {
	a := w.a
	var panels [simd.MaxPanels]unsafe.Pointer
	call := simd.Tile{X: pointer(w.t.local, a.q), XStride: 4 * a.HeadDim, CStride: 4 * chunk, K: a.HeadDim}
	for p, end := first/tokens, (first+n-1)/tokens+1; p < end; p += len(panels) {
		count := min(len(panels), end-p)
		for i := range count {
			buffer := view[float32](w.t.local, a.k+4*i*tokens*a.HeadDim, tokens*a.HeadDim)
			panels[i], call.KStride = w.keys.panels(w.kernels, int(w.pages[p+i]), w.head, buffer)
		}
		call.C = pointer(w.t.local, a.scores+4*(p*tokens-first))
		w.keys.tiles(w.kernels).Call(&w.t.simd, call, panels[:count], rows)
	}
}

// merge turns the scores of n positions from first on into probabilities, weights the values with them, and adds the
// result to what stands left of them.
func (w *attend) merge(first, n int, state []running) {
	a, k := w.a, w.kernels
	padded := (n + tokens - 1) / tokens * tokens
	var fixed [maxRows]running
	now := fixed[:]
	if len(state) > maxRows {
		now = make([]running, len(state))
	}
	for i := range state {
		s := view[float32](w.t.local, a.scores+4*i*chunk, padded)
		seen := min(n, w.start+i/a.group+1-first) // positions that this row's token may see
		if seen <= 0 {
			clear(s)
			continue
		}
		for j := seen; j < padded; j++ {
			s[j] = float32(math.Inf(-1))
		}
		now[i].peak = k.Max(s[:seen])
		now[i].total = k.ExpSum(s, now[i].peak)
	}
	w.weigh(first, n, len(state))
	for i := range state {
		if w.start+i/a.group < first {
			continue
		}
		sum, part := view[float32](w.t.local, a.sum+4*i*a.width, a.HeadDim), view[float32](w.t.local, a.part+4*i*a.width, a.HeadDim)
		s, c := &state[i], now[i]
		if first == 0 {
			copy(sum, part)
			*s = c
			continue
		}
		both := max(s.peak, c.peak)
		old, new := exp(s.peak-both), exp(c.peak-both)
		s.peak, s.total = both, float32(s.total*old)+float32(c.total*new)
		k.ScaleAdd(sum, part, old, new)
	}
}

func exp(x float32) float32 { return float32(math.Exp(float64(x))) }

// weigh sums the values of n positions from first on, weighted with the rows' probabilities.
func (w *attend) weigh(first, n, rows int) {
	a := w.a
	var few [16]unsafe.Pointer
	panels := few[:0]
	count := a.width / simd.PanelRows
	call := simd.Tile{XStride: 4 * chunk, C: pointer(w.t.local, a.part), CStride: 4 * a.width}
	for at := 0; at < n; at += tokens {
		base, stride := w.values.panels(w.kernels, int(w.pages[(first+at)/tokens]), w.head, view[float32](w.t.local, a.v, tokens*a.HeadDim))
		panels = panels[:0]
		for i := range count {
			panels = append(panels, unsafe.Add(base, i*w.values.panelBytes()))
		}
		call.X = pointer(w.t.local, a.scores+4*at)
		call.K, call.KStride, call.Add = min(tokens, n-at), stride, at
		w.values.tiles(w.kernels).Call(&w.t.simd, call, panels, rows)
	}
}
