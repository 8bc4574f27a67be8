package ref

import "github.com/ullm/ullm/tensor"

func (b *binder) linear(n *tensor.Node) launch {
	x, bias, y := b.operand(n.In[0]), b.vector(n.In[1]), b.operand(n.Out[0])
	var ws []*weight
	for _, v := range n.In[2:] {
		ws = append(ws, b.weight(v))
	}
	return func(r *run) error {
		in, out, first := x.floats(r), y.floats(r), 0
		row := make([]float32, x.cols)
		for _, w := range ws {
			for o := range w.spec.Rows() {
				w.row(row, o)
				for t := range x.count(r) {
					sum := dot(in[t*x.cols:][:x.cols], row)
					if bias != nil {
						sum += float64(bias[first+o])
					}
					out[t*y.cols+first+o] = float32(sum)
				}
			}
			first += w.spec.Rows()
		}
		return nil
	}
}

func (b *binder) linearSwiGLU(n *tensor.Node) launch {
	x, w, y := b.operand(n.In[0]), b.weight(n.In[1]), b.operand(n.Out[0])
	return func(r *run) error {
		in, out := x.floats(r), y.floats(r)
		gate, up := make([]float32, x.cols), make([]float32, x.cols)
		for o := range y.cols {
			w.row(gate, o)
			w.row(up, y.cols+o)
			for t := range x.count(r) {
				row := in[t*x.cols:][:x.cols]
				out[t*y.cols+o] = float32(silu(dot(row, gate)) * dot(row, up))
			}
		}
		return nil
	}
}

// dot is the sum of products of float32 values, which float64 holds exactly, in float64 from left to right.
func dot(a, b []float32) float64 {
	b = b[:len(a)]
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
