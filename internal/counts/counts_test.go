//go:build linux && amd64 && !noasm

package counts

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables")

// accept is what a failure tells its reader.
const accept = "if this is meant, accept it: make counts"

// tool finds a program, or skips.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s (Debian package %s)", name, debian)
	}
	return path
}

// version is the first version number that a program tells about itself, to the given number of parts.
func version(t *testing.T, program string, parts string) string {
	t.Helper()
	out, err := exec.Command(program, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	v := regexp.MustCompile(parts).FindString(string(out))
	if v == "" {
		t.Fatalf("%s does not tell its version: %s", program, out)
	}
	return v
}

// build builds the program that is simulated.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "loads")
	cmd := exec.Command("go", "build", "-o", program, "./loads")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// check compares figures with a committed table, or writes it.
func check(t *testing.T, name, heading string, figures []Figure) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(Table(heading, figures)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was, table, err := ParseTable(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if was != heading {
		t.Skipf("needs the tools that the table was made with\n have: %s\ntable: %s\ntake the figures anew: make counts", heading, was)
	}
	worse, better := Compare(table, figures)
	if len(worse) > 0 {
		t.Errorf("%s: worse by more than %.0f %%, or unknown; %s\n%s", path, 100*Slack, accept, strings.Join(worse, "\n"))
	}
	if len(better) > 0 {
		t.Logf("better; make counts keeps it\n%s", strings.Join(better, "\n"))
	}
}

// TestInstructions: no kernel of the AVX2 path takes many more instructions than the table says.
func TestInstructions(t *testing.T) {
	valgrind := tool(t, "valgrind", "valgrind")
	figures, err := Instructions(valgrind, build(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	check(t, "instructions.tsv", "instructions of one run on the AVX2 path, by callgrind of valgrind "+version(t, valgrind, `\d+\.\d+`), figures)
}

// TestCycles: no inner loop of the AVX-512 kernels takes many more cycles than the table says.
func TestCycles(t *testing.T) {
	mca, objdump := tool(t, "llvm-mca", "llvm"), tool(t, "llvm-objdump", "llvm")
	figures, err := Cycles(objdump, mca, build(t))
	if err != nil {
		t.Fatal(err)
	}
	check(t, "cycles.tsv", "cycles for 1,024 products on "+Processor+", by llvm-mca "+version(t, mca, `\d+`), figures)
}

func TestCompare(t *testing.T) {
	table := []Figure{{"same", 100}, {"slower", 100}, {"a little slower", 100}, {"faster", 100}, {"gone", 3}}
	have := []Figure{{"same", 100}, {"slower", 110.5}, {"a little slower", 109}, {"faster", 50}, {"new", 1}}
	worse, better := Compare(table, have)
	if want := []string{"slower: 110.5, in the table 100 (+10.5 %)", "new is not in the table", "gone is in the table and no more"}; !slices.Equal(worse, want) {
		t.Errorf("worse: %q", worse)
	}
	if want := []string{"faster: 50, in the table 100 (-50.0 %)"}; !slices.Equal(better, want) {
		t.Errorf("better: %q", better)
	}
}

func TestTable(t *testing.T) {
	figures := []Figure{{"a/b", 123456789}, {"c", 12.34}}
	heading, back, err := ParseTable(strings.ReplaceAll(Table("what, by whom 3", figures), "\n", "\r\n"))
	if err != nil || heading != "what, by whom 3" || !slices.Equal(back, figures) {
		t.Errorf("%q %v %v", heading, back, err)
	}
	for _, bad := range []string{"a 1\n", "a\tx\n", "a\t0\n", "a\t-1\n"} {
		if _, _, err := ParseTable(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestOurs: the cost of calls and of foreign functions is not ours.
func TestOurs(t *testing.T) {
	const profile = "fn=runtime.main\n1 1000\ncalls=1 5\n1 70\n\nfn=github.com/ullm/ullm/backends/cpu.f\nfi=x.go\n10 5\ncalls=2 7\n11 5000\n12 6\n\nfn=runtime.memmove\n3 100\n"
	if n, err := ours(strings.NewReader(profile)); err != nil || n != 111 {
		t.Errorf("%d, %v; want 111", n, err)
	}
	for _, bad := range []string{"", "fn=main.main\n1 1\n", "fn=slices.Sort\n1 x\n"} {
		if n, err := ours(strings.NewReader(bad)); err == nil {
			t.Errorf("%q counts as %d", bad, n)
		}
	}
}

// TestInnerLoops: the loop inside another is found, with what it adds, and neither a loop without products nor one on
// narrow registers is.
func TestInnerLoops(t *testing.T) {
	const text = `
0000000000001000 <example.com/internal/simd.both.abi0>:
    1000: vmovups (%rax), %zmm0
    1006: vpdpbusd (%rbx){1to16}, %zmm31, %zmm4   # comment
    100c: je 0x1016 <x+0x16>
    100e: vfmadd231ps %zmm1, %zmm2, %zmm3
    1014: jne 0x1006 <x+0x6>
    1016: decq %rcx
    1018: jne 0x1000 <x>
    101a: vfmadd231ps %zmm1, %zmm2, %zmm3
    1020: vfmadd231ps %zmm1, %zmm2, %zmm4
    1026: jne 0x101a <x+0x1a>
    1028: addq $1, %rax
    102c: jne 0x1028 <x+0x28>
    102e: retq
0000000000002000 <example.com/internal/simd.narrow.abi0>:
    2000: vfmadd231ps %ymm1, %ymm2, %ymm3
    2006: jne 0x2000 <y>
`
	loops := innerLoops(text)
	if len(loops) != 2 || loops[0].name != "both" || loops[1].name != "both#2" || loops[0].products != 64 || loops[1].products != 32 ||
		!slices.Equal(loops[0].body, []string{"vpdpbusd (%rbx){1to16}, %zmm31, %zmm4", "vfmadd231ps %zmm1, %zmm2, %zmm3"}) {
		t.Errorf("%+v", loops)
	}
}
