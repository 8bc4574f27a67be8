// Command genneon writes the arm64 assembly of package simd. Run it through go generate there.
package main

import (
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// kind says which geometries of a kind of kernel exist, for each number of tokens the numbers of panels, and the number
// of tokens that does most work for its loads.
type kind struct {
	name   string
	panels map[int][]int
	bulk   int
}

// 24 of the 32 registers are accumulators where many tokens come; with few, several panels keep the pipes busy. Pairs need
// a mask. The sums of eight tokens with 8 rows fill 16 registers.
var (
	many = map[int][]int{1: {4, 1}, 2: {2, 1}, 3: {2, 1}, 4: {1}, 5: {1}, 6: {1}}
	five = map[int][]int{1: {4, 1}, 2: {2, 1}, 3: {2, 1}, 4: {1}, 5: {1}}
	sums = map[int][]int{1: {1}, 2: {1}, 3: {1}, 4: {1}, 6: {1}, 8: {1}}
	slow = map[int][]int{1: {1}, 2: {1}, 4: {1}} // without the dot product extension
)

func (k kind) each(f func(panels, tokens int)) {
	for _, t := range slices.Sorted(maps.Keys(k.panels)) {
		for _, p := range k.panels[t] {
			f(p, t)
		}
	}
}

// table declares the Tiles of a kind.
func (k kind) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "var %sTiles = Tiles{Tokens: %d, Run: [MaxTokens + 1][MaxPanels + 1]func(*Tile){\n", k.name, k.bulk)
	for _, t := range slices.Sorted(maps.Keys(k.panels)) {
		fmt.Fprintf(&b, "\t%d: {", t)
		for i, p := range slices.Sorted(slices.Values(k.panels[t])) {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%d: %s", p, name(k.name, p, t))
		}
		b.WriteString("},\n")
	}
	b.WriteString("}}\n\n")
	return b.String()
}

// generate makes all files, by name.
func generate() map[string][]byte {
	files := map[string][]byte{}
	add := func(what string, f *file, more string) {
		files[what+"_arm64.s"] = f.assembly()
		files[what+"_arm64.go"] = f.declarations(more)
	}
	tables := ""
	one := func(k kind, write func(panels, tokens int)) {
		k.each(write)
		tables += k.table()
	}

	f := new(file)
	for _, e := range elements {
		one(kind{"neonRows" + e, many, 6}, func(p, t int) { f.rows(e, p, t) })
	}
	one(kind{"neonPairs", five, 5}, f.pairs)
	add("rows", f, tables)

	f, tables = new(file), ""
	for _, sdot := range []bool{false, true} {
		panels, bulk := slow, 4
		if sdot {
			panels, bulk = sums, 8
		}
		one(kind{dotKind("Q8", sdot), panels, bulk}, func(_, t int) { f.q8(sdot, t) })
		list := fmt.Sprintf("var %sTiles = [codings]Tiles{\n", dotKind("Codes", sdot))
		for _, c := range codings {
			one(kind{dotKind(c.name, sdot), panels, bulk}, func(_, t int) { f.codes(c, sdot, t) })
			list += fmt.Sprintf("\t%s: %sTiles,\n", c.name, dotKind(c.name, sdot))
		}
		tables += list + "}\n\n"
	}
	add("dot", f, tables)

	f = new(file)
	f.elementwise()
	add("elem", f, "")
	return files
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: genneon DIRECTORY")
	}
	for name, text := range generate() {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
