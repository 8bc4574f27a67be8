package sched

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

// Engine is what runs steps; a model.Instance is one. Steps run in the order in which they were started. How long one may
// take is for the device to say: only its backend can give it up and free what it held without waiting for it.
type Engine interface {
	Start(*model.Batch) (*model.Ticket, error)
	Wait(context.Context, *model.Ticket) ([]tensor.Sampled, error)
}

// Options of a Loop.
type Options struct {
	Limits   Limits
	Depth    int // steps in flight: 1 or 2
	MaxQueue int // requests that may wait; 0: no bound
}

// Loop is the one goroutine that runs steps. Requests come in through Submit, tokens go out through Streams.
type Loop struct {
	engine  Engine
	options Options
	policy  *Policy // the goroutine's alone
	streams map[*sequence]*Stream

	mu       sync.Mutex
	wake     chan struct{} // holds a signal while there is news for the goroutine
	arrivals []*arrival
	aborted  []*Stream
	queued   int // arrivals and the policy's waiting sequences
	draining bool
	cut      bool
	cutShort int // requests that were cut off
	stats    Stats
	err      error

	done chan struct{}
}

type arrival struct {
	req    *Request
	stream *Stream
}

// Stats is a Loop's state after a step.
type Stats struct {
	Counters
	Running, Waiting int
	Pages, FreePages int
}

// New starts a loop. It ends through Shutdown, or with the engine's first error.
func New(e Engine, o Options) *Loop {
	o.Depth = max(o.Depth, 1)
	l := &Loop{engine: e, options: o, policy: NewPolicy(o.Limits), streams: map[*sequence]*Stream{},
		wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.stats = Stats{Pages: o.Limits.Pages, FreePages: o.Limits.Pages}
	go l.run()
	return l
}

// Submit queues requests, all of them or none, and returns a stream for each. They must not change afterwards.
func (l *Loop) Submit(requests ...*Request) ([]*Stream, error) {
	for _, r := range requests {
		if err := l.check(r); err != nil {
			return nil, err
		}
	}
	n, most := len(requests), l.options.MaxQueue
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return nil, l.err
	case l.draining:
		return nil, ErrDraining
	case most > 0 && n > most:
		return nil, &TooMany{n, most}
	case most > 0 && l.queued+n > most:
		return nil, ErrQueueFull
	}
	streams := make([]*Stream, n)
	for i, r := range requests {
		streams[i] = newStream(l)
		l.arrivals = append(l.arrivals, &arrival{r, streams[i]})
	}
	l.queued += n
	l.signal()
	return streams, nil
}

// check refuses what could never be planned.
func (l *Loop) check(r *Request) error {
	switch context := l.options.Limits.Context; {
	case len(r.Prompt) == 0 || r.MaxTokens < 1:
		return errors.New("sched: a request needs a prompt and at least one token to generate")
	case len(r.Prompt) >= context:
		return fmt.Errorf("%w: %d tokens, and the context is %d", ErrTooLong, len(r.Prompt), context)
	case len(r.biases(0)) > model.MaxBias:
		return fmt.Errorf("sched: more than %d logit biases and stop ids", model.MaxBias)
	}
	return nil
}

// Shutdown refuses new requests and waits for the running ones. When ctx ends first they are cut off: their streams end
// with ErrCut, and so does Shutdown. The loop has ended when it returns, and nothing is in flight.
func (l *Loop) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	l.draining = true
	l.signal()
	l.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		l.mu.Lock()
		l.cut = true
		l.signal()
		l.mu.Unlock()
		<-l.done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.cutShort > 0 {
		return fmt.Errorf("%w: %d requests", ErrCut, l.cutShort)
	}
	return l.err
}

// Done is closed when the loop has ended; Err says why, nil after Shutdown.
func (l *Loop) Done() <-chan struct{} { return l.done }

// Err is the engine's error that ended the loop.
func (l *Loop) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Stats is the state after the last step.
func (l *Loop) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = l.queued
	return s
}

