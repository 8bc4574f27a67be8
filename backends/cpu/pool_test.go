package cpu

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
)

// TestPool: every piece is computed exactly once, whether the threads spin or sleep when the job comes.
func TestPool(t *testing.T) {
	kernels, err := simd.For(simd.Best())
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 2, 3, 9} {
		p := newPool(kernels, threads, nil)
		r := rand.New(rand.NewPCG(1, uint64(threads)))
		for turn := range 400 {
			n, grain := r.IntN(50), 1+r.IntN(4)
			counts := make([]atomic.Int32, n)
			p.do(&run{}, n, grain, func(th *thread, _ *run, lo, hi int) {
				if th != p.threads[th.index] || hi-lo > grain && n > grain && threads > 1 {
					t.Errorf("pieces %d to %d of %d on thread %d", lo, hi, n, th.index)
				}
				for i := lo; i < hi; i++ {
					counts[i].Add(1)
				}
			})
			for i := range counts {
				if c := counts[i].Load(); c != 1 {
					t.Fatalf("%d threads: piece %d of %d was computed %d times", threads, i, n, c)
				}
			}
			if turn%100 == 0 {
				time.Sleep(2 * time.Millisecond) // long enough to park
			}
		}
		p.close()
	}
}
