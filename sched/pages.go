package sched

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/ullm/ullm/tensor"
)

// Hash identifies the content of a full KV page: its own tokens and, through the chain, all tokens before them. It is a
// cryptographic hash cut to 128 bits, because a collision would show one user another user's context.
type Hash [16]byte

// chain extends the hash of the page before with one page of tokens.
func chain(before Hash, tokens []int32) Hash {
	var b [16 + 4*tensor.PageTokens]byte
	copy(b[:], before[:])
	for i, t := range tokens[:tensor.PageTokens] {
		binary.LittleEndian.PutUint32(b[16+4*i:], uint32(t))
	}
	sum := sha256.Sum256(b[:])
	return Hash(sum[:16])
}

// Pages hands out page numbers; it never sees memory. A page is held by the sequences that use it. When the last lets go
// it becomes free, but keeps its content, and can be found by its hash, until it is handed out again: free pages leave in
// the order in which they were let go, so the least recently used content dies first.
type Pages struct {
	refs   []int32
	hash   []Hash // of published pages
	known  []bool // published
	byHash map[Hash]int32
	// Free pages form a doubly linked list in order of release; index len(refs) is its head.
	next, prev []int32
	free       int
}

// NewPages has n free pages.
func NewPages(n int) *Pages {
	p := &Pages{refs: make([]int32, n), hash: make([]Hash, n), known: make([]bool, n), byHash: map[Hash]int32{},
		next: make([]int32, n+1), prev: make([]int32, n+1)}
	p.next[n], p.prev[n] = int32(n), int32(n)
	for i := range n {
		p.pushFree(int32(i))
	}
	return p
}

// Total is the number of pages; Free is how many no sequence holds.
func (p *Pages) Total() int { return len(p.refs) }
func (p *Pages) Free() int  { return p.free }

// Alloc takes the free page that was let go longest ago, and forgets its content.
func (p *Pages) Alloc() (page int32, ok bool) {
	if p.free == 0 {
		return 0, false
	}
	page = p.next[len(p.refs)]
	p.popFree(page)
	p.unpublish(page)
	p.refs[page] = 1
	return page, true
}

// Find holds the published page of that content, if there is one.
func (p *Pages) Find(h Hash) (page int32, ok bool) {
	page, ok = p.byHash[h]
	if !ok {
		return 0, false
	}
	if p.refs[page] == 0 {
		p.popFree(page)
	}
	p.refs[page]++
	return page, true
}

// Publish makes a held page findable. Of two pages with the same content the first stays the one that is found.
func (p *Pages) Publish(page int32, h Hash) {
	if _, ok := p.byHash[h]; ok || p.known[page] {
		return
	}
	p.hash[page], p.known[page] = h, true
	p.byHash[h] = page
}

// Release lets go of a page.
func (p *Pages) Release(page int32) {
	if p.refs[page] <= 0 {
		panic("sched: a page was released that nobody holds")
	}
	if p.refs[page]--; p.refs[page] == 0 {
		p.pushFree(page)
	}
}

func (p *Pages) unpublish(page int32) {
	if p.known[page] {
		delete(p.byHash, p.hash[page])
		p.known[page] = false
	}
}

func (p *Pages) pushFree(page int32) {
	head := int32(len(p.refs))
	last := p.prev[head]
	p.next[last], p.prev[page] = page, last
	p.next[page], p.prev[head] = head, page
	p.free++
}

func (p *Pages) popFree(page int32) {
	a, b := p.prev[page], p.next[page]
	p.next[a], p.prev[b] = b, a
	p.free--
}
