package cpu

import (
	"reflect"
	"slices"
	"testing"
)

// TestPlacement: threads are at nodes as processors are, take the pieces of their own node first, and their pieces lie there.
func TestPlacement(t *testing.T) {
	for _, nodes := range [][]node{nil, {{0, []int{0, 1, 2}}}} {
		p := newPlacement(nodes, 3)
		if p != nil || !slices.Equal(p.order(1, 3), []int{1, 2, 0}) {
			t.Errorf("%v are placed as %+v, thread 1 takes %v", nodes, p, p.order(1, 3))
		}
		p.stay(0)
		p.place(make([]byte, 8), 2)
		p.spread(make([]byte, 8))
	}
	p := newPlacement([]node{{0, []int{0, 1, 2, 3}}, {3, []int{4, 5}}}, 6)
	if want := []int{0, 0, 0, 0, 1, 1}; !slices.Equal(p.thread, want) {
		t.Errorf("threads at nodes %v, want %v", p.thread, want)
	}
	for thread, want := range map[int][]int{0: {0, 1, 2, 3, 4, 5}, 2: {2, 3, 0, 1, 4, 5}, 4: {4, 5, 0, 1, 2, 3}, 5: {5, 4, 0, 1, 2, 3}} {
		if got := p.order(thread, 6); !slices.Equal(got, want) {
			t.Errorf("thread %d takes pieces of %v, want %v", thread, got, want)
		}
	}
	if got, want := p.shares(64), []share{{0, 42, 0}, {42, 64, 3}}; !reflect.DeepEqual(got, want) {
		t.Errorf("64 panels are shared out as %v, want %v", got, want)
	}
	if got, want := newPlacement([]node{{0, []int{0, 1, 2, 3}}, {1, []int{4, 5, 6, 7}}}, 2).shares(3), []share{{0, 1, 0}, {1, 3, 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("three panels are shared out as %v, want %v", got, want)
	}
}
