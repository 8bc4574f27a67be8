package cpu

import (
	"fmt"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// chunk is the number of positions over which attention sums before it merges with what stands left of them.
const chunk = tensor.AttentionChunk

// attention is the geometry of an operation and the layout of a thread's region for it.
//
// A tile is consecutive tokens of one sequence. For one KV head its rows are the query heads of that KV head, token by
// token. A thread takes a tile and one KV head, or all of them. It goes from chunk to chunk, so that a chunk's keys and
// values are read from memory once for all rows, and a page's heads, which are neighbours there, soon after each other;
// within a chunk and head from block to block of rows, so that a block's scores stay in the nearest cache. A row's
// arithmetic depends on its position alone: not on the tile, not on the block, nor on who computes a chunk.
type attention struct {
	tensor.HeadAttr
	group    int // query heads of one KV head
	tokens   int // of the largest tile
	rows     int // that a thread may have at once: those of the largest tile, or of all heads of a block
	block    int // rows that are computed together
	width    int // HeadDim padded to whole panels
	partials int // rows of single chunks that the stage holds, where tiles are split

	// Offsets in the thread's region, in bytes.
	q, sum, state, scores, part, now, k, v, bytes int
}

const (
	// tileRows is how many rows a tile should have: so many that it does not matter what a chunk's keys and values cost
	// to convert.
	tileRows = 224

	// scoreStride is the distance in values of two rows' scores: no power of two, which would put the same scores of all
	// rows into a few sets of the cache.
	scoreStride = chunk + simd.PanelRows

	// partialTail is what a partial row has beside its values: its running state, and what keeps rows aligned.
	partialTail = simd.PanelRows

	chunkPages = chunk / tokens

	// pieces is how many pieces of work each thread should find at least.
	pieces = 4
)

// newAttention lays out attention over contexts of up to the given number of pages.
func newAttention(h tensor.HeadAttr, k *simd.Kernels, threads, pages int) *attention {
	a := &attention{HeadAttr: h, group: h.QueryHeads / h.KVHeads, width: panelsOf(h.HeadDim) * simd.PanelRows}
	a.tokens = max(1, tileRows/a.group)
	a.block = k.AttentionRows()
	a.rows = max(a.tokens*a.group, a.block*h.KVHeads)
	if threads > 1 { // enough for as many sequences as are too few to keep two threads busy, or more threads head by head
		few := max(3, (pieces*threads+h.KVHeads-1)/h.KVHeads)
		a.partials = few * h.QueryHeads * ((pages + chunkPages - 1) / chunkPages)
	}
	place := func(values int) int {
		at := a.bytes
		a.bytes += aligned(4 * values)
		return at
	}
	a.q = place(a.rows * h.HeadDim)
	a.sum = place(a.rows * a.width)
	a.state = place(a.rows * runningWords)
	a.scores = place(a.block * scoreStride)
	a.part = place(a.block * a.width)
	a.now = place(a.block * runningWords)
	a.k = place(chunk * a.width)
	a.v = place(chunk * a.width)
	return a
}

// stage is what an operation on n tokens needs beside the regions: a list of tiles, and the partial rows.
func (a *attention) stage(n int) int { return a.partialsAt(n) + a.partials*a.partialBytes() }

func (a *attention) partialsAt(n int) int { return aligned(n * int(unsafe.Sizeof(tile{}))) }

func (a *attention) partialBytes() int { return 4 * (a.width + partialTail) }

// tile is a run of tokens of one sequence.
type tile struct {
	first, count int32
	chunks       int32 // that its last token sees
	item         int32 // where tiles are split: the first of its pieces
	partial      int32 // and of its partial rows
}

// division is how tiles become pieces of work.
type division struct {
	heads   int // of a piece: one or all KV heads
	segment int // chunks of a piece; 0: all
	pieces  int
}

func (b *binder) attention(n *tensor.Node) launch {
	q, tok := b.operand(n.In[0]), b.operand(n.In[1])
	keys, values, sl := b.cache(n.In[2], true), b.cache(n.In[3], false), b.slots(n.In[4])
	o := b.operand(n.Out[0])
	if b.err != nil {
		return nil
	}
	d, stage := b.d, int(b.plan.stage)
	threads := len(d.pool.threads)
	a := newAttention(n.Attr.(tensor.HeadAttr), d.kernels, threads, sl.spec.MaxPages)
	lists := make([]pageLists, threads)
	partials := stage + a.partialsAt(q.rows.Cap)
	pagesOf := func(r *run, tl *tile) []int32 {
		last := tok.ints(r)[int(tl.first+tl.count-1)*tensor.TokenColumns:]
		return sl.pages(last[tensor.TokenSlot])[:last[tensor.TokenPosition]/tokens+1]
	}
	attendTo := func(t *thread, r *run, tl *tile, head, heads int) attend {
		row := tok.ints(r)[int(tl.first)*tensor.TokenColumns:]
		w := attend{a: a, t: t, kernels: d.kernels, keys: keys, values: values, list: &lists[t.index], first: head, heads: heads,
			pages: pagesOf(r, tl), start: int(row[tensor.TokenPosition]), count: int(tl.count)}
		w.q, w.o = q.floats2(r, int(tl.first), w.count), o.floats2(r, int(tl.first), w.count)
		return w
	}
	splitTo := func(t *thread, r *run, tl *tile, head, heads int) attend {
		w := attendTo(t, r, tl, head, heads)
		w.partials = pointer(r.arena, partials+int(tl.partial)*a.partialBytes())
		w.chunks = int(tl.chunks)
		return w
	}
	// Of the run:
	var list []tile
	var div division
	whole := func(t *thread, r *run, lo, hi int) {
		turns := a.KVHeads / div.heads
		for i := lo; i < hi; i++ {
			w := attendTo(t, r, &list[i/turns], i%turns*div.heads, div.heads)
			if next := i + 1; next < len(list)*turns {
				w.after, w.afterHead = pagesOf(r, &list[next/turns]), next%turns*div.heads
			}
			w.whole()
		}
	}
	split := func(t *thread, r *run, lo, hi int) {
		turns := a.KVHeads / div.heads
		for i := lo; i < hi; i++ {
			at := 0
			for at+1 < len(list) && int(list[at+1].item) <= i {
				at++
			}
			tl := &list[at]
			n := i - int(tl.item)
			w := splitTo(t, r, tl, n%turns*div.heads, div.heads)
			first := n / turns * div.segment
			w.split(first, min(first+div.segment, int(tl.chunks)))
		}
	}
	merge := func(t *thread, r *run, lo, hi int) {
		for i := lo; i < hi; i++ {
			w := splitTo(t, r, &list[i/a.KVHeads], i%a.KVHeads, 1)
			w.mergeSplit()
		}
	}
	return func(r *run) error {
		table, count := tok.ints(r), q.count(r)
		for t := range count {
			if t+1 == count || !follows(table, t+1) {
				if err := checkPages(sl, keys, table[t*tensor.TokenColumns:]); err != nil {
					return err
				}
			}
		}
		list = unsafe.Slice((*tile)(pointer(r.arena, stage)), count)
		list = list[:a.cut(list, table, threads)]
		if div = a.divide(list, threads); div.segment == 0 {
			d.pool.do(r, div.pieces, 1, whole)
			return nil
		}
		d.pool.do(r, div.pieces, 1, split)
		d.pool.do(r, len(list)*a.KVHeads, 1, merge)
		return nil
	}
}

// cut fills in the list of tiles, a token of the table each at least, and returns how many they are.
func (a *attention) cut(list []tile, table []int32, threads int) (n int) {
	most := a.tokens
	for threads > 1 && most*a.group > a.block && len(list)*a.KVHeads < pieces*threads*most {
		most = (most + 1) / 2
	}
	for t := range list {
		chunks := table[t*tensor.TokenColumns+tensor.TokenPosition]/chunk + 1
		if n > 0 && int(list[n-1].count) < most && follows(table, t) {
			list[n-1].count++
			list[n-1].chunks = chunks
			continue
		}
		list[n] = tile{first: int32(t), count: 1, chunks: chunks}
		n++
	}
	return n
}

// divide cuts tiles into pieces. A piece has all heads where that leaves enough pieces, since memory delivers neighbours
// faster, and one where tiles are wide or the work is little. Tiles are split into segments of a few chunks where the
// longest would keep a thread at work when the others have finished.
func (a *attention) divide(list []tile, threads int) division {
	total, longest, rows, narrow := 0, 0, 0, true
	for i := range list {
		t := &list[i]
		total += int(t.chunks)
		longest = max(longest, int(t.chunks))
		t.partial = int32(rows)
		rows += int(t.count) * a.QueryHeads * int(t.chunks)
		narrow = narrow && int(t.count)*a.group <= a.block
	}
	splits := narrow && threads > 1 && rows <= a.partials
	for _, heads := range []int{a.KVHeads, 1} {
		turns := a.KVHeads / heads
		if heads > 1 && (!narrow || longest == 1 || total < pieces*threads) {
			continue
		}
		if threads == 1 || longest*threads*2 <= total*turns {
			return division{heads: heads, pieces: len(list) * turns}
		}
		segment := max(1, total*turns/(pieces*threads))
		if !splits || segment >= longest {
			continue
		}
		d := division{heads: heads, segment: segment}
		for i := range list {
			t := &list[i]
			t.item = int32(d.pieces)
			d.pieces += (int(t.chunks) + segment - 1) / segment * turns
		}
		return d
	}
	return division{heads: 1, pieces: len(list) * a.KVHeads}
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
