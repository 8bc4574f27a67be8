package cpu

import (
	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/backends/internal/lifetime"
)

// device runs its programs on one goroutine, in the order in which they were started; that goroutine is also the first
// of the pool's threads.
type device struct {
	lifetime.Device
	options               Options
	kernels               *simd.Kernels
	pool                  *pool
	memoryAll, memoryFree int64
}

func (d *device) Close() error {
	return d.Shut(func() error {
		d.pool.close()
		return nil
	})
}
