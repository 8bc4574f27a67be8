package simd

import "unsafe"

// Loose is how codes meet many tokens: unpacked once for all of them.
type Loose struct {
	// Unpack writes blocks of 32 values of a panel, a multiple of the format's block, as bytes and f32 scales.
	Unpack func(dst, codes, scales unsafe.Pointer, blocks int)
	Tiles  *Tiles // what multiplies them, to the bits of the kernels of codes
	Block  int    // bytes of an unpacked block of 32 values
}

const (
	looseTokens = 17      // from how many tokens on unpacking once is sooner
	loosePanels = 2       // that are unpacked at a time, and
	looseSlab   = 512     // values of k: with the activations of a tile, what stays in a core's first cache
	looseBlock  = 768     // the largest Loose.Block
	looseRate   = 1 << 16 // Tile.Every of a kernel that prefetches at each of its places
	loosePlaces = 8       // of a block, each for 128 bytes
)

// looseScratch holds unpacked panels, looseResults what a kernel has no registers for; both have room to begin on a cache line.
type (
	looseScratch [loosePanels*looseSlab/Q8Values*looseBlock + 64]byte
	looseResults [64*MaxPanels*MaxTokens + 64]byte
)

func (s *looseScratch) aligned() unsafe.Pointer { return alignLine(unsafe.Pointer(s)) }
func (s *looseResults) aligned() unsafe.Pointer { return alignLine(unsafe.Pointer(s)) }

func alignLine(p unsafe.Pointer) unsafe.Pointer { return unsafe.Add(p, -uintptr(p)%64) }

// multiply computes the rows of whole panels [p0, p1) for tokens [t0, t1), and prefetches the panels that come next
// evenly meanwhile.
func (l *Loose) multiply(s *Scratch, m *Matrix, p0, p1, t0, t1 int) {
	t := &s.tile
	t.XStride, t.CStride, t.Results = m.XStride, m.CStride, s.results.aligned()
	begin := s.loose.aligned()
	for g := p0; g < p1; g += loosePanels {
		panels := min(loosePanels, p1-g)
		for at := 0; at < m.K; at += looseSlab {
			t.K, t.Add = min(looseSlab, m.K-at), at
			w := unsafe.Add(m.W, g*m.PanelStride+at/Q8Values*m.WBlock)
			for i := range panels {
				t.W[i] = unsafe.Add(begin, i*looseSlab/Q8Values*l.Block)
				l.Unpack(t.W[i], w, unsafe.Add(w, m.scales(at)), t.K/Q8Values)
				w = unsafe.Add(w, m.PanelStride)
			}
			t.Next = uintptr(m.W) + uintptr((g+panels)*m.PanelStride+panels*m.PanelStride*at/m.K)
			share := panels * m.PanelStride * t.K / m.K // of which each token's part
			x, c := unsafe.Add(m.X, at/Q8Values*m.XBlock), unsafe.Add(m.C, (g-m.First)*PanelRows*4)
			for tok := t0; tok < t1; {
				n := l.Tiles.take(t1 - tok)
				part := share * n / (t1 - t0)
				t.Every = looseRate * part / 128 / (t.K / Q8Values * loosePlaces)
				t.X, t.C = unsafe.Add(x, tok*m.XStride), unsafe.Add(c, tok*m.CStride)
				l.Tiles.Run[n][panels](t)
				t.Next += uintptr(part)
				tok += n
			}
		}
	}
}
