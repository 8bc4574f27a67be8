package simd

import (
	"math"
	"unsafe"
)

// PageTokens is the number of positions in a page of a KV cache: a panel of keys.
const PageTokens = PanelRows

// PageRows is how many rows meet pages where they lie without reading them more than once.
const PageRows = 8

// CacheFormat is how a KV cache holds values.
type CacheFormat uint8

// The formats of KV caches.
const (
	CacheF32 CacheFormat = iota
	CacheF16
	CacheBF16
	CacheQ8 // int8 with an f16 scale for each 32 of the dimension
	cacheFormats
)

// Pages are pages of one KV head: the operand of Keys and Values.
//
// Keys lie [Dim][16 tokens], values [16 tokens][Width]. Of CacheQ8 there are int8, and behind them, Scales bytes from the
// page's beginning, f16 scales: of keys [Dim/32][16 tokens], of values [16 tokens][Dim/32].
type Pages struct {
	Format CacheFormat
	At     []unsafe.Pointer
	Next   []unsafe.Pointer // as many pages, which are asked for meanwhile
	Dim    int
	Width  int       // Dim, padded to panels of 16
	Scales int       // of CacheQ8
	Buffer []float32 // scratch: 16·Width values, and Dim/32 values for each token
}

// Block is a matrix of f32 rows; Stride is in bytes.
type Block struct {
	At     unsafe.Pointer
	Stride int
}

func (b Block) row(i int) Block { return Block{unsafe.Add(b.At, i*b.Stride), b.Stride} }

// pageCall is what the assembly of the pages kernels reads, by offset.
type pageCall struct {
	w, next *unsafe.Pointer
	s       unsafe.Pointer // values of CacheQ8: f32 scales of the first panel of each token
	sStride int
	x       unsafe.Pointer
	xStride int
	c       unsafe.Pointer
	cStride int
	k       int // summed over: the dimension, or tokens
	kStride int // values: bytes from token to token
	scales  int // from a page to its scales
	at      int // values: from a token's values to those of the first panel
}

// pageKernels are kernels by format, rows and panels (pages of keys); nil where there is none.
type pageKernels [cacheFormats][PageRows + 1][PageRows + 1]func(*pageCall)

// best is the kernel that takes most of what is left.
func (k *pageKernels) best(f CacheFormat, rows, panels int) (run func(*pageCall), r, p int) {
	for r = PageRows; r > rows || k[f][r][1] == nil; r /= 2 {
	}
	for p = PageRows; p > panels || k[f][r][p] == nil; p /= 2 {
	}
	return k[f][r][p], r, p
}

// Keys multiplies rows of x, Dim values each, with all keys: c[r][i] = x[r] · key i. Every product is summed over the
// dimension in order, as the F32 tiles do on widened keys: to the same bits.
func (k *Kernels) Keys(s *Scratch, p *Pages, x, c Block, rows int) {
	kernels, _ := pagesOf(k.Level)
	if kernels == nil {
		k.keysByTile(s, p, x, c, rows)
		return
	}
	t := &s.page
	t.xStride, t.cStride, t.k, t.scales = x.Stride, c.Stride, p.Dim, p.Scales
	for row := 0; row < rows; {
		n := 0
		for i := 0; i < len(p.At); {
			run, r, panels := kernels.best(p.Format, rows-row, len(p.At)-i)
			t.w, t.next = &p.At[i], &p.Next[i]
			t.x, t.c = x.row(row).At, unsafe.Add(c.row(row).At, 4*PageTokens*i)
			run(t)
			n, i = r, i+panels
		}
		row += n
	}
}

// Values sums the first n values, weighted with rows of x: c[r] = Σ x[r][i] · value i, over i in order.
func (k *Kernels) Values(s *Scratch, p *Pages, n int, x, c Block, rows int) {
	_, kernels := pagesOf(k.Level)
	if kernels == nil {
		k.valuesByTile(s, p, n, x, c, rows)
		return
	}
	element, blocks := p.Format.bytes(), p.Dim/Q8Values
	if p.Format == CacheQ8 {
		for i, at := range p.At {
			k.FromF16(p.Buffer[i*PageTokens*blocks:][:PageTokens*blocks], unsafe.Slice((*uint16)(unsafe.Add(at, p.Scales)), PageTokens*blocks))
		}
	}
	t := &s.page
	t.w, t.next, t.k, t.scales = &p.At[0], &p.Next[0], n, p.Scales
	t.xStride, t.cStride, t.kStride, t.sStride = x.Stride, c.Stride, p.Width*element, 4*blocks
	for row := 0; row < rows; {
		r := 0
		for panel := 0; panel < p.Width/PanelRows; {
			var run func(*pageCall)
			var panels int
			run, r, panels = kernels.best(p.Format, rows-row, p.Width/PanelRows-panel)
			t.x, t.c = x.row(row).At, unsafe.Add(c.row(row).At, 4*PanelRows*panel)
			t.at = PanelRows * panel * element
			if p.Format == CacheQ8 {
				t.s = unsafe.Pointer(&p.Buffer[PanelRows*panel/Q8Values])
			}
			run(t)
			panel += panels
		}
		row += r
	}
}

