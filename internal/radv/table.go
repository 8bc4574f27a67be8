package radv

import (
	"fmt"
	"strconv"
	"strings"
)

// Slack is how much worse than the table a figure may be, as a share.
const Slack = 0.10

// Row is what is kept of a pipeline.
type Row struct {
	GPU, Kernel  string
	Subgroups    int // that a SIMD unit holds at once: the fewer, the less latency is hidden
	Instructions int
	Throughput   int // the compiler's estimate of clocks for a subgroup where enough others run beside it
}

// Row is what the table keeps of a shader. It fails for one that spills registers or keeps variables in memory.
func (s Shader) Row(gpu, kernel string) (Row, error) {
	for _, never := range []string{"Spilled SGPRs", "Spilled VGPRs", "Scratch size"} {
		n, known := s.statistics[never]
		if !known {
			return Row{}, fmt.Errorf("radv: the driver does not tell %q", never)
		}
		if n != 0 {
			return Row{}, fmt.Errorf("%s %s: %s: %d, and must be 0: too many variables live at once, or an array is indexed by what is known only when it runs", gpu, kernel, never, n)
		}
	}
	r := Row{gpu, kernel, s.statistics["Subgroups per SIMD"], s.statistics["Instructions"], s.statistics["Inverse Throughput"]}
	if r.Subgroups == 0 || r.Instructions == 0 || r.Throughput == 0 {
		return Row{}, fmt.Errorf("radv: the driver does not tell how %s is: %v", kernel, s.statistics)
	}
	return r, nil
}

const columns = "GPU\tkernel\tsubgroups per SIMD\tinstructions\tinverse throughput"

// Table formats rows under a heading.
func Table(heading string, rows []Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n# %s\n", heading, columns)
	for _, r := range rows {
		fmt.Fprintf(&b, "%s\t%s\t%d\t%d\t%d\n", r.GPU, r.Kernel, r.Subgroups, r.Instructions, r.Throughput)
	}
	return b.String()
}

// ParseTable reads what Table wrote.
func ParseTable(text string) (heading string, rows []Row, err error) {
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if h, ok := strings.CutPrefix(line, "# "); ok {
			if h != columns {
				heading = h
			}
			continue
		}
		if line == "" {
			continue
		}
		bad := fmt.Errorf("radv: line %d of the table: %q", i+1, line)
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			return "", nil, bad
		}
		r := Row{GPU: f[0], Kernel: f[1]}
		for j, n := range []*int{&r.Subgroups, &r.Instructions, &r.Throughput} {
			if *n, err = strconv.Atoi(f[2+j]); err != nil || *n <= 0 {
				return "", nil, bad
			}
		}
		rows = append(rows, r)
	}
	return heading, rows, nil
}

// Compare lists where rows are worse than the table by more than Slack, and where the two do not have the same pipelines.
// Better is what became better by as much: worth writing down, so that it is not lost again. Figures of another compiler say
// nothing: without figures only the pipelines are compared.
func Compare(table, rows []Row, figures bool) (worse, better []string) {
	name := func(r Row) string { return r.GPU + " " + r.Kernel }
	accepted := map[string]Row{}
	for _, r := range table {
		accepted[name(r)] = r
	}
	for _, r := range rows {
		was, known := accepted[name(r)]
		delete(accepted, name(r))
		if !known {
			worse = append(worse, name(r)+" is not in the table")
			continue
		}
		if !figures {
			continue
		}
		for _, f := range []struct {
			what      string
			have, was int
			cost      float64 // in times that of the table
		}{
			{"subgroups per SIMD", r.Subgroups, was.Subgroups, float64(was.Subgroups) / float64(r.Subgroups)},
			{"instructions", r.Instructions, was.Instructions, float64(r.Instructions) / float64(was.Instructions)},
			{"inverse throughput", r.Throughput, was.Throughput, float64(r.Throughput) / float64(was.Throughput)},
		} {
			change := fmt.Sprintf("%s: %s: %d, in the table %d", name(r), f.what, f.have, f.was)
			if f.cost > 1+Slack {
				worse = append(worse, change)
			} else if f.cost < 1-Slack {
				better = append(better, change)
			}
		}
	}
	for _, r := range table {
		if _, left := accepted[name(r)]; left {
			worse = append(worse, name(r)+" is in the table and no more")
		}
	}
	return worse, better
}
