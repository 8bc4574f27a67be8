package sched_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/model/qwen3"
	"github.com/ullm/ullm/sched"
	"github.com/ullm/ullm/tensor"
)

// TestDeviceFails serves three requests on a real model whose device fails at one call or another, for good or not. Every
// stream must end with that error, the model must close without waiting for what will never come, and all must be freed.
func TestDeviceFails(t *testing.T) {
	f, err := files.Open("../model/qwen3/testdata/float32")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, failure := range []error{errors.New("broken"), fmt.Errorf("fell off the bus: %w", tensor.ErrDeviceLost)} {
		for n := 1; n < 30; n++ {
			calls, armed := 0, make(chan struct{})
			d, err := ref.Open(ref.Options{Fault: func(call string) error {
				select {
				case <-armed:
				default:
					return nil
				}
				if calls++; calls >= n {
					return failure
				}
				return nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			in, err := model.Load(t.Context(), d, qwen3.Arch{}, f.Config, f.Checkpoint, model.Options{MaxSeqs: 2, MaxTokens: 8, Context: 64})
			if err != nil {
				t.Fatal(err)
			}
			s := in.Sizing()
			close(armed)
			l := sched.New(in, sched.Options{Depth: 2, Limits: sched.Limits{Context: s.Context, Slots: s.MaxSeqs, Pages: s.Pages, Step: s.Limits()}})
			var streams []*sched.Stream
			for range 3 {
				stream, err := l.Submit(&sched.Request{Prompt: []int32{1, 2, 3, 4, 5}, MaxTokens: 50, Sampling: tensor.Sampling{Repetition: 1, TopP: 1}})
				if err == nil {
					streams = append(streams, stream...)
				} else if !errors.Is(err, failure) { // the loop may have ended already
					t.Errorf("call %d fails: submit: %v", n, err)
				}
			}
			for _, stream := range streams {
				var err error
				for err == nil {
					_, err = stream.Next(t.Context())
				}
				if !errors.Is(err, failure) {
					t.Errorf("call %d fails: the stream ended with %v", n, err)
				}
			}
			if err := l.Shutdown(context.Background()); !errors.Is(err, failure) {
				t.Errorf("call %d fails: shutdown: %v", n, err)
			}
			if err := errors.Join(in.Close(), d.Close()); err != nil {
				t.Errorf("call %d fails: close: %v", n, err)
			}
			if stats := d.Stats(); stats.Total() != (tensor.Count{}) || stats.Lost != errors.Is(failure, tensor.ErrDeviceLost) {
				t.Errorf("call %d fails: %+v", n, stats)
			}
		}
	}
}
