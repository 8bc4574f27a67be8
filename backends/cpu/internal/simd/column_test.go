package simd

import (
	"slices"
	"testing"
)

// TestStoreColumn: a column gets the values, and nothing beside it is written.
func TestStoreColumn(t *testing.T) {
	for _, level := range Levels() {
		k, err := For(level)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 41 {
			page, want := make([]uint16, n*PageTokens+1), make([]uint16, n*PageTokens+1)
			x := make([]uint16, n)
			for i := range x {
				x[i] = uint16(40000 + 7*i)
				want[i*PageTokens+1] = x[i]
			}
			k.StoreColumn(page[1:], x)
			k.Prefetch(make([]byte, n))
			if !slices.Equal(page, want) {
				t.Errorf("%s, %d values: %v, want %v", level, n, page, want)
			}
		}
	}
}
