package cpu

import (
	"runtime"
	"slices"
)

// node is a memory node, such as a socket: a number of the operating system's, and the processors beside it that we may use.
type node struct {
	id         int
	processors []int
}

// placement says at which memory node each of a pool's threads stays, and puts memory there: a thread reads the weights of
// its own pieces from its own node. A nil placement is that of a machine with one node, where nothing is to be placed.
type placement struct {
	nodes  []node
	thread []int // its node's place in nodes
}

// newPlacement spreads the threads over the nodes as the processors are: neighbours share a node.
func newPlacement(nodes []node, threads int) *placement {
	if len(nodes) < 2 {
		return nil
	}
	var of []int
	for i, n := range nodes {
		of = append(of, slices.Repeat([]int{i}, len(n.processors))...)
	}
	p := &placement{nodes: nodes}
	for i := range threads {
		p.thread = append(p.thread, of[i*len(of)/threads])
	}
	return p
}

// order is how thread t goes through all threads' pieces: its own, those of its node, the others'.
func (p *placement) order(t, threads int) []int {
	var near, far []int
	for i := range threads {
		u := (t + i) % threads
		if p == nil || p.thread[u] == p.thread[t] {
			near = append(near, u)
		} else {
			far = append(far, u)
		}
	}
	return append(near, far...)
}

// stay keeps the calling goroutine, which is thread t, on the processors of its node.
func (p *placement) stay(t int) {
	if p != nil {
		runtime.LockOSThread() // for good: the system's thread ends with the goroutine
		bind(p.nodes[p.thread[t]].processors)
	}
}

// share is a part of n units that lie one after the other, from lo up to hi, and the node of the threads whose pieces they are.
type share struct{ lo, hi, node int }

// shares divides n units as pool.do does.
func (p *placement) shares(n int) (list []share) {
	for t, at := range p.thread {
		lo, hi := n*t/len(p.thread), n*(t+1)/len(p.thread)
		if t > 0 && p.thread[t-1] == at {
			list[len(list)-1].hi = hi
		} else {
			list = append(list, share{lo, hi, p.nodes[at].id})
		}
	}
	return list
}

// place puts b, n units in the order of the threads' pieces that nobody has touched yet, where they will be read.
func (p *placement) place(b []byte, n int) {
	if p == nil {
		return
	}
	for _, s := range p.shares(n) {
		prefer(b[len(b)/n*s.lo:len(b)/n*s.hi], s.node)
	}
}

// spread puts b, which every thread may read, on all nodes in turn.
func (p *placement) spread(b []byte) {
	if p != nil {
		interleave(b, p.nodes)
	}
}