func (l *Loop) abort(s *Stream) {
	l.mu.Lock()
	l.aborted = append(l.aborted, s)
	l.signal()
	l.mu.Unlock()
}

// signal wakes the goroutine; l.mu is held.
func (l *Loop) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// inFlight is a step that was started and not committed.
type inFlight struct {
	step    *Step
	ticket  *model.Ticket
	started time.Time
}

// run is the loop: take in what is new, plan and start a step if there is room in flight, else wait for the oldest.
func (l *Loop) run() {
	defer close(l.done)
	var flight []inFlight
	var ended time.Time // of the last step
	for {
		more := l.takeIn()
		if more && len(flight) < l.options.Depth {
			if step := l.policy.Next(); step != nil {
				started := time.Now()
				ticket, err := l.engine.Start(&step.Batch)
				if err != nil {
					l.fail(err, flight)
					return
				}
				flight = append(flight, inFlight{step, ticket, started})
				l.publish() // who was admitted waits no longer
				continue
			}
		}
		if len(flight) > 0 {
			sampled, err := l.engine.Wait(context.Background(), flight[0].ticket)
			if err != nil {
				l.fail(err, flight[1:])
				return
			}
			begun := flight[0].started // or, behind another step, when that had ended
			if ended.After(begun) {
				begun = ended
			}
			ended = time.Now()
			l.policy.Took(flight[0].step, ended.Sub(begun))
			l.policy.Commit(flight[0].step, sampled)
			flight = flight[1:]
			l.publish()
			continue
		}
		if !more {
			return
		}
		<-l.wake
	}
}

// takeIn brings arrivals and aborts to the policy. It answers false once everything is over.
func (l *Loop) takeIn() bool {
	l.mu.Lock()
	arrivals, aborted, draining, cut := l.arrivals, l.aborted, l.draining, l.cut
	l.arrivals, l.aborted = nil, nil
	l.mu.Unlock()
	for _, a := range arrivals {
		var s *sequence
		s = l.policy.add(a.req, func(e Event) { l.deliver(s, a.stream, e) })
		a.stream.seq = s
		l.streams[s] = a.stream
	}
	for _, st := range aborted {
		l.drop(st.seq)
	}
	if cut {
		l.mu.Lock()
		l.cutShort += len(l.streams)
		l.mu.Unlock()
		l.endAll(ErrCut)
	}
	if len(arrivals)+len(aborted) > 0 || cut {
		l.publish()
	}
	return !(draining && l.policy.Idle())
}

// deliver passes an event on; a reader that fell too far behind is dropped. Who has read the end of an answer finds it ended
// in Stats too.
func (l *Loop) deliver(s *sequence, st *Stream, e Event) {
	if e.Finish != Unfinished {
		l.publish()
	}
	if !st.put(e) {
		st.end(ErrSlow)
		l.drop(s)
		return
	}
	if e.Finish != Unfinished {
		delete(l.streams, s)
	}
}

func (l *Loop) drop(s *sequence) {
	l.policy.remove(s)
	delete(l.streams, s)
}

func (l *Loop) endAll(err error) {
	for s, st := range l.streams {
		st.end(err)
		l.drop(s)
	}
}

// fail ends everything with the engine's error. Steps still in flight are waited for, unless the device is lost.
func (l *Loop) fail(err error, flight []inFlight) {
	if !errors.Is(err, tensor.ErrDeviceLost) {
		for _, f := range flight {
			if _, waitErr := l.engine.Wait(context.Background(), f.ticket); waitErr != nil {
				err = errors.Join(err, waitErr)
			}
		}
	}
	l.mu.Lock()
	l.err = err
	arrivals := l.arrivals
	l.arrivals = nil
	l.mu.Unlock()
	for _, a := range arrivals {
		a.stream.end(err)
	}
	l.endAll(err)
	l.publish()
}

// publish makes the policy's state visible to Stats.
func (l *Loop) publish() {
	p := l.policy
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = len(p.waiting) + len(l.arrivals)
	l.stats = Stats{Counters: p.stats, Running: len(p.running), Pages: p.pages.Total(), FreePages: p.pages.Free()}
}
