//go:build cgo && (linux || windows)

package vulkan

import "github.com/ullm/ullm/tensor"

// A submission must not keep the device longer than half a second: systems take a device that does not answer for two
// seconds for hung. How fast a device is, is not known when its programs are compiled; these are products a second that
// even a slow one of its kind should do with these kernels.
var leastProducts = []float64{2e9, 20e9, 200e9, 20e9, 1e9} // by VkPhysicalDeviceType: other, integrated, discrete, virtual, software

const longest = 0.5 // seconds

// cut says after which launches a submission ends: each alone when eager, else where their work would take too long.
func (b *binder) cut(eager bool) (ends []int) {
	limit := leastProducts[min(b.d.physical._type, 4)] * longest
	work := 0.0
	for i := range b.launches {
		w := b.work(i)
		if i > 0 && (eager || work+w > limit) {
			ends = append(ends, i)
			work = 0
		}
		work += w
	}
	return append(ends, len(b.launches))
}

// work estimates a launch's products, at capacity and half the context.
func (b *binder) work(i int) float64 {
	g := b.graph
	n := &g.Nodes[b.launches[i].node]
	rows := func() float64 { return float64(g.RowsOf(n.Out[0]).Cap) }
	switch n.Op {
	case tensor.OpLinear: // all its weights together, for each of their launches: too much rather than too little
		return rows() * float64(g.ColsOf(n.In[0])) * float64(g.ColsOf(n.Out[0]))
	case tensor.OpLinearSwiGLU:
		return 2 * rows() * float64(g.ColsOf(n.In[0])) * float64(g.ColsOf(n.Out[0]))
	case tensor.OpAttention:
		return rows() * float64(g.ColsOf(n.Out[0])) * float64(g.StateOf(n.In[4]).Slots.MaxPages*tensor.PageTokens)
	case tensor.OpSample:
		return 50 * rows() * float64(g.ColsOf(n.In[0]))
	}
	return 0
}
