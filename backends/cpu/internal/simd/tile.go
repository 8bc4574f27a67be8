package simd

import "unsafe"

// PanelRows is the number of weight rows that one panel interleaves.
const PanelRows = 16

// The largest geometry of any tile.
const (
	MaxPanels = 4
	MaxTokens = 14
)

// Tile is the operand of one kernel call: C[t][16·p+j] = Σk W[p][k][j] · X[t][k] for a few panels p and tokens t, added to
// what C holds when Add is not zero. Strides are in bytes. The assembly knows the fields by their offsets.
type Tile struct {
	W       [MaxPanels]unsafe.Pointer
	X       unsafe.Pointer // f32 rows; bf16 for Dot; activation blocks for Q8 and Coded
	XStride int
	C       unsafe.Pointer // f32
	CStride int
	K       int // values per row: even for Pairs and Dot, a multiple of the block for Q8 and Coded
	KStride int // between the k-th and the next 16 values of a panel; the rows kernels alone read it
	Scales  int // from W to the first of the panel's scales; Q8 and Coded read it
	Add     int
	Next    uintptr        // what is prefetched: what comes after these panels
	Every   int            // in every how manieth round of the kernel; 0: not at all. For loose kernels, at which rate
	Results unsafe.Pointer // room for results that a kernel has no registers for
}

// Tiles are the kernels of one kind by geometry: Run[tokens][panels], nil where there is none. Run[1][1]
// is always there.
type Tiles struct {
	Tokens int // tokens of the tile that does most work for its loads; 0: the level lacks this kind
	Run    [MaxTokens + 1][MaxPanels + 1]func(*Tile)
	Loose  *Loose // nil: as they are, for any number of tokens
	Lone   int    // Tile.Every where one tile takes all tokens; 0: 1
}

// take is how many of n tokens the next tile should have: nearly equal tiles beat full ones and a sliver.
func (k *Tiles) take(n int) int {
	if n <= MaxTokens && k.Run[n][1] != nil {
		return n
	}
	count := (n + k.Tokens - 1) / k.Tokens
	if even := (n + count - 1) / count; k.Run[even][1] != nil {
		return even
	}
	if n > k.Tokens+k.Tokens/4 {
		return k.Tokens
	}
	for n = min((n+1)/2, k.Tokens); k.Run[n][1] == nil; n-- {
	}
	return n
}

// Kernels are the kernels of one level. F32, F16 and BF16 multiply panels of that element, whose k advances by KStride,
// with f32 activations. Pairs multiplies bf16 panels whose k advances in pairs with f32 activations, to the same bits as
// BF16; Dot multiplies them with bf16 activations (AVX512BF16 only). Q8 multiplies blocks of 8-bit integers, Coded
// those of narrower codes.
type Kernels struct {
	Level          Level
	F32, F16, BF16 Tiles
	Pairs, Dot     Tiles
	Q8             Tiles
	Coded          [codings]Tiles
}

// Matrix is a run of equally spaced panels and the activations that they meet.
type Matrix struct {
	W           unsafe.Pointer // of panel 0
	PanelStride int            // bytes from panel to panel
	Rows        int            // weight rows; the last panel may be partial
	K, KStride  int
	WBlock      int // bytes of Q8Values values of a panel, without scales that lie behind all values
	SBlock      int // bytes of those scales
	X           unsafe.Pointer
	XStride     int
	XBlock      int            // bytes of Q8Values values of an activation row
	C           unsafe.Pointer // f32; row t at C + t·CStride, weight row r at 4·(r − 16·First) in it
	CStride     int
	First       int // panel that stands in C's first columns
}

// Scratch is what one thread needs to call kernels without allocating.
type Scratch struct {
	tile    Tile
	page    pageCall
	edge    [MaxTokens * PanelRows]float32
	loose   looseScratch
	results looseResults
}

// slab is how many values of k of a few panels meet all tokens before the next: they stay in a core's caches meanwhile.
const slab = 1024

