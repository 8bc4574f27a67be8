package counts

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Processor is the model that inner loops are simulated on: the newest server core that LLVM 14 describes.
const Processor = "icelake-server"

// Cycles disassembles the AVX-512 kernels of a program and simulates their inner loops with llvm-mca: cycles for each
// 1,024 products that are added, data in the nearest cache. A kernel with several inner loops has several figures.
func Cycles(objdump, mca, program string) ([]Figure, error) {
	names, err := kernels(program)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 { // given none, the disassembler takes all
		return nil, fmt.Errorf("counts: %s has no assembly of package simd", program)
	}
	out, err := exec.Command(objdump, "--disassemble", "--no-show-raw-insn", "--disassemble-symbols="+strings.Join(names, ","), program).Output()
	if err != nil {
		return nil, fmt.Errorf("counts: %s: %w", objdump, err)
	}
	loops := innerLoops(string(out))
	if len(loops) == 0 {
		return nil, fmt.Errorf("counts: %s has no AVX-512 loop in %d kernels", program, len(names))
	}
	var source bytes.Buffer
	for _, l := range loops {
		fmt.Fprintf(&source, "# LLVM-MCA-BEGIN %s\n%s\n# LLVM-MCA-END\n", l.name, strings.Join(l.body, "\n"))
	}
	const iterations = 200
	cmd := exec.Command(mca, "-mcpu="+Processor, "-iterations="+strconv.Itoa(iterations), "-resource-pressure=false", "-instruction-info=false")
	cmd.Stdin = &source
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if out, err = cmd.Output(); err != nil {
		return nil, fmt.Errorf("counts: %s: %w\n%s", mca, err, stderr.String())
	}
	reports := regexp.MustCompile(`Total Cycles: +(\d+)`).FindAllSubmatch(out, -1)
	if len(reports) != len(loops) {
		return nil, fmt.Errorf("counts: llvm-mca answers for %d of %d loops\n%s", len(reports), len(loops), stderr.String())
	}
	var figures []Figure
	for i, l := range loops {
		cycles, err := strconv.Atoi(string(reports[i][1]))
		if err != nil {
			return nil, err
		}
		figures = append(figures, Figure{l.name, float64(cycles) / iterations * 1024 / float64(l.products)})
	}
	return figures, nil
}

// kernels lists the symbols of assembly in package simd.
func kernels(program string) ([]string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("counts: symbols of %s: %w", program, err)
	}
	var names []string
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && strings.Contains(s.Name, "/internal/simd.") && strings.HasSuffix(s.Name, ".abi0") {
			names = append(names, s.Name)
		}
	}
	return names, nil
}

// loop is an innermost loop without its jumps.
type loop struct {
	name     string
	body     []string
	products int // that one iteration adds
}

var (
	function    = regexp.MustCompile(`^[0-9a-f]+ <.*/simd\.(.*)\.abi0>:$`)
	instruction = regexp.MustCompile(`^\s*([0-9a-f]+):\s*([a-z0-9]+.*)$`)
	jump        = regexp.MustCompile(`^j[a-z]+\s+0x([0-9a-f]+)`)
)

// innerLoops finds, in a disassembly, the loops that add products on registers of 512 bits and contain no other loop.
func innerLoops(disassembly string) (loops []loop) {
	var name string
	var at []uint64
	var text []string
	finish := func() {
		n := 0
		last := -1 // the first instruction behind the loop found last
		for i, t := range text {
			m := jump.FindStringSubmatch(t)
			if m == nil {
				continue
			}
			to, err := strconv.ParseUint(m[1], 16, 64)
			from, found := slices.BinarySearch(at, to)
			if err != nil || !found || from > i || from < last {
				continue // forwards, or around a loop that was found
			}
			last = i + 1
			l := loop{name: name}
			for _, t := range text[from:i] {
				if !strings.HasPrefix(t, "j") {
					l.body = append(l.body, t)
				}
			}
			if l.products = products(l.body); l.products == 0 {
				continue
			}
			if n++; n > 1 {
				l.name = fmt.Sprintf("%s#%d", name, n)
			}
			loops = append(loops, l)
		}
		at, text = nil, nil
	}
	for line := range strings.Lines(disassembly) {
		line = strings.TrimRight(line, "\n")
		if m := function.FindStringSubmatch(line); m != nil {
			finish()
			name = m[1]
		} else if m := instruction.FindStringSubmatch(line); m != nil {
			a, err := strconv.ParseUint(m[1], 16, 64)
			if err != nil {
				continue
			}
			code, _, _ := strings.Cut(m[2], "#")
			at, text = append(at, a), append(text, strings.TrimSpace(code))
		}
	}
	finish()
	slices.SortFunc(loops, func(a, b loop) int { return strings.Compare(a.name, b.name) })
	return loops
}

// products counts what a loop's body adds: bytes where it has dot products of bytes, whose scales are then no products of
// their own, else pairs of bf16, else floats.
func products(body []string) int {
	for _, kind := range []struct {
		prefix string
		each   int
	}{{"vpdpbusd", 64}, {"vpmaddubsw", 64}, {"vdpbf16ps", 32}, {"vfmadd", 16}} {
		n := 0
		for _, t := range body {
			if strings.HasPrefix(t, kind.prefix) && strings.Contains(t, "%zmm") {
				n += kind.each
			}
		}
		if n > 0 {
			return n
		}
	}
	return 0
}
