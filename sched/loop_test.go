package sched

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeEngine samples the number of the step, and takes a second for each.
type fakeEngine struct {
	mu      sync.Mutex
	flight  int
	most    int
	steps   int
	failAt  int // the number of the step whose start fails
	waitAt  int // and of the one whose wait fails
	waits   int
	err     error
	batches map[*model.Ticket]*model.Batch
}

func (f *fakeEngine) Start(b *model.Batch) (*model.Ticket, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps++; f.steps == f.failAt {
		return nil, f.err
	}
	f.flight++
	f.most = max(f.most, f.flight)
	t := &model.Ticket{}
	if f.batches == nil {
		f.batches = map[*model.Ticket]*model.Batch{}
	}
	f.batches[t] = b
	return t, nil
}

func (f *fakeEngine) Wait(ctx context.Context, t *model.Ticket) ([]tensor.Sampled, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flight--
	if f.waits++; f.waits == f.waitAt {
		return nil, f.err
	}
	out := make([]tensor.Sampled, len(f.batches[t].Head))
	for i := range out {
		out[i].ID = int32(f.steps)
	}
	return out, nil
}

var testLimits = Limits{Context: 1 << 14, Slots: 4, Pages: 1 << 12,
	Step: tensor.ForwardLimits{Tokens: 64, Seqs: 4, Rows: 64, Pages: 64, Params: 4, History: 64, Bias: 64}}

func submit(t *testing.T, l *Loop, max int) *Stream {
	t.Helper()
	s, err := l.Submit(&Request{Prompt: []int32{1, 2, 3}, MaxTokens: max})
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

// drain reads a stream to its end.
func drain(t *testing.T, s *Stream) (n int, err error) {
	t.Helper()
	for {
		if _, err := s.Next(t.Context()); err != nil {
			return n, err
		}
		n++
	}
}

func TestLoopDepth(t *testing.T) {
	for _, depth := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			e := &fakeEngine{}
			l := New(e, Options{Limits: testLimits, Depth: depth})
			s := submit(t, l, 5)
			if n, err := drain(t, s); n != 5 || err != io.EOF {
				t.Errorf("depth %d: %d tokens, %v", depth, n, err)
			}
			if err := l.Shutdown(t.Context()); err != nil || e.most != depth {
				t.Errorf("depth %d: shutdown %v, %d steps in flight", depth, err, e.most)
			}
		})
	}
}

func TestLoopQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits, MaxQueue: 2})
		var streams []*Stream
		for range testLimits.Slots {
			streams = append(streams, submit(t, l, 100))
			time.Sleep(2 * time.Second) // let it start
		}
		streams = append(streams, submit(t, l, 1), submit(t, l, 1))
		if _, err := l.Submit(&Request{Prompt: []int32{1}, MaxTokens: 1}); !errors.Is(err, ErrQueueFull) {
			t.Errorf("third in the queue: %v", err)
		}
		if s := l.Stats(); s.Running != testLimits.Slots || s.Waiting != 2 {
			t.Errorf("%+v", s)
		}
		for _, s := range streams {
			s.Close()
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if s := l.Stats(); s.Running+s.Waiting != 0 || s.FreePages != s.Pages {
			t.Errorf("after closing all streams: %+v", s)
		}
	})
}

