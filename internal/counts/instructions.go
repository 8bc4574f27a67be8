package counts

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Instructions runs the program loads under valgrind's callgrind and returns how many instructions of ours each load took.
// The simulated processor has AVX2 and no AVX-512.
func Instructions(valgrind, loads, scratch string) ([]Figure, error) {
	out := filepath.Join(scratch, "callgrind")
	cmd := exec.Command(valgrind, "--tool=callgrind", "--quiet", "--callgrind-out-file="+out, "--dump-before=main.mark",
		"--compress-strings=no", "--compress-pos=no", loads)
	// What the runtime does at its own times would be counted too: collecting, preempting, moving between threads.
	cmd.Env = append(os.Environ(), "GOGC=off", "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	names, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("counts: %s: %w\n%s", cmd, err, stderr.String())
	}
	var figures []Figure
	for i, name := range strings.Fields(string(names)) {
		// Part 2·i+1 is what preceded the load, 2·i+2 the load.
		f, err := os.Open(fmt.Sprintf("%s.%d", out, 2*i+2))
		if err != nil {
			return nil, err
		}
		n, err := ours(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("counts: what callgrind wrote for %s: %w", name, err)
		}
		figures = append(figures, Figure{name, float64(n)})
	}
	return figures, nil
}

// own are the functions that count, by the beginnings of their names: this module's, and those of the standard library
// that it calls for real work. The scheduler and the collector are left out.
var own = []string{"github.com/ullm/ullm/backends/", "gonum.org/", "slices.", "math.", "runtime.memmove", "runtime.memclrNoHeapPointers"}

// ours sums the instructions that a profile counts in functions of our own, without those that they call.
func ours(profile io.Reader) (int64, error) {
	total, counts, callee := int64(0), false, false
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		line := lines.Text()
		name, isName := strings.CutPrefix(line, "fn=")
		switch {
		case isName:
			counts = false
			for _, prefix := range own {
				counts = counts || strings.HasPrefix(name, prefix)
			}
		case strings.HasPrefix(line, "calls="):
			callee = true // the next line has the cost of the call
		case line != "" && line[0] >= '0' && line[0] <= '9':
			if !counts || callee {
				callee = false
				continue
			}
			_, cost, _ := strings.Cut(line, " ")
			n, err := strconv.ParseInt(cost, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("line %q: %w", line, err)
			}
			total += n
		}
	}
	if total == 0 && lines.Err() == nil {
		return 0, fmt.Errorf("no instructions of our own")
	}
	return total, lines.Err()
}