// bytes is the size of a value.
func (f CacheFormat) bytes() int { return [cacheFormats]int{4, 2, 2, 1}[f] }

// tiles multiply what panels returns.
func (k *Kernels) cacheTiles(f CacheFormat) *Tiles {
	return [cacheFormats]*Tiles{&k.F32, &k.F16, &k.BF16, &k.F32}[f]
}

func (k *Kernels) keysByTile(s *Scratch, p *Pages, x, c Block, rows int) {
	call := Tile{X: x.At, XStride: x.Stride, CStride: c.Stride, K: p.Dim, KStride: PanelRows * p.Format.bytes()}
	for i, at := range p.At {
		if p.Format == CacheQ8 {
			k.WidenKeys(p, i, p.Buffer[:PageTokens*p.Dim])
			at, call.KStride = unsafe.Pointer(&p.Buffer[0]), 4*PanelRows
		}
		call.C = unsafe.Add(c.At, 4*PageTokens*i)
		one := [1]unsafe.Pointer{at}
		k.cacheTiles(p.Format).Call(s, call, one[:], rows)
	}
}

func (k *Kernels) valuesByTile(s *Scratch, p *Pages, n int, x, c Block, rows int) {
	size := p.Format.bytes()
	call := Tile{XStride: x.Stride, CStride: c.Stride}
	for first := 0; first < n; first += PageTokens {
		at := p.At[first/PageTokens]
		if p.Format == CacheQ8 {
			k.WidenValues(p, first/PageTokens, p.Buffer[:PageTokens*p.Width])
			at, size = unsafe.Pointer(&p.Buffer[0]), 4
		}
		call.X = unsafe.Add(x.At, 4*first)
		call.K, call.KStride, call.Add = min(PageTokens, n-first), p.Width*size, first
		for panel := 0; panel < p.Width/PanelRows; panel += MaxPanels {
			var panels [MaxPanels]unsafe.Pointer
			count := min(MaxPanels, p.Width/PanelRows-panel)
			for i := range count {
				panels[i] = unsafe.Add(at, (panel+i)*PanelRows*size)
			}
			call.C = unsafe.Add(c.At, 4*PanelRows*panel)
			k.cacheTiles(p.Format).Call(s, call, panels[:count], rows)
		}
	}
}

// WidenKeys writes page i of keys as f32: [Dim][16 tokens].
func (k *Kernels) WidenKeys(p *Pages, i int, dst []float32) {
	if p.Format != CacheQ8 {
		k.widen(p, i, dst)
		return
	}
	const n = Q8Values
	q, scales := unsafe.Slice((*int8)(p.At[i]), len(dst)), unsafe.Slice((*uint16)(unsafe.Add(p.At[i], p.Scales)), len(dst)/n)
	var s [PageTokens]float32
	for b := range p.Dim / n {
		k.FromF16(s[:], scales[b*PageTokens:][:PageTokens])
		k.FromI8Columns(dst[b*n*PageTokens:][:n*PageTokens], q[b*n*PageTokens:][:n*PageTokens], &s)
	}
}

// WidenValues writes page i of values as f32: [16 tokens][Width].
func (k *Kernels) WidenValues(p *Pages, i int, dst []float32) {
	if p.Format != CacheQ8 {
		k.widen(p, i, dst)
		return
	}
	const n = Q8Values
	q, scales := unsafe.Slice((*int8)(p.At[i]), len(dst)), unsafe.Slice((*uint16)(unsafe.Add(p.At[i], p.Scales)), len(dst)/n)
	for b, s := range scales {
		k.FromI8(dst[b*n:][:n], q[b*n:][:n], F16(s))
	}
}

func (k *Kernels) widen(p *Pages, i int, dst []float32) {
	if f := widenOf(k.Level, p.Format); f != nil {
		f(&dst[0], (*uint16)(p.At[i]), (*uint16)(p.At[min(i+1, len(p.At)-1)]), len(dst))
		return
	}
	switch p.Format {
	case CacheF32:
		copy(dst, unsafe.Slice((*float32)(p.At[i]), len(dst)))
	case CacheF16:
		k.FromF16(dst, unsafe.Slice((*uint16)(p.At[i]), len(dst)))
	case CacheBF16:
		k.FromBF16(dst, unsafe.Slice((*uint16)(p.At[i]), len(dst)))
	}
}

// Softmax turns the first n of x, scores, into weights e^(x−peak), peak being the largest, and the rest, up to len(x), a
// multiple of 16, into zeros. It returns the peak and the sum of the weights, neither of which depends on len(x).
func (k *Kernels) Softmax(x []float32, n int) (peak, total float32) {
	if f := softmaxOf(k.Level); f != nil {
		return f(&x[0], n, len(x))
	}
	for i := n; i < len(x); i++ {
		x[i] = float32(math.Inf(-1))
	}
	peak = k.Max(x[:n])
	return peak, k.ExpSum(x, peak)
}

// AttentionRows is how many rows attention should compute together, where it has more: two tiles, which share what they
// bring into the nearest cache.
func (k *Kernels) AttentionRows() int { return max(2*k.F32.Tokens, PageRows) }
