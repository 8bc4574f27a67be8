package tokenizer

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// merge says that left followed by right becomes to. A merge's rank is its place in
// the list: the lowest goes first.
type merge struct{ left, right, to int32 }

// mergeTable finds the merge of a pair of tokens: an open-addressed hash table with
// linear probing. (A Go map takes three times as long to build and to ask.)
type mergeTable struct {
	slots []mergeSlot
	shift uint
	seed  uint64
}

type mergeSlot struct {
	pair uint64 // pairKey + 1; 0 is an empty slot
	rank uint32
	to   int32
}

const noRank = math.MaxUint32

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// newMergeTable builds the table of merges. Of a pair that comes twice the later counts,
// as in Hugging Face. skip, which may be nil, says which results are left out.
func newMergeTable(merges []merge, skip func(to int32) bool) *mergeTable {
	size := bits.Len(uint(len(merges)) * 3 / 2) // at most two thirds full
	t := &mergeTable{
		slots: make([]mergeSlot, 1<<size),
		shift: uint(64 - size),
		seed:  rand.Uint64(), // so that no file can be made of colliding pairs
	}
	for rank, m := range merges {
		if skip != nil && skip(m.to) {
			continue
		}
		s := t.slot(pairKey(m.left, m.right))
		*s = mergeSlot{pairKey(m.left, m.right) + 1, uint32(rank), m.to}
	}
	return t
}

// slot returns the slot that holds key, or the empty one where it belongs.
func (t *mergeTable) slot(key uint64) *mergeSlot {
	h := (key ^ t.seed) * 0x9E3779B97F4A7C15
	h = (h ^ h>>32) * 0xD6E8FEB86659FD93
	for i := h >> t.shift; ; i++ {
		s := &t.slots[i&uint64(len(t.slots)-1)]
		if s.pair == key+1 || s.pair == 0 {
			return s
		}
	}
}

// find returns the rank and result of a pair; the rank is noRank if it does not merge.
func (t *mergeTable) find(left, right int32) (rank uint32, to int32) {
	s := t.slot(pairKey(left, right))
	if s.pair == 0 {
		return noRank, 0
	}
	return s.rank, s.to
}

// merger merges words, one after the other, and keeps its memory between them.
type merger struct {
	table *mergeTable
	steps int // pairs looked at, queue levels passed: tests show by it how time grows

	// for short words: what each token and the next become
	ranks []uint32
	to    []int32

	// for long words: the tokens as a list by position, and a queue of rank<<32|position
	prev, next []int32
	queue      []uint64
}

// Up to this many tokens, looking through all pairs for the best one is faster than
// keeping a queue of them.
const shortWord = 48

// merge merges the tokens of one word in place and returns what is left: again and
// again the pair of lowest rank, of equal ones the leftmost.
func (m *merger) merge(ids []int32) []int32 {
	switch {
	case len(ids) < 2 || len(m.table.slots) == 1:
		return ids
	case len(ids) <= shortWord:
		return m.short(ids)
	}
	return m.long(ids)
}

func (m *merger) short(ids []int32) []int32 {
	m.ranks, m.to = m.ranks[:0], m.to[:0]
	for i := range len(ids) - 1 {
		rank, to := m.table.find(ids[i], ids[i+1])
		m.ranks = append(m.ranks, rank)
		m.to = append(m.to, to)
	}
	m.steps += len(ids)
	for {
		best, at := uint32(noRank), 0
		for i, rank := range m.ranks {
			if rank < best {
				best, at = rank, i
			}
		}
		m.steps += len(m.ranks)
		if best == noRank {
			return ids
		}
		ids[at] = m.to[at]
		ids = remove(ids, at+1)
		m.ranks, m.to = remove(m.ranks, at), remove(m.to, at)
		// The pair that was at+1 is at at now; it and the one before have changed.
		if at < len(m.ranks) {
			m.ranks[at], m.to[at] = m.table.find(ids[at], ids[at+1])
		}
		if at > 0 {
			m.ranks[at-1], m.to[at-1] = m.table.find(ids[at-1], ids[at])
		}
	}
}

func remove[T any](s []T, i int) []T {
	copy(s[i:], s[i+1:])
	return s[:len(s)-1]
}

const none = -1

func (m *merger) long(ids []int32) []int32 {
	m.prev = slices.Grow(m.prev[:0], len(ids))
	m.next = slices.Grow(m.next[:0], len(ids))
	m.queue = slices.Grow(m.queue[:0], len(ids))
	for i := range ids {
		m.prev = append(m.prev, int32(i)-1)
		m.next = append(m.next, int32(i)+1)
		if i+1 < len(ids) {
			if rank, _ := m.table.find(ids[i], ids[i+1]); rank != noRank {
				m.queue = append(m.queue, uint64(rank)<<32|uint64(i))
			}
		}
	}
	m.next[len(ids)-1] = none
	m.steps += len(ids)
	for i := len(m.queue)/2 - 1; i >= 0; i-- {
		m.down(i)
	}

	for len(m.queue) > 0 {
		best := m.pop()
		at := int32(uint32(best))
		if ids[at] == none || m.next[at] == none {
			continue
		}
		right := m.next[at]
		rank, to := m.table.find(ids[at], ids[right])
		if rank != uint32(best>>32) {
			continue // the pair that stood here has changed meanwhile
		}
		ids[at], ids[right] = to, none
		after := m.next[right]
		m.next[at] = after
		if after != none {
			m.prev[after] = at
			m.push(at, to, ids[after])
		}
		if before := m.prev[at]; before != none {
			m.push(before, ids[before], to)
		}
	}

	kept := ids[:0]
	for at := int32(0); at != none; at = m.next[at] {
		kept = append(kept, ids[at])
	}
	return kept
}

// push queues the pair of left, at position at, and right.
func (m *merger) push(at, left, right int32) {
	m.steps++
	rank, _ := m.table.find(left, right)
	if rank == noRank {
		return
	}
	q := append(m.queue, uint64(rank)<<32|uint64(at))
	i := len(q) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent] <= q[i] {
			break
		}
		q[parent], q[i] = q[i], q[parent]
		i = parent
		m.steps++
	}
	m.queue = q
}

// pop takes the lowest entry.
func (m *merger) pop() uint64 {
	q := m.queue
	best := q[0]
	last := len(q) - 1
	q[0] = q[last]
	m.queue = q[:last]
	m.down(0)
	return best
}

// down restores the heap below i.
func (m *merger) down(i int) {
	q := m.queue
	for {
		child := 2*i + 1
		m.steps++
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && q[child+1] < q[child] {
			child++
		}
		if q[i] <= q[child] {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}
