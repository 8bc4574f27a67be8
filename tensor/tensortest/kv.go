package tensortest

import (
	"encoding/binary"

	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/quant"
)

// kvData is the content of a KV state in ref's layout, seen as rows of one head at one cell.
type kvData struct {
	spec tensor.KVSpec
	data []byte
}

// newKV is a cache that is NaN everywhere, so that whatever reads a cell that was not written shows.
func newKV(spec tensor.KVSpec) *kvData {
	k := &kvData{spec, make([]byte, spec.Bytes())}
	for i := range k.data {
		k.data[i] = 0xff // NaN in every float format; a NaN scale in Q8_0
	}
	return k
}

func (k *kvData) state(name string) StateInit {
	return StateInit{tensor.StateSpec{Name: name, KV: &k.spec}, k.data}
}

// of is another content of the same cache.
func (k *kvData) of(export []byte) *kvData { return &kvData{k.spec, export} }

func (k *kvData) row(cell, head int) int {
	return (cell/tensor.PageTokens*k.spec.KVHeads+head)*tensor.PageTokens + cell%tensor.PageTokens
}

func (k *kvData) rows() int { return k.spec.Pages * k.spec.KVHeads * tensor.PageTokens }

// pieces are the bytes of row i: values and, for Q8_0, scales.
func (k *kvData) pieces(i int) (values, scales []byte) {
	dim := k.spec.HeadDim
	if k.spec.Format != tensor.Q8_0 {
		n := k.spec.Format.RowBytes(dim)
		return k.data[i*n : (i+1)*n], nil
	}
	n := dim / 32 * 2
	return k.data[i*dim : (i+1)*dim], k.data[k.spec.Values()+i*n:][:n]
}

// set rounds x to row i.
func (k *kvData) set(i int, x []float32) {
	values, scales := k.pieces(i)
	if scales == nil {
		quant.Encode(k.spec.Format, values, x)
		return
	}
	blocks := make([]byte, tensor.Q8_0.RowBytes(len(x)))
	quant.Encode(tensor.Q8_0, blocks, x)
	for b := range len(x) / 32 {
		copy(scales[2*b:2*b+2], blocks[34*b:])
		copy(values[32*b:32*b+32], blocks[34*b+2:])
	}
}

// get decodes row i.
func (k *kvData) get(i int) []float32 {
	x := make([]float32, k.spec.HeadDim)
	values, scales := k.pieces(i)
	if scales == nil {
		quant.Decode(k.spec.Format, x, values)
		return x
	}
	for d := range x {
		x[d] = float32(int8(values[d])) * quant.F16ToF32(binary.LittleEndian.Uint16(scales[d/32*2:]))
	}
	return x
}

// written decodes the rows in order.
func (k *kvData) written(rows []int) []float32 {
	var x []float32
	for _, i := range rows {
		x = append(x, k.get(i)...)
	}
	return x
}

// rest is the content with the rows cleared: what an operation that writes only these must leave as it was.
func (k *kvData) rest(rows []int) []byte {
	c := k.of(append([]byte(nil), k.data...))
	for _, i := range rows {
		values, scales := c.pieces(i)
		clear(values)
		clear(scales)
	}
	return c.data
}
