//go:build cgo && (linux || windows)

package ullm_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/internal/vkfaults"
	"github.com/ullm/ullm/tensor"
)

// TestVulkanLost loses the device under a running engine, at one call or another: running requests end with an error that
// says so, new ones are refused with it, closing does not wait for what will never come, and the validation layers find
// nothing that was destroyed too early or never.
func TestVulkanLost(t *testing.T) {
	layer := vkfaults.Build(t)
	layer.Enter(t)
	for _, n := range []int{1, 2, 3, 8, 21} {
		layer.Fail(0, vkfaults.DeviceLost)
		e, err := ullm.Open(t.Context(), talk, ullm.With(ullm.Options{ContextLen: 256, MaxBatchTokens: 16, MaxBatchSeqs: 4}),
			onVulkan(t, vulkan.Options{Validate: true}))
		if err != nil {
			t.Fatal(err)
		}
		layer.Fail(n, vkfaults.DeviceLost)
		var running []*ullm.Generation
		for i := range 3 {
			g, err := e.Start(t.Context(), ullm.Request{Prompt: "Once upon a time", MaxTokens: 100, IgnoreEOS: true, Seed: ptr(uint64(i))})
			if err == nil {
				running = append(running, g)
			} else if !errors.Is(err, tensor.ErrDeviceLost) { // it may have ended already
				t.Errorf("call %d loses the device: start: %v", n, err)
			}
		}
		for _, g := range running {
			var err error
			for err == nil {
				_, err = g.Next(t.Context())
			}
			if !errors.Is(err, tensor.ErrDeviceLost) {
				t.Errorf("call %d loses the device: a request ended with %v", n, err)
			}
			g.Close()
		}
		<-e.Done()
		if err := e.Err(); !errors.Is(err, tensor.ErrDeviceLost) {
			t.Errorf("call %d loses the device: the engine ended with %v", n, err)
		}
		if _, err := e.Start(t.Context(), ullm.Request{Prompt: "x"}); !errors.Is(err, tensor.ErrDeviceLost) {
			t.Errorf("call %d loses the device: a request afterwards: %v", n, err)
		}
		// What Shutdown answers is the loop's error and nothing else: no complaint of the layers, no leak.
		if err := e.Shutdown(context.Background()); !errors.Is(err, tensor.ErrDeviceLost) || err.Error() != e.Err().Error() {
			t.Errorf("call %d loses the device: shutdown: %v", n, err)
		}
		if r := e.Freed(); !r.Lost || r.Leaked != (tensor.Count{}) {
			t.Errorf("call %d loses the device: %+v", n, r)
		}
		if layer.Hit() == "" {
			t.Errorf("there was no call %d", n)
		}
	}
}