// Multiply computes the rows of panels [p0, p1) for tokens [t0, t1). Where one tile takes all tokens, panels are streamed
// once, whole; else slab by slab, each for all tokens before the next. What comes next is prefetched meanwhile, and the
// tiles of tokens share that out.
func (k *Tiles) Multiply(s *Scratch, m *Matrix, p0, p1, t0, t1 int) {
	if full := m.Rows / PanelRows; p1 > full && p0 < p1 {
		k.edge(s, m, full, t0, t1)
		p1 = full
	}
	if t0 >= t1 {
		return
	}
	if k.Loose != nil && t1-t0 >= looseTokens {
		k.Loose.multiply(s, m, p0, p1, t0, t1)
		return
	}
	n := k.take(t1 - t0)
	_, group := k.best(n, MaxPanels)
	t, step := &s.tile, slab
	t.XStride, t.CStride, t.KStride, t.Results = m.XStride, m.CStride, m.KStride, s.results.aligned()
	tiles := (t1 - t0 + n - 1) / n
	if t.Every = tiles; tiles == 1 {
		step, t.Every = m.K, max(k.Lone, 1)
	}
	ahead := group * m.PanelStride // every slab asks for its part of the next panels
	for g := p0; g < p1; g += group {
		end := min(g+group, p1)
		for at := 0; at < m.K; at += step {
			t.K, t.Add, t.Scales = min(step, m.K-at), at, m.scales(at)
			w, x := unsafe.Add(m.W, at/Q8Values*m.WBlock), unsafe.Add(m.X, at/Q8Values*m.XBlock)
			next, share := uintptr(m.W)+uintptr(g*m.PanelStride+ahead+ahead*at/m.K), ahead*t.K/m.K/tiles
			for tok := t0; tok < t1; next += uintptr(share) {
				n := k.take(t1 - tok)
				t.X, t.Next = unsafe.Add(x, tok*m.XStride), next
				for p := g; p < end; {
					run, np := k.best(n, end-p)
					for i := range np {
						t.W[i] = unsafe.Add(w, (p+i)*m.PanelStride)
					}
					t.C = unsafe.Add(m.C, tok*m.CStride+(p-m.First)*PanelRows*4)
					run(t)
					p += np
					t.Next += uintptr(share * np / group)
				}
				tok += n
			}
		}
	}
}

// scales is how far behind value at of a panel its scale lies, in bytes.
func (m *Matrix) scales(at int) int {
	return m.K/Q8Values*m.WBlock + at/Q8Values*(m.SBlock-m.WBlock)
}

// best is the widest kernel for n tokens that takes at most p panels.
func (k *Tiles) best(n, p int) (func(*Tile), int) {
	for p = min(p, MaxPanels); p > 1; p-- {
		if f := k.Run[n][p]; f != nil {
			return f, p
		}
	}
	return k.Run[n][1], 1
}

// edge computes the last, partial panel through a buffer, since kernels write 16 values.
func (k *Tiles) edge(s *Scratch, m *Matrix, p, t0, t1 int) {
	rows := m.Rows - p*PanelRows
	t := &s.tile
	*t = Tile{XStride: m.XStride, CStride: 4 * PanelRows, K: m.K, KStride: m.KStride, Scales: m.scales(0), Results: s.results.aligned()}
	t.W[0], t.C = unsafe.Add(m.W, p*m.PanelStride), unsafe.Pointer(&s.edge)
	for tok := t0; tok < t1; {
		n := k.take(t1 - tok)
		t.X = unsafe.Add(m.X, tok*m.XStride)
		k.Run[n][1](t)
		for i := range n {
			c := unsafe.Slice((*float32)(unsafe.Add(m.C, (tok+i)*m.CStride+(p-m.First)*PanelRows*4)), rows)
			copy(c, s.edge[i*PanelRows:])
		}
		tok += n
	}
}

// Call runs one tile that the caller has filled: panels × tokens in pieces that kernels exist for. W and C advance by
// panel, so t.W is given as a slice.
func (k *Tiles) Call(s *Scratch, t Tile, w []unsafe.Pointer, tokens int) {
	x, c := t.X, t.C
	for tok := 0; tok < tokens; {
		n := k.take(tokens - tok)
		for p := 0; p < len(w); {
			run, np := k.best(n, len(w)-p)
			s.tile = t
			copy(s.tile.W[:], w[p:p+np])
			s.tile.X = unsafe.Add(x, tok*t.XStride)
			s.tile.C = unsafe.Add(c, tok*t.CStride+p*PanelRows*4)
			run(&s.tile)
			p += np
		}
		tok += n
	}
}
