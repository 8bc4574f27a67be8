package ref

import (
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

func (b *binder) attention(n *tensor.Node) launch {
	a := n.Attr.(tensor.HeadAttr)
	q, tokens := b.operand(n.In[0]), b.operand(n.In[1])
	keys, values, sl := b.cache(n.In[2]), b.cache(n.In[3]), b.slots(n.In[4])
	o := b.operand(n.Out[0])
	return func(r *run) error {
		table := tokens.ints(r)
		bySlot := map[int32][]int{} // tokens of each sequence
		for t := range tokens.count(r) {
			slot := table[t*tensor.TokenColumns+tensor.TokenSlot]
			if err := sl.check(slot); err != nil {
				return err
			}
			bySlot[slot] = append(bySlot[slot], t)
		}
		position := func(t int) int { return int(table[t*tensor.TokenColumns+tensor.TokenPosition]) }
		for slot, members := range bySlot {
			length := 0
			for _, t := range members {
				length = max(length, position(t)+1)
			}
			if length > sl.spec.MaxPages*tensor.PageTokens {
				return fmt.Errorf("slot %d: position %d, its page table covers %d", slot, length-1, sl.spec.MaxPages*tensor.PageTokens)
			}
			for kvHead := range a.KVHeads {
				k, err := keys.load(sl, slot, kvHead, length)
				if err != nil {
					return err
				}
				v, err := values.load(sl, slot, kvHead, length)
				if err != nil {
					return err
				}
				group := a.QueryHeads / a.KVHeads
				for _, t := range members {
					for h := kvHead * group; h < (kvHead+1)*group; h++ {
						at := t*q.cols + h*a.HeadDim
						attend(o.floats(r)[at:][:a.HeadDim], q.floats(r)[at:][:a.HeadDim], k, v, position(t), a.Scale)
					}
				}
			}
		}
		return nil
	}
}

// attend is one query head's attention over positions 0 … last, whose keys and values lie one after the other.
func attend(dst, q, k, v []float32, last int, scale float32) {
	dim := len(q)
	peak, total, acc := math.Inf(-1), 0.0, make([]float64, dim)
	scores := make([]float64, tensor.AttentionChunk)
	for first := 0; first <= last; first += tensor.AttentionChunk {
		scores = scores[:min(tensor.AttentionChunk, last+1-first)]
		chunkPeak := math.Inf(-1)
		for j := range scores {
			scores[j] = dot(q, k[(first+j)*dim:]) * float64(scale)
			chunkPeak = max(chunkPeak, scores[j])
		}
		chunkTotal, chunkAcc := 0.0, make([]float64, dim)
		for j, s := range scores {
			e := math.Exp(s - chunkPeak)
			chunkTotal += e
			for i, x := range v[(first+j)*dim:][:dim] {
				chunkAcc[i] += e * float64(x)
			}
		}
		both := max(peak, chunkPeak)
		old, now := math.Exp(peak-both), math.Exp(chunkPeak-both)
		total = total*old + chunkTotal*now
		for i := range acc {
			acc[i] = acc[i]*old + chunkAcc[i]*now
		}
		peak = both
	}
	for i := range dst {
		dst[i] = float32(acc[i] / total)
	}
}

// cache is a KV state: [page][KV head][token][dim], of Q8_0 the integers first and then the scales.
type cache struct {
	mem  []byte
	spec tensor.KVSpec
}

// row is the index of a cell's row among all rows of the cache.
func (c *cache) row(cell, head int) int {
	return (cell/tensor.PageTokens*c.spec.KVHeads+head)*tensor.PageTokens + cell%tensor.PageTokens
}

// Sizes in bytes of a Q8_0 block in a weight: scale, then integers.
const (
	q8Values = 32
	q8Scale  = 2
	q8Block  = q8Scale + q8Values
)

// store rounds x to the cache's format.
func (c *cache) store(cell, head int, x []float32) {
	at, n := c.row(cell, head), c.spec.Format.RowBytes(len(x))
	if c.spec.Format != tensor.Q8_0 {
		quant.Encode(c.spec.Format, c.mem[at*n:(at+1)*n], x)
		return
	}
	blocks := make([]byte, n)
	quant.Encode(tensor.Q8_0, blocks, x)
	for i := range len(x) / q8Values {
		block := blocks[i*q8Block:][:q8Block]
		scale, integers := c.q8(at*len(x)/q8Values + i)
		copy(scale, block[:q8Scale])
		copy(integers, block[q8Scale:])
	}
}

// q8 is where block i of a Q8_0 cache lies.
func (c *cache) q8(i int) (scale, integers []byte) {
	return c.mem[c.spec.Values()+i*q8Scale:][:q8Scale], c.mem[i*q8Values:][:q8Values]
}

// load decodes one head's rows of a sequence's first n positions.
func (c *cache) load(sl *slots, slot int32, head, n int) ([]float32, error) {
	dim := c.spec.HeadDim
	out := make([]float32, n*dim)
	bytes := c.spec.Format.RowBytes(dim)
	blocks := make([]byte, bytes)
	for position := range n {
		page := sl.page(slot, position/tensor.PageTokens)
		if page < 0 || int(page) >= c.spec.Pages {
			return nil, fmt.Errorf("slot %d: position %d is on page %d of %d", slot, position, page, c.spec.Pages)
		}
		at := c.row(int(page)*tensor.PageTokens+position%tensor.PageTokens, head)
		row := out[position*dim:][:dim]
		if c.spec.Format != tensor.Q8_0 {
			quant.Decode(c.spec.Format, row, c.mem[at*bytes:(at+1)*bytes])
			continue
		}
		for i := range dim / q8Values {
			scale, integers := c.q8(at*dim/q8Values + i)
			copy(blocks[i*q8Block:], scale)
			copy(blocks[i*q8Block+q8Scale:], integers)
		}
		quant.Decode(tensor.Q8_0, row, blocks)
	}
	return out, nil
}
