package tensor

import "sort"

// Placement is where results lie in the arena.
type Placement struct {
	Offset []int64 // by Value; -1 for values that are not in the arena
	Bytes  int64   // size of the arena
}

// Place gives every result of the graph a place in an arena such that values that are needed at the same time never
// overlap. size says how many bytes a value needs there (0: none); align is a power of two. A value lives from the node
// that makes it to the last that reads it, an output to the end. Values are placed greedily, each at the lowest offset
// that is free during its life, once in the order in which they are made and once from the largest to the smallest; the
// smaller arena is kept. The first suits layers whose values have few distinct sizes, the second a value that outweighs
// all others.
func Place(g *Graph, size func(Value) int64, align int64) Placement {
	spans := lives(g, size, align)
	inOrder := place(g, spans)
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].bytes > spans[j].bytes })
	if bySize := place(g, spans); bySize.Bytes < inOrder.Bytes {
		return bySize
	}
	return inOrder
}

// span is a value's life: from the node that makes it to the last that reads it.
type span struct {
	v           Value
	first, last int
	bytes       int64
}

// lives lists the values that need a place, in the order in which they are made.
func lives(g *Graph, size func(Value) int64, align int64) []span {
	spans := make([]span, 0, g.Values())
	at := make([]int, g.Values()) // index+1 into spans
	for i, n := range g.Nodes {
		for _, v := range n.In {
			if at[v] > 0 {
				spans[at[v]-1].last = i
			}
		}
		for _, v := range n.Out {
			if b := size(v); b > 0 {
				spans = append(spans, span{v, i, i, (b + align - 1) &^ (align - 1)})
				at[v] = len(spans)
			}
		}
	}
	for i := range spans {
		if _, ok := g.OutputOf(spans[i].v); ok {
			spans[i].last = len(g.Nodes)
		}
	}
	return spans
}

// place puts each span, in the order given, at the lowest offset that is free during its life.
func place(g *Graph, spans []span) Placement {
	p := Placement{Offset: make([]int64, g.Values())}
	for v := range p.Offset {
		p.Offset[v] = -1
	}
	placed := make([]span, 0, len(spans)) // by offset
	for _, s := range spans {
		offset, before := int64(0), 0
		for before < len(placed) {
			o := placed[before]
			if s.first <= o.last && o.first <= s.last {
				if p.Offset[o.v] >= offset+s.bytes {
					break
				}
				offset = max(offset, p.Offset[o.v]+o.bytes)
			}
			before++
		}
		p.Offset[s.v] = offset
		p.Bytes = max(p.Bytes, offset+s.bytes)
		i := sort.Search(len(placed), func(i int) bool { return p.Offset[placed[i].v] > offset })
		placed = append(placed, span{})
		copy(placed[i+1:], placed[i:])
		placed[i] = s
	}
	return p
}

// Depends tells whether node b must wait for node a, an earlier one: they share a value, or a place in the arena, that
// one of them writes. A backend puts barriers by it.
func Depends(g *Graph, p Placement, size func(Value) int64, a, b *Node) bool {
	writes := func(n *Node) []Value { return append(append([]Value(nil), n.Out...), n.Writes()...) }
	clash := func(x, y Value) bool {
		if x == 0 || y == 0 {
			return false
		}
		if x == y {
			return true
		}
		ox, oy := p.Offset[x], p.Offset[y]
		return ox >= 0 && oy >= 0 && ox < oy+size(y) && oy < ox+size(x)
	}
	for _, w := range writes(a) {
		for _, v := range append(writes(b), b.In...) {
			if clash(w, v) {
				return true
			}
		}
	}
	for _, r := range a.In {
		for _, w := range writes(b) {
			if clash(r, w) {
				return true
			}
		}
	}
	return false
}
