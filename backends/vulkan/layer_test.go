//go:build cgo && (linux || windows)

package vulkan_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/internal/vkfaults"
	"github.com/ullm/ullm/tensor"
)

// life opens a device under the validation layers, runs something with all that a device is asked for, and closes it.
// failed is what went wrong before Close, closed what Close says.
func life(t *testing.T, staged bool) (failed, closed error, s tensor.Stats) {
	t.Helper()
	o := vulkan.Options{Validate: true, Staged: staged, CacheDir: t.TempDir()}
	if staged {
		o.Profile = func(tensor.Run) {}
	}
	d, err := vulkan.Open(o)
	if errors.Is(err, vulkan.ErrNoVulkan) || errors.Is(err, vulkan.ErrNoLayers) {
		t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers, vulkan-validationlayers)", err)
	}
	if err != nil {
		return err, nil, s
	}
	_, failed = run(d, 32, 64)
	if failed == nil {
		var state tensor.State
		if state, failed = d.NewState(tensor.StateSpec{Name: "rows", Rows: &tensor.RowSpec{Rows: 4, Cols: 32}}); failed == nil {
			failed = errors.Join(state.Import(zeros{}), state.Close())
		}
	}
	closed = d.Close()
	return failed, closed, d.Stats()
}

// zeros reads as zeros for ever.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// forgiven are the functions whose failure need not be an error: the cache is not kept, a device that cannot be waited for
// is closed all the same, who waits in vain waits again, and a smaller block may do.
var forgiven = []string{"vkGetPipelineCacheData", "vkDeviceWaitIdle", "vkWaitForFences", "vkCreateBuffer", "vkAllocateMemory", "vkBindBufferMemory", "vkMapMemory"}

// TestEveryCallFails fails every call of a device's life in turn, in the real API: each time there is an error that says
// what kind it is, nothing leaks, and the validation layers find nothing to complain of.
func TestEveryCallFails(t *testing.T) {
	layer := vkfaults.Build(t)
	layer.Enter(t)
	for _, staged := range []bool{false, true} {
		for result, want := range map[int32]error{vkfaults.OutOfDeviceMemory: tensor.ErrOutOfMemory, vkfaults.DeviceLost: tensor.ErrDeviceLost} {
			for n := 1; ; n++ {
				layer.Fail(n, result)
				failed, closed, stats := life(t, staged)
				hit := layer.Hit()
				if hit == "" {
					if failed != nil || closed != nil {
						t.Errorf("no call failed, and yet: %v; closing: %v", failed, closed)
					}
					if calls := layer.Calls(); calls != n-1 || n < 4 {
						t.Errorf("%d calls can fail, and %d did", calls, n-1)
					}
					break
				}
				if !errors.Is(failed, want) && (failed != nil || !slices.Contains(forgiven, hit)) {
					t.Errorf("call %d, %s, failed: want %v, have %v", n, hit, want, failed)
				}
				if closed != nil {
					t.Errorf("call %d, %s, failed (%v): closing: %v", n, hit, failed, closed)
				}
				if lost := want == tensor.ErrDeviceLost && failed != nil; stats.Total() != (tensor.Count{}) || stats.Lost != lost {
					t.Errorf("call %d, %s, failed (%v): the ledger says lost: %t, and holds %s", n, hit, failed, stats.Lost, stats)
				}
				if t.Failed() && n > 3 {
					break
				}
			}
		}
	}
}
