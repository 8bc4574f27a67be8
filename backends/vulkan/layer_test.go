//go:build cgo && (linux || windows)

package vulkan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/internal/vkfaults"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
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

// TestEagerNamesTheLaunch loses the device under a program that was compiled to be debugged: the error names the launch that
// was at work, since each is awaited before the next is submitted.
func TestEagerNamesTheLaunch(t *testing.T) {
	layer := vkfaults.Build(t)
	layer.Enter(t)
	d := open(t, vulkan.Options{})
	m := tensortest.SmallModel("small", tensor.F16, tensortest.One(tensor.Q8_0))
	limits := tensor.ForwardLimits{Tokens: 8, Seqs: 1, Rows: 1, Pages: 1, Params: 1, History: 1, Bias: 1}
	r, err := tensortest.NewRig(d, m.Setup(), false)
	if err != nil {
		t.Fatal(err)
	}
	weights := map[string]tensor.Weight{}
	for _, w := range m.Setup().Weights {
		if weights[w.Spec.Name], err = d.Upload(t.Context(), w.Spec, w); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := d.Plan(m.Forward(limits))
	if err != nil {
		t.Fatal(err)
	}
	a, err := d.NewArena(plan.Scratch())
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Compile(plan, tensor.Bindings{Weights: weights, States: r.States, Arena: a, Eager: true})
	if err != nil {
		t.Fatal(err)
	}
	// A launch is two calls, vkQueueSubmit and vkWaitForFences; Prepare is launch 0, Embed 1.
	layer.Fail(4, vkfaults.DeviceLost)
	if _, err := p.Start(make([]byte, limits.Bytes())); !errors.Is(err, tensor.ErrDeviceLost) || !strings.Contains(err.Error(), "launch 1, Embed") {
		t.Errorf("have %v", err)
	}
	if err := errors.Join(p.Close(), a.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	for _, w := range weights {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
