package cpu

import (
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
)

// attend is a tile at work, or some KV heads' part of it.
type attend struct {
	a            *attention
	t            *thread
	kernels      *simd.Kernels
	keys, values *cache
	list         *pageLists
	first, heads int     // KV heads that are computed
	head         int     // the one at hand
	pages        []int32 // up to the last token's
	start, count int     // position of the first token, tokens
	after        []int32 // pages of the tile that the thread takes next, which are asked for at the end of this one
	afterHead    int
	q, o         []float32
	partials     unsafe.Pointer // where the tile is split: a row for each head, chunk and row
	chunks       int            // and how many chunks it has
	kp, vp       simd.Pages     // of the chunk
}

// pageLists is where a chunk's pages lie, and the keys of the chunk that comes next.
type pageLists struct {
	keys, values, ahead [chunkPages]unsafe.Pointer
}

// running is the state of one row's softmax.
type running struct{ peak, total float32 }

const runningWords = int(unsafe.Sizeof(running{}) / 4)

// rows is the number of the tile's rows of one head.
func (w *attend) rows() int { return w.count * w.a.group }

// last is the position of the tile's last token.
func (w *attend) last() int { return w.start + w.count - 1 }

// direct tells whether keys and values are multiplied where they lie: with few rows it does not pay to widen them.
func (w *attend) direct() bool { return w.rows() <= simd.PageRows }

func (w *attend) floats(at, n int) []float32 { return view[float32](w.t.local, at, n) }

// states sees n rows' running states in the thread's region.
func (w *attend) states(at, n int) []running {
	return unsafe.Slice((*running)(pointer(w.t.local, at)), n)
}

// base is where the rows of the head at hand begin among those of all heads in the thread's region.
func (w *attend) base() int { return (w.head - w.first) * w.rows() }

// each runs f for each head.
func (w *attend) each(f func()) {
	for h := range w.heads {
		w.head = w.first + h
		f()
	}
}

// block is rows of values in the thread's region.
func (w *attend) block(at, width int) simd.Block {
	return simd.Block{At: pointer(w.t.local, at), Stride: 4 * width}
}

// whole computes the tile.
func (w *attend) whole() {
	a, rows := w.a, w.rows()
	w.each(w.scale)
	for first := 0; first <= w.last(); first += chunk {
		w.each(func() {
			w.load(first)
			for lo := 0; lo < rows; lo += a.block {
				hi := min(lo+a.block, rows)
				lo := max(lo, (first-w.start)*a.group) // the rows before see nothing of this chunk
				if lo >= hi {
					continue
				}
				part, now := w.block(a.part, a.width), w.states(a.now, hi-lo)
				if first == 0 {
					part, now = w.block(a.sum+4*(w.base()+lo)*a.width, a.width), w.states(a.state, w.base()+hi)[w.base()+lo:]
				}
				w.chunk(first, lo, hi, part, now)
				if first > 0 {
					w.merge(lo, part, now)
				}
			}
		})
	}
	w.each(w.finish)
}

// split computes chunks [from, to) of the tile, which is at most a block, and leaves each chunk's rows to mergeSplit.
func (w *attend) split(from, to int) {
	w.each(w.scale)
	for c := from; c < to; c++ {
		lo := max(0, (c*chunk-w.start)*w.a.group)
		w.each(func() {
			w.load(c * chunk)
			part, now := w.partial(c, lo)
			w.chunk(c*chunk, lo, w.rows(), part, now)
		})
	}
}

// mergeSplit merges the chunks that split left of one head, from left to right.
func (w *attend) mergeSplit() {
	a, rows := w.a, w.rows()
	w.head = w.first
	for c := range w.chunks {
		lo := max(0, (c*chunk-w.start)*a.group)
		part, now := w.partial(c, lo)
		if c > 0 {
			w.merge(lo, part, now)
			continue
		}
		copy(w.states(a.state, rows), now)
		copy(w.floats(a.sum, rows*a.width), unsafe.Slice((*float32)(part.At), rows*a.width))
	}
	w.finish()
}

// partial is where the rows of a chunk lie from row lo on, and their states.
func (w *attend) partial(c, lo int) (simd.Block, []running) {
	rows, stride := w.rows(), 4*w.a.width
	at := unsafe.Add(w.partials, (w.head*w.chunks+c)*rows*w.a.partialBytes())
	states := unsafe.Slice((*running)(unsafe.Add(at, rows*stride)), rows)
	return simd.Block{At: unsafe.Add(at, lo*stride), Stride: stride}, states[lo:]
}

// scale makes the queries of the head at hand ready, row by row.
func (w *attend) scale() {
	a, dim := w.a, w.a.HeadDim
	for i := range w.count {
		from := w.q[(i*a.QueryHeads+w.head*a.group)*dim:][:a.group*dim]
		w.kernels.Scale(w.floats(a.q+4*(w.base()+i*a.group)*dim, a.group*dim), from, a.Scale)
	}
}