// TestLoopSubmitsTogether: requests that belong together are queued together, or not at all.
func TestLoopSubmitsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits, MaxQueue: 3})
		group := func(n int) (all []*Request) {
			for range n {
				all = append(all, &Request{Prompt: []int32{1, 2, 3}, MaxTokens: 4})
			}
			return all
		}
		streams, err := l.Submit(group(3)...)
		if err != nil {
			t.Fatal(err)
		}
		var many *TooMany
		if _, err := l.Submit(group(4)...); !errors.As(err, &many) || *many != (TooMany{4, 3}) {
			t.Errorf("four at once: %v", err)
		}
		synctest.Wait() // all three run
		if more, err := l.Submit(group(2)...); err != nil {
			t.Error(err)
		} else {
			streams = append(streams, more...)
		}
		synctest.Wait() // one of them waits
		if _, err := l.Submit(group(3)...); !errors.Is(err, ErrQueueFull) {
			t.Errorf("three beside one that waits: %v", err)
		}
		if _, err := l.Submit(append(group(1), &Request{})...); err == nil {
			t.Error("a bad request was queued because of its company")
		}
		if s := l.Stats(); s.Running+s.Waiting != 5 {
			t.Errorf("%+v", s)
		}
		for _, s := range streams {
			if n, err := drain(t, s); n != 4 || err != io.EOF {
				t.Errorf("%d tokens, %v", n, err)
			}
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLoopQueueEmpties: who was admitted does not count as waiting while its first step runs.
func TestLoopQueueEmpties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits, MaxQueue: 1})
		first := submit(t, l, 1)
		synctest.Wait()
		if s := l.Stats(); s.Running != 1 || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		second := submit(t, l, 1)
		for _, s := range []*Stream{first, second} {
			if n, err := drain(t, s); n != 1 || err != io.EOF {
				t.Errorf("%d tokens, %v", n, err)
			}
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLoopAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits, Depth: 2})
		s := submit(t, l, 1000)
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Close()
		time.Sleep(2500 * time.Millisecond) // two steps
		if st := l.Stats(); st.Running != 0 || st.FreePages != st.Pages {
			t.Errorf("two steps after the reader left: %+v", st)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, ErrAborted) {
			t.Errorf("closed stream: %v", err)
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestLoopStatsKnowEnds holds the loop up in the midst of handing out a step, in which an answer has ended: who has read that
// finds it in the statistics.
func TestLoopStatsKnowEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits})
		first, second := submit(t, l, 1), submit(t, l, 2)
		second.mu.Lock()
		if _, err := first.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Running != 1 || s.GeneratedTokens == 0 {
			t.Errorf("one answer has ended: %+v", s)
		}
		second.mu.Unlock()
		if n, err := drain(t, second); n != 2 || err != io.EOF {
			t.Errorf("%d tokens, %v", n, err)
		}
		if s := l.Stats(); s.Running != 0 || s.GeneratedTokens != 3 || s.FreePages != s.Pages {
			t.Errorf("both have ended: %+v", s)
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLoopDropsSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits})
		slow, quick := submit(t, l, streamBuffer+100), submit(t, l, streamBuffer+100)
		defer slow.Close()
		if n, err := drain(t, quick); n != streamBuffer+100 || err != io.EOF {
			t.Errorf("the quick reader got %d tokens, %v", n, err)
		}
		if n, err := drain(t, slow); n != streamBuffer+1 || !errors.Is(err, ErrSlow) {
			t.Errorf("the slow reader got %d tokens, %v", n, err)
		}
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestLoopShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&fakeEngine{}, Options{Limits: testLimits, Depth: 2})
		short, long := submit(t, l, 5), submit(t, l, 1000)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := l.Shutdown(ctx); !errors.Is(err, ErrCut) {
			t.Errorf("shutdown: %v", err)
		}
		if n, err := drain(t, short); n != 5 || err != io.EOF {
			t.Errorf("the short answer: %d tokens, %v", n, err)
		}
		if _, err := drain(t, long); !errors.Is(err, ErrCut) {
			t.Errorf("the long answer: %v", err)
		}
		if _, err := l.Submit(&Request{Prompt: []int32{1}, MaxTokens: 1}); !errors.Is(err, ErrDraining) {
			t.Errorf("after shutdown: %v", err)
		}
		if err := l.Shutdown(t.Context()); !errors.Is(err, ErrCut) {
			t.Errorf("second shutdown: %v", err)
		}
	})
}

func TestLoopEngineFails(t *testing.T) {
	lost, broken := errors.Join(tensor.ErrDeviceLost), errors.New("broken")
	for name, e := range map[string]*fakeEngine{
		"start":         {failAt: 4, err: lost},
		"wait":          {waitAt: 3, err: lost},
		"start, broken": {failAt: 4, err: broken},
		"wait, broken":  {waitAt: 3, err: broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := New(e, Options{Limits: testLimits, Depth: 2})
				a, b := submit(t, l, 100), submit(t, l, 100)
				for _, s := range []*Stream{a, b} {
					if _, err := drain(t, s); !errors.Is(err, e.err) {
						t.Errorf("stream ended with %v", err)
					}
				}
				<-l.Done()
				if left := e.flight; left != 0 && e.err == broken {
					t.Errorf("%d steps were not waited for", left)
				}
				if !errors.Is(l.Err(), e.err) {
					t.Errorf("loop ended with %v", l.Err())
				}
				if _, err := l.Submit(&Request{Prompt: []int32{1}, MaxTokens: 1}); !errors.Is(err, e.err) {
					t.Errorf("submit: %v", err)
				}
				if err := l.Shutdown(t.Context()); !errors.Is(err, e.err) {
					t.Errorf("shutdown: %v", err)
				}
			})
		})
	}
}

func TestSubmitRefuses(t *testing.T) {
	l := New(&fakeEngine{}, Options{Limits: testLimits})
	defer func() {
		if err := l.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for name, r := range map[string]*Request{
		"no prompt":       {MaxTokens: 1},
		"no tokens":       {Prompt: []int32{1}},
		"too long":        {Prompt: make([]int32, testLimits.Context), MaxTokens: 1},
		"too many biases": {Prompt: []int32{1}, MaxTokens: 1, Bias: make([]Bias, model.MaxBias+1)},
	} {
		if _, err := l.Submit(r); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestBiasesDoNotWrap asks for more tokens than positions can count.
func TestBiasesDoNotWrap(t *testing.T) {
	r := &Request{Prompt: []int32{1, 2}, MinTokens: math.MaxInt, Stop: []int32{0}}
	if w := r.biases(3); len(w) != 1 || w[0].Until != math.MaxInt32 {
		t.Errorf("%+v", w)
	}
	r.MinTokens = 5
	if w := r.biases(3); len(w) != 1 || w[0].Until != 7 {
		t.Errorf("%+v", w)
	}
}
