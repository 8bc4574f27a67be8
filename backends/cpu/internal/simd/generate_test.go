package simd

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the hashes of the generator and its output")

// TestGenerated fails when the generator or a generated file was changed without the other.
func TestGenerated(t *testing.T) {
	var files []string
	for _, p := range []string{"gen/*.go", "gen/go.mod", "*_amd64.s", "elem_amd64.go", "sampling_amd64.go", "tiles_amd64.go", "pages_amd64.go"} {
		m, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, m...)
	}
	var b strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(text), filepath.ToSlash(f))
	}
	const sums = "generated.sum"
	if *update {
		if err := os.WriteFile(sums, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("generator and generated files do not belong together: run go generate in backends/cpu/internal/simd")
	}
}

// TestEncodings assembles the text beside every raw encoding with llvm-mc and compares the bytes.
func TestEncodings(t *testing.T) {
	mc, err := exec.LookPath("llvm-mc")
	if err != nil {
		t.Skip("needs llvm-mc (Debian package llvm)")
	}
	text, err := os.ReadFile("dot_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`^\s*// (VDPBF16PS .*)$`)
	raw := regexp.MustCompile(`^\s*(QUAD|LONG|WORD|BYTE)\s+\$(0x[0-9a-f]+)`)
	gp := regexp.MustCompile(`\b(AX|BX|CX|DX|SI|DI|BP)\b`)
	want := map[string][]byte{}
	var current string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if m := comment.FindStringSubmatch(s.Text()); m != nil {
			current = gp.ReplaceAllStringFunc(m[1], func(r string) string { return "r" + strings.ToLower(r) })
			current = regexp.MustCompile(`\bR(\d+)\b`).ReplaceAllString(current, "r$1")
			want[current] = nil // the same text recurs with the same bytes
		} else if m := raw.FindStringSubmatch(s.Text()); m != nil && current != "" {
			v, err := strconv.ParseUint(m[2], 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			for range map[string]int{"QUAD": 8, "LONG": 4, "WORD": 2, "BYTE": 1}[m[1]] {
				want[current] = append(want[current], byte(v))
				v >>= 8
			}
		} else {
			current = ""
		}
	}
	if len(want) < 100 {
		t.Fatalf("found only %d encodings", len(want))
	}
	var order []string
	for k := range want {
		order = append(order, k)
	}
	cmd := exec.Command(mc, "-triple=x86_64", "-x86-asm-syntax=intel", "-mcpu=sapphirerapids", "-show-encoding")
	cmd.Stdin = strings.NewReader(strings.Join(order, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	enc := regexp.MustCompile(`encoding: \[([^\]]*)\]`).FindAllStringSubmatch(string(out), -1)
	if len(enc) != len(order) {
		t.Fatalf("%d instructions gave %d encodings", len(order), len(enc))
	}
	for i, k := range order {
		var got []byte
		for _, h := range strings.Split(enc[i][1], ",") {
			v, _ := strconv.ParseUint(h, 0, 8)
			got = append(got, byte(v))
		}
		if !bytes.Equal(got, want[k]) {
			t.Errorf("%s: have % x, llvm-mc says % x", k, want[k], got)
		}
	}
}
