//go:build cgo && (linux || windows)

package ullm_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
)

// onVulkan opens the engine on a Vulkan device, and skips where there is none.
func onVulkan(t *testing.T, o vulkan.Options) ullm.Option {
	t.Helper()
	return ullm.OnDevice(func() (tensor.Device, error) {
		d, err := vulkan.Open(o)
		if errors.Is(err, vulkan.ErrNoVulkan) || errors.Is(err, vulkan.ErrNoLayers) {
			t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers, vulkan-validationlayers)", err)
		}
		return d, err
	})
}

func TestVulkanAnswersAsTransformers(t *testing.T) {
	if _, err := vulkan.Devices(); errors.Is(err, vulkan.ErrNoVulkan) {
		t.Skipf("%v (Debian: libvulkan1, mesa-vulkan-drivers)", err)
	}
	for _, name := range []string{"talk", "talk-q8_0"} {
		t.Run(name, func(t *testing.T) { answersAsTransformers(t, "vulkan", name) })
	}
}

// TestVulkanServes serves a crowd on a short memory under the validation layers: two steps in flight, a common prefix,
// preemptions, clients that go away. An answer must be what it is alone, everything must be freed, and the layers, which
// the device's Close asks, must have nothing to say.
func TestVulkanServes(t *testing.T) {
	story := strings.Repeat("Once upon a time there was ", 6)
	request := func(i int) ullm.Request {
		return ullm.Request{Prompt: story + strings.Repeat("a king ", i), Temperature: ptr(1.2), TopK: ptr(40), RepetitionPenalty: ptr(1.1),
			Seed: ptr(uint64(i)), MaxTokens: 60, IgnoreEOS: true, Logprobs: ptr(2)}
	}
	alone := open(t, talk, ullm.With(ullm.Options{NoPrefixCache: true, NoAsync: true, ContextLen: 256, MaxBatchTokens: 64, MaxBatchSeqs: 2}),
		onVulkan(t, vulkan.Options{}))
	want := ask(t, alone, []ullm.Request{request(0)})[0]

	e := open(t, talk, ullm.With(ullm.Options{ContextLen: 256, MaxBatchTokens: 64, MaxBatchSeqs: 8, KVCacheTokens: 512}),
		onVulkan(t, vulkan.Options{Validate: true}))
	var crowd sync.WaitGroup
	for i := range 10 {
		crowd.Go(func() {
			g, err := e.Start(context.Background(), request(i))
			if err != nil {
				t.Error(err)
				return
			}
			defer g.Close()
			for n := range request(i).MaxTokens {
				if i%5 == 4 && n == 10 {
					return // this client goes away
				}
				tok, err := g.Next(context.Background())
				if err != nil {
					t.Errorf("request %d, token %d: %v", i, n, err)
					return
				}
				if w := want.Tokens[n]; i == 0 && (tok.ID != w.ID || tok.Logprob != w.Logprob) {
					t.Errorf("token %d is %d (%g), alone it is %d (%g)", n, tok.ID, tok.Logprob, w.ID, w.Logprob)
				}
			}
		})
	}
	crowd.Wait()
	second := ask(t, e, []ullm.Request{request(0)})[0].Tokens
	if u := second[len(second)-1].Usage; u.Cached == 0 {
		t.Error("the prompt that was asked before is not in the cache")
	}
	s := e.Stats()
	if s.Preemptions == 0 {
		t.Error("nobody was preempted")
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if s := e.Stats(); s.Running != 0 || s.Waiting != 0 || s.FreePages != s.Pages {
		t.Errorf("after all answers: %+v", s)
	}
	if r := e.Freed(); r.Freed.Bytes == 0 || r.Leaked != (tensor.Count{}) || r.Lost {
		t.Errorf("%+v", r)
	}
}
