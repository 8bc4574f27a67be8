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

// dot is the sum of products of float32 values, which float64 holds exactly. It is four sums, of every fourth product,
// because each addition of a single one would wait for the one before.
func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4; a, b = a[4:], b[4:] {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
	}
	for i, v := range a {
		s0 += float64(v) * float64(b[i])
	}
	return s0 + s1 + s2 + s3
}
