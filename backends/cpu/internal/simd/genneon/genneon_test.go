package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestGenerated fails when the generator or a generated file was changed without the other.
func TestGenerated(t *testing.T) {
	for name, want := range generate() {
		have, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), want) {
			t.Errorf("%s is not what the generator writes: run go generate in backends/cpu/internal/simd", name)
		}
	}
}

// TestEncodings assembles the text beside every word with llvm-mc and compares.
func TestEncodings(t *testing.T) {
	mc, err := exec.LookPath("llvm-mc")
	if err != nil {
		t.Skip("needs llvm-mc (Debian package llvm)")
	}
	words := map[string]string{}
	line := regexp.MustCompile(`(?m)^\tWORD \$0x([0-9a-f]{8}) // (.*)$`)
	for _, text := range generate() {
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			if w, have := words[m[2]]; have && w != m[1] {
				t.Errorf("%s is both %s and %s", m[2], w, m[1])
			}
			words[m[2]] = m[1]
		}
	}
	if len(words) < 1000 {
		t.Fatalf("found only %d encodings", len(words))
	}
	var order []string
	for text := range words {
		order = append(order, text)
	}
	cmd := exec.Command(mc, "-triple=aarch64", "-mattr=+dotprod", "-show-encoding")
	cmd.Stdin = strings.NewReader(strings.Join(order, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out[:min(len(out), 2000)])
	}
	encodings := regexp.MustCompile(`encoding: \[([^\]]*)\]`).FindAllStringSubmatch(string(out), -1)
	if len(encodings) != len(order) {
		t.Fatalf("%d instructions gave %d encodings", len(order), len(encodings))
	}
	for i, text := range order {
		word := uint64(0)
		for j, b := range strings.Split(encodings[i][1], ",") {
			v, err := strconv.ParseUint(b, 0, 8)
			if err != nil {
				t.Fatal(err)
			}
			word |= v << (8 * j)
		}
		if got := fmt.Sprintf("%08x", word); got != words[text] {
			t.Errorf("%s: have %s, llvm-mc says %s", text, words[text], got)
		}
	}
}
