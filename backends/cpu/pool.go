package cpu

import (
	"sync"
	"sync/atomic"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
)

// pool is a fixed set of threads that share out the pieces of an operation. The caller is one of them. Every thread has a
// range of pieces of its own, always the same for the same count, so that it meets the memory it touched before; whoever
// has finished takes pieces from the others. No result depends on who computed it.
type pool struct {
	kernels   *simd.Kernels
	placement *placement
	threads   []*thread
	ended     sync.WaitGroup

	job     job
	turn    atomic.Uint32 // one more for each job
	working atomic.Int32  // threads besides the caller that have not finished the job
	closed  atomic.Bool
}

// job is one operation shared out.
type job struct {
	run   *run
	body  body
	grain int
}

// body computes pieces lo up to hi of an operation on a thread.
type body func(t *thread, r *run, lo, hi int)

// thread is one of the pool's threads and what it alone uses.
type thread struct {
	index int
	order []int // whose pieces it computes: its own, then the others'
	simd  simd.Scratch
	local []byte // the thread's part of the arena while a program runs

	// next is the piece to be taken next from the thread's range, end the range's end. Others take from it too.
	next atomic.Int64
	end  int
	_    [64]byte // keeps the counters of two threads off one cache line

	parked atomic.Bool
	wake   chan struct{}
}

// Waiting: a thread looks again and again, with a few processor pauses between looks, and after every 50 µs or so lets
// whoever else needs the processor have it. It parks after a millisecond: to be woken takes it longer than an operation,
// which others have done without it by then, so that it would wait again, and park at every operation.
const (
	pauses = 10
	spins  = 100        // looks until it yields
	looks  = 20 * spins // until it parks
)

func newPool(k *simd.Kernels, threads int, nodes []node) *pool {
	p := &pool{kernels: k, placement: newPlacement(nodes, threads)}
	for i := range threads {
		p.threads = append(p.threads, &thread{index: i, order: p.placement.order(i, threads), wake: make(chan struct{}, 1)})
	}
	for _, t := range p.threads[1:] {
		p.ended.Add(1)
		go p.serve(t)
	}
	return p
}

// close ends the threads and waits for them. No job may be running.
func (p *pool) close() {
	p.closed.Store(true)
	p.announce()
	p.ended.Wait()
}

// do computes pieces 0 up to n, grain at a time, and returns when all are done. What fits in one grain runs on the caller
// alone.
func (p *pool) do(r *run, n, grain int, f body) {
	if n <= 0 {
		return
	}
	if n <= grain || len(p.threads) == 1 {
		f(p.threads[0], r, 0, n)
		return
	}
	p.job = job{r, f, grain}
	count := len(p.threads)
	for i, t := range p.threads {
		t.next.Store(int64(n * i / count))
		t.end = n * (i + 1) / count
	}
	p.working.Store(int32(count - 1))
	p.announce()
	p.share(p.threads[0])
	for i := 0; p.working.Load() != 0; i++ {
		p.linger(i)
	}
	p.job = job{}
}

// linger passes the time between a waiting thread's look i and the next.
func (p *pool) linger(i int) {
	p.kernels.Pause(pauses)
	if i%spins == spins-1 {
		yield()
	}
}

// announce begins a new turn and wakes whoever sleeps.
func (p *pool) announce() {
	p.turn.Add(1)
	for _, t := range p.threads[1:] {
		if t.parked.CompareAndSwap(true, false) {
			t.wake <- struct{}{}
		}
	}
}

// share works through the thread's own range and then through the others'.
func (p *pool) share(t *thread) {
	j := p.job
	for _, i := range t.order {
		from := p.threads[i]
		for {
			lo := int(from.next.Add(int64(j.grain))) - j.grain
			if lo >= from.end {
				break
			}
			j.body(t, j.run, lo, min(lo+j.grain, from.end))
		}
	}
}

// serve is a thread's life.
func (p *pool) serve(t *thread) {
	defer p.ended.Done()
	p.placement.stay(t.index)
	for seen := uint32(0); ; {
		for i := 0; p.turn.Load() == seen; i++ {
			if i < looks {
				p.linger(i)
				continue
			}
			t.parked.Store(true)
			// The turn may have come between the last look and parking. Whoever takes the mark back decides.
			if p.turn.Load() != seen && t.parked.CompareAndSwap(true, false) {
				break
			}
			<-t.wake
		}
		seen++
		if p.closed.Load() {
			return
		}
		p.share(t)
		p.working.Add(-1)
	}
}
