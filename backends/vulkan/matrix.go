//go:build cgo && (linux || windows)

package vulkan

import (
	"math"

	"github.com/ullm/ullm/tensor"
)

// Matrix says whether 16-bit weights are multiplied by cooperative matrices, with activations rounded to f16, or as floats.
type Matrix uint8

const (
	MatrixFast   Matrix = iota // where a GPU has them
	MatrixAlways               // where software has them too: for tests
	MatrixNever
)

// matrix is the shape of a device's cooperative matrices: weights are m × k, activations k × n. The zero matrix is none.
type matrix struct{ m, n, k, subgroup int }

func (o Matrix) on(p *physical) matrix {
	if o == MatrixNever || o == MatrixFast && p.software() {
		return matrix{}
	}
	return p.matrix()
}

// Geometry of the matrix shader.
const (
	mostSegments = 8 // of a row of a weight, each summed by itself
	mostSplit    = 4 // tiles of tokens of the split geometry
	matrixShared = 32 << 10
	matrixSplit  = 1 // flags
	matrixSwiGLU = 2
	halfScale    = 1. / 32 // of activations, as half.glsl has it
	unitBytes    = 16
)

// matrix chooses the shape that multiplies 16-bit weights: the most values of k, then the most rows, then the fewest tokens,
// since a single token takes a whole tile. None, where the device lacks what the shader needs.
func (p *physical) matrix() (best matrix) {
	width := int(p.min_subgroup_size)
	if p.cooperative_matrix == 0 || p.memory_model == 0 || p.float16 == 0 || p.storage16 == 0 || p.subgroup_control == 0 || p.full_subgroups == 0 ||
		p.max_shared_memory < matrixShared || mostSegments*width > int(p.max_workgroup_invocations) {
		return matrix{}
	}
	for _, s := range p.shape[:p.shapes] {
		// A piece of a weight is 16 values, and tiles of tokens go to memory whole.
		c := matrix{int(s.m), int(s.n), int(s.k), width}
		if fits := func(n int) bool { return n == 8 || n == 16 }; !fits(c.m) || !fits(c.n) || !fits(c.k) {
			continue
		}
		if c.k > best.k || c.k == best.k && (c.m > best.m || c.m == best.m && c.n < best.n) {
			best = c
		}
	}
	return best
}

// takes tells whether a weight that lies in groups is multiplied by cooperative matrices.
func (m matrix) takes(w tensor.WeightSpec) bool {
	rows := w.Rows()
	if w.ReadBy(tensor.OpLinearSwiGLU) {
		rows /= 2
	}
	return m.m > 0 && (w.Format == tensor.F16 || w.Format == tensor.BF16) && w.Cols%chunkValues == 0 && rows >= m.m
}

// layoutOf is the layout of a weight on this device: cooperative matrices find bf16 as f16.
func (d *device) layoutOf(w tensor.WeightSpec) layout {
	l := layoutOf(w)
	if d.formFor(w) == asHalves {
		l.format = tensor.F16
	}
	return l
}

// split is the number of tiles of tokens, if there are so few that the split geometry takes them; else 0.
func (m matrix) split(tokens int) int {
	for t := 1; t <= mostSplit; t *= 2 {
		if tokens <= t*m.n {
			return t
		}
	}
	return 0
}

// reach is how many rows of activations are read where there are some.
func (m matrix) reach(tokens int) int { return max(tokens, m.split(tokens)*m.n) }

// matrixGeometry is how a product is dealt to subgroups. It does not touch a result's bits.
type matrixGeometry struct {
	tilesM, tilesN, tall, wide int // tiles of a subgroup, and subgroups: segments in the split geometry
	flags                      uint32
}

// constants are those of the shader.
func (g matrixGeometry) constants(m matrix) [numConstants]uint32 {
	return [numConstants]uint32{uint32(g.tall * g.wide * m.subgroup), uint32(m.m | m.n<<8 | m.k<<16), uint32(g.tilesM | g.tilesN<<4 | g.tall<<8 | g.wide<<12), g.flags}
}

// rows and tokens are those of a workgroup's results.
func (g matrixGeometry) rows(m matrix) int {
	n := g.tilesM * m.m
	if g.flags&matrixSplit == 0 {
		n *= g.tall
	}
	if g.flags&matrixSwiGLU != 0 {
		n /= 2
	}
	return n
}

func (g matrixGeometry) tokens(m matrix) int { return g.tilesN * g.wide * m.n }

// geometry deals rows of results for a step of tokens. Large tiles read less, where there are enough for the whole device; a
// processor takes very long to compile them.
func (m matrix) geometry(tokens, rows, segments, appetite int, large, swiglu bool) matrixGeometry {
	flags := uint32(0)
	if swiglu {
		flags = matrixSwiGLU
	}
	if t := m.split(tokens); t > 0 {
		g := matrixGeometry{tilesM: 1, tilesN: t, tall: segments, wide: 1, flags: flags | matrixSplit}
		if swiglu {
			g.tilesM = 2
		}
		return g
	}
	var g matrixGeometry
	tiles := []matrixGeometry{{4, 2, 2, 2, flags}, {2, 2, 2, 2, flags}}
	if !large {
		tiles = tiles[1:]
	}
	for _, g = range tiles {
		r, t := g.rows(m), g.tokens(m)
		if (rows+r-1)/r*((tokens+t-1)/t)*g.tall*g.wide*m.subgroup >= appetite {
			break
		}
	}
	return g
}

// matrixProduct multiplies by one weight, to columns of y from first.
func (b *binder) matrixProduct(x, y tensor.Value, w *weight, bias uint64, first, rows int, swiglu bool) {
	m, l, tokens, row := b.d.matrix, w.layout, b.capacity(x), int64(2*w.spec.Cols)
	values, _ := b.rounded(x, asHalves)
	var to uint64
	if b.plan.rounding.made[y] == asHalves {
		to = b.roundedTo(y)[0]
	}
	groups := l.padded / groupChunks
	segment := (groups + mostSegments - 1) / mostSegments
	g := m.geometry(tokens, rows, (groups+segment-1)/segment, b.d.physical.appetite(), !b.d.physical.software(), swiglu)
	each := b.reach(row)
	if g.flags&matrixSplit != 0 && each < m.reach(tokens) {
		b.fail("vulkan: %s of %d columns: %w on this device, whose bindings reach %d bytes", w.spec.Name, w.spec.Cols, tensor.ErrUnsupported,
			b.d.physical.max_storage_range)
		return
	}
	take := b.take(w, rows, swiglu)
	if take > 0 && rows%take > 0 && rows%take < m.m {
		take -= 16 * panelRows // so that the last piece has a tile
	}
	for p := range pieces(w, tokens, each, rows, take, swiglu) {
		at := values + row*int64(p.token)
		skip := at % alignment
		read := p.tokens
		if g.flags&matrixSplit != 0 {
			read = m.reach(tokens) // tiles are read whole
		}
		in := window{b.scratch, at - skip, row*int64(read) + skip}
		b.launch(kernel{"matrix", g.constants(m)}, [3]int{(p.rows + g.rows(m) - 1) / g.rows(m), (p.tokens + g.tokens(m) - 1) / g.tokens(m), 1},
			new(push).address(b.floats(y), biasAt(bias, first+p.row), b.count(x), to).
				u32(b.live(x), p.token, b.graph.ColsOf(y), first+p.row, p.rows, l.chunks, l.padded, int(skip/unitBytes), segment).
				f32(float32(math.Ldexp(1/halfScale, -w.exponent))),
			append(w.windows(p.row, p.span), in)...)
	}
}
