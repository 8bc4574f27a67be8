package server

import (
	"context"
	"sync"
)

// inProgress counts what has begun and not ended.
type inProgress struct {
	mu     sync.Mutex
	n      int
	closed bool
	zero   chan struct{} // closed when n falls to 0; nil while nobody waits
}

// begin counts one more, unless close has been called.
func (p *inProgress) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.n++
	return true
}

// end takes back what begin counted.
func (p *inProgress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n--
	if p.n == 0 && p.zero != nil {
		close(p.zero)
		p.zero = nil
	}
}

// close lets nothing more begin.
func (p *inProgress) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// wait returns nil once nothing is in progress, or the error of ctx.
func (p *inProgress) wait(ctx context.Context) error {
	p.mu.Lock()
	if p.n == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.zero == nil {
		p.zero = make(chan struct{})
	}
	zero := p.zero
	p.mu.Unlock()
	select {
	case <-zero:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
