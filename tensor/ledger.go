package tensor

import (
	"fmt"
	"strings"
	"sync"
)

// Use is what a piece of device memory is for; the ledger counts by it.
type Use uint8

// The uses of device memory.
const (
	UseWeights Use = iota // repacked weights
	UseKV                 // KV pages
	UseSlots              // per-sequence state and kept rows
	UseScratch            // the arena that Programs share
	UseProgram            // what compiled Programs hold
	UseStaging            // buffers that data passes through
	NumUses
)

var useNames = [NumUses]string{"weights", "kv", "slots", "scratch", "program", "staging"}

// String is the name under which logs and metrics show the use.
func (u Use) String() string { return useNames[u] }

// Count is a number of bytes and of the handles (buffers, modules, pipelines …) that hold them.
type Count struct {
	Bytes   int64
	Handles int
}

func (c *Count) add(bytes int64, handles int) { c.Bytes += bytes; c.Handles += handles }

// Stats is a ledger's state at one moment.
type Stats struct {
	Live  [NumUses]Count // held now
	Peak  [NumUses]Count // most ever held, each figure by itself
	Freed Count          // released since the device was opened
	Lost  bool           // the device was lost: what is live then was given up, not leaked
}

// Total sums what is held now over all uses.
func (s Stats) Total() Count {
	var t Count
	for _, c := range s.Live {
		t.add(c.Bytes, c.Handles)
	}
	return t
}

// String lists the uses that hold something, as "weights 12 bytes in 1 buffers, kv …".
func (s Stats) String() string {
	var b strings.Builder
	for u, c := range s.Live {
		if c.Handles != 0 || c.Bytes != 0 {
			if b.Len() > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %d bytes in %d buffers", Use(u), c.Bytes, c.Handles)
		}
	}
	if b.Len() == 0 {
		return "nothing"
	}
	return b.String()
}

// Ledger counts what a device holds. Every allocation and every release of a backend passes through it; when the device
// closes, whatever is still live leaked. The zero Ledger is ready; it is safe for concurrent use.
type Ledger struct {
	mu sync.Mutex
	s  Stats
}

// Alloc records one new handle that holds bytes.
func (l *Ledger) Alloc(u Use, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s.Live[u].add(bytes, 1)
	p := &l.s.Peak[u]
	p.Bytes = max(p.Bytes, l.s.Live[u].Bytes)
	p.Handles = max(p.Handles, l.s.Live[u].Handles)
}

// Free records that a handle that held bytes is gone. Freeing more than is live is a broken invariant and panics.
func (l *Ledger) Free(u Use, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s.Live[u].add(-bytes, -1)
	l.s.Freed.add(bytes, 1)
	if c := l.s.Live[u]; c.Bytes < 0 || c.Handles < 0 {
		panic(fmt.Sprintf("tensor: ledger: more %s freed than was allocated: %+v", u, c))
	}
}

// SetLost marks the device as lost.
func (l *Ledger) SetLost() {
	l.mu.Lock()
	l.s.Lost = true
	l.mu.Unlock()
}

// Stats is a copy of the ledger as it is now.
func (l *Ledger) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s
}