// load finds the chunk's pages, and widens them where that pays.
func (w *attend) load(first int) {
	a, l := w.a, w.list
	n := (min(chunk, w.last()+1-first) + tokens - 1) / tokens
	pages := w.pages[first/tokens:]
	w.kp, w.vp = w.keys.pages(), w.values.pages()
	w.kp.At, w.vp.At = l.keys[:n], l.values[:n]
	w.keys.list(w.kp.At, pages[:n], w.head)
	w.values.list(w.vp.At, pages[:n], w.head)
	if w.direct() {
		// Keys are read while the chunk's values are asked for, those while the next keys are: the next head's, chunk's or
		// tile's.
		w.kp.Next, w.vp.Next = l.values[:n], l.ahead[:n]
		copy(l.ahead[:n], l.keys[:n])
		next, head := pages, w.head+1
		if head == w.first+w.heads {
			next, head = pages[n:], w.first
		}
		if len(next) == 0 {
			next, head = w.after, w.afterHead
		}
		w.keys.list(l.ahead[:n], next[:min(n, len(next))], head)
		w.kp.Buffer = w.floats(a.k, chunk*a.width)
		w.vp.Buffer = w.kp.Buffer
		return
	}
	for i := range n {
		w.kernels.WidenKeys(&w.kp, i, w.floats(a.k+4*i*tokens*a.HeadDim, tokens*a.HeadDim))
		w.kernels.WidenValues(&w.vp, i, w.floats(a.v+4*i*tokens*a.width, tokens*a.width))
	}
}

// chunk attends from rows [lo, hi) to the chunk at first: what they sum up goes to part, their states to now.
func (w *attend) chunk(first, lo, hi int, part simd.Block, now []running) {
	a, k, rows := w.a, w.kernels, hi-lo
	n := min(chunk, w.start+(hi-1)/a.group+1-first) // positions that the last row sees
	pages := (n + tokens - 1) / tokens
	queries, scores := w.block(a.q+4*(w.base()+lo)*a.HeadDim, a.HeadDim), w.block(a.scores, scoreStride)
	if w.direct() {
		kp := w.kp
		kp.At = kp.At[:pages]
		k.Keys(&w.t.simd, &kp, queries, scores, rows)
	} else {
		k.F32.Multiply(&w.t.simd, &simd.Matrix{W: pointer(w.t.local, a.k), PanelStride: 4 * tokens * a.HeadDim, Rows: pages * tokens,
			K: a.HeadDim, KStride: 4 * tokens, WBlock: 4 * tokens * simd.Q8Values, XBlock: 4 * simd.Q8Values,
			X: queries.At, XStride: queries.Stride, C: scores.At, CStride: scores.Stride}, 0, pages, 0, rows)
	}
	for i := range rows {
		seen := min(n, w.start+(lo+i)/a.group+1-first)
		now[i].peak, now[i].total = k.Softmax(w.floats(a.scores+4*i*scoreStride, pages*tokens), seen)
	}
	if w.direct() {
		vp := w.vp
		vp.At = vp.At[:pages]
		k.Values(&w.t.simd, &vp, n, scores, part, rows)
		return
	}
	k.F32.Multiply(&w.t.simd, &simd.Matrix{W: pointer(w.t.local, a.v), PanelStride: 4 * simd.PanelRows, Rows: a.width,
		K: n, KStride: 4 * a.width, X: scores.At, XStride: scores.Stride, C: part.At, CStride: part.Stride}, 0, a.width/simd.PanelRows, 0, rows)
}

// merge adds what rows from lo on summed up over a chunk to what stands left of it.
func (w *attend) merge(lo int, part simd.Block, now []running) {
	a := w.a
	lo += w.base()
	state := w.states(a.state, lo+len(now))[lo:]
	var few [maxBlock]float32 // e to the difference of the peaks
	shift := few[:len(now)]
	for i := range now {
		shift[i] = -abs(state[i].peak - now[i].peak)
	}
	w.kernels.ExpSum(shift, 0)
	for i, e := range shift {
		s, c := &state[i], now[i]
		old, new := float32(1), e
		if c.peak > s.peak {
			old, new = e, 1
			s.peak = c.peak
		}
		s.total = float32(s.total*old) + float32(c.total*new)
		row := unsafe.Slice((*float32)(unsafe.Add(part.At, i*part.Stride)), a.HeadDim)
		w.kernels.ScaleAdd(w.floats(a.sum+4*(lo+i)*a.width, a.HeadDim), row, old, new)
	}
}

// maxBlock bounds a block's rows.
const maxBlock = 64

func abs(x float32) float32 { return max(x, -x) }

// finish divides the sums by the weights' totals.
func (w *attend) finish() {
	a, dim, base := w.a, w.a.HeadDim, w.base()
	for i, s := range w.states(a.state, base+w.rows())[base:] {
		at := (i/a.group*a.QueryHeads + w.head*a.group + i%a.group) * dim
		w.kernels.Scale(w.o[at:][:dim], w.floats(a.sum+4*(base+i)*a.width, dim), 1/s.total)
	}
}
