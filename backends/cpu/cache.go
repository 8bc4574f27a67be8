package cpu

import (
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// cache is one layer's keys or values, in tiles: one page of one KV head, 16 tokens.
//
// Values lie token by token, so that weighting them with probabilities adds rows. Keys lie transposed, [dim][token], so
// that a query's products with 16 keys fill the lanes of one vector. Both are panels in package simd's sense, with
// k the token for values and the dimension for keys. A row of values is padded to whole panels.
//
// Of Q8_0 a tile has its int8 first and then f16 scales: [token][dim/32] for values, [dim/32][token] for keys.
//
// What a cache holds is known when it is first bound to a graph; until then it is laid out as values.
type cache struct {
	mem     []byte
	spec    tensor.KVSpec
	element int // bytes of one value
	width   int // values of a row, padded
	scales  int // offset of a tile's scales
	tile    int // bytes of a tile
	keys    bool
	bound   bool
	touched bool // may hold something other than zeros
}

const tokens = tensor.PageTokens

func newCache(s tensor.KVSpec) *cache {
	c := &cache{spec: s, element: s.Format.BlockBytes(), width: s.HeadDim}
	if s.Format == tensor.Q8_0 {
		c.element = 1
		c.scales = tokens * s.HeadDim
		c.tile = aligned(c.scales + tokens*s.HeadDim/simd.Q8Values*2)
		return c
	}
	c.width = panelsOf(s.HeadDim) * simd.PanelRows
	c.tile = aligned(tokens * c.width * c.element)
	return c
}

func (c *cache) bytes() int { return c.spec.Pages * c.spec.KVHeads * c.tile }

// at is the offset of a tile.
func (c *cache) at(page, head int) int { return (page*c.spec.KVHeads + head) * c.tile }

// bind makes the cache one of keys or of values.
func (c *cache) bind(keys bool) error {
	if c.bound {
		if c.keys != keys {
			return fmt.Errorf("one state holds both keys and values")
		}
		return nil
	}
	if keys && c.touched {
		row := make([]byte, c.spec.Format.RowBytes(c.spec.HeadDim))
		buffer := make([]byte, tokens*len(row))
		for i := range c.spec.Pages * c.spec.KVHeads {
			for t := range tokens {
				c.get(i*c.tile, t, buffer[t*len(row):][:len(row)])
			}
			c.keys = true
			for t := range tokens {
				c.put(i*c.tile, t, buffer[t*len(row):][:len(row)])
			}
			c.keys = false
		}
	}
	c.keys, c.bound = keys, true
	return nil
}

// put writes one token's stored row (Q8_0: as blocks) into a tile, get reads it.
func (c *cache) put(tile, token int, row []byte) { c.move(tile, token, row, true) }
func (c *cache) get(tile, token int, row []byte) { c.move(tile, token, row, false) }

func (c *cache) move(tile, token int, row []byte, in bool) {
	swap := func(at int, outside []byte) {
		if inside := c.mem[tile+at:][:len(outside)]; in {
			copy(inside, outside)
		} else {
			copy(outside, inside)
		}
	}
	e := c.element
	for d := range c.spec.HeadDim {
		from := row[d*e:][:e:e]
		if c.spec.Format == tensor.Q8_0 {
			from = row[d/simd.Q8Values*(2+simd.Q8Values)+2+d%simd.Q8Values:][:1:1]
		}
		if c.keys {
			swap((d*tokens+token)*e, from)
		} else {
			swap((token*c.width+d)*e, from)
		}
	}
	if c.spec.Format != tensor.Q8_0 {
		return
	}
	blocks := c.spec.HeadDim / simd.Q8Values
	for b := range blocks {
		from := row[b*(2+simd.Q8Values):][:2:2]
		if c.keys {
			swap(c.scales+(b*tokens+token)*2, from)
		} else {
			swap(c.scales+(token*blocks+b)*2, from)
		}
	}
}

// store rounds x to the cache's format and puts it at a cell: page · 16 + token.
func (c *cache) store(k *simd.Kernels, buffer []byte, cell, head int, x []float32) {
	tile, token := c.at(cell/tokens, head), cell%tokens
	switch f := c.spec.Format; f {
	case tensor.F16, tensor.BF16:
		b := view[uint16](buffer, 0, len(x))
		if f == tensor.F16 {
			k.ToF16(b, x)
		} else {
			k.ToBF16(b, x)
		}
		if !c.keys {
			copy(view[uint16](c.mem, tile+token*c.width*2, len(x)), b)
			return
		}
		k.StoreColumn(view[uint16](c.mem, tile, tokens*len(x))[token:], b)
	case tensor.F32:
		if !c.keys {
			copy(view[float32](c.mem, tile+token*c.width*4, len(x)), x)
			return
		}
		lane := view[float32](c.mem, tile, tokens*len(x))[token:]
		for d, v := range x {
			lane[d*tokens] = v
		}
	default:
		row := buffer[:f.RowBytes(len(x))]
		quant.Encode(f, row, x)
		c.put(tile, token, row)
	}
}

// ask asks for part i of n of a cell's page, all heads: storing a key writes to each of its lines, which takes longer to
// come than to write.
func (c *cache) ask(k *simd.Kernels, cell, i, n int) {
	size := c.spec.KVHeads * c.tile
	k.Prefetch(c.mem[c.at(cell/tokens, 0):][size*i/n : size*(i+1)/n])
}

// pages describes the cache to kernels; the caller lists pages.
func (c *cache) pages() simd.Pages {
	p := simd.Pages{Format: simd.CacheF32, Dim: c.spec.HeadDim, Width: c.width, Scales: c.scales}
	switch c.spec.Format {
	case tensor.F16:
		p.Format = simd.CacheF16
	case tensor.BF16:
		p.Format = simd.CacheBF16
	case tensor.Q8_0:
		p.Format = simd.CacheQ8
	}
	return p
}

// list writes where one head's tiles of some pages lie.
func (c *cache) list(to []unsafe.Pointer, pages []int32, head int) {
	for i, p := range pages {
		to[i] = unsafe.Pointer(&c.mem[c.at(int(p), head)])
	}
}

// export writes the cache in ref's layout: [page][KV head][token][dim], of Q8_0 all integers and then all scales.
func (c *cache) export(w io.Writer) error {
	row := make([]byte, c.spec.Format.RowBytes(c.spec.HeadDim))
	out := make([]byte, 0, 1<<16)
	flush := func(limit int) error {
		if len(out) <= limit {
			return nil
		}
		_, err := w.Write(out)
		out = out[:0]
		return err
	}
	for _, scales := range c.planes() {
		for i := range c.spec.Pages * c.spec.KVHeads * tokens {
			c.get(i/tokens*c.tile, i%tokens, row)
			out = c.appendPlane(out, row, scales)
			if err := flush(1<<16 - len(row)); err != nil {
				return err
			}
		}
	}
	return flush(0)
}

// planes are the passes over a cache that export makes: of Q8_0 one for the integers and one for the scales.
func (c *cache) planes() []bool {
	if c.spec.Format == tensor.Q8_0 {
		return []bool{false, true}
	}
	return []bool{false}
}

func (c *cache) appendPlane(out, row []byte, scales bool) []byte {
	if c.spec.Format != tensor.Q8_0 {
		return append(out, row...)
	}
	for b := 0; b < len(row); b += 2 + simd.Q8Values {
		if scales {
			out = append(out, row[b:b+2]...)
		} else {
			out = append(out, row[b+2:b+2+simd.Q8Values]...)
		}
	}
	return out
}

// load reads what export wrote.
func (c *cache) load(r io.Reader) error {
	c.touched = true
	row := make([]byte, c.spec.Format.RowBytes(c.spec.HeadDim))
	rows := c.spec.Pages * c.spec.KVHeads * tokens
	if c.spec.Format != tensor.Q8_0 {
		for i := range rows {
			if _, err := io.ReadFull(r, row); err != nil {
				return err
			}
			c.put(i/tokens*c.tile, i%tokens, row)
		}
		return nil
	}
	// The integers of all rows come before the first scale: keep them in place, then add the scales row by row.
	buffer := make([]byte, c.spec.HeadDim)
	for _, scales := range c.planes() {
		piece := buffer
		if scales {
			piece = buffer[:c.spec.HeadDim/simd.Q8Values*2]
		}
		for i := range rows {
			if _, err := io.ReadFull(r, piece); err != nil {
				return err
			}
			c.get(i/tokens*c.tile, i%tokens, row)
			for b := range c.spec.HeadDim / simd.Q8Values {
				block := row[b*(2+simd.Q8Values):]
				if scales {
					binary.LittleEndian.PutUint16(block, binary.LittleEndian.Uint16(piece[2*b:]))
				} else {
					copy(block[2:2+simd.Q8Values], piece[b*simd.Q8Values:])
				}
			}
			c.put(i/tokens*c.tile, i%tokens, row)
		}
	}
	return nil
}
