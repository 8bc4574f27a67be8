// Package counts guards the speed of the CPU's kernels by figures that do not depend on how busy a machine is: simulated
// instructions and simulated cycles, beside a committed table.
package counts

import (
	"fmt"
	"strconv"
	"strings"
)

// Figure is what one thing costs.
type Figure struct {
	Name string
	Cost float64
}

// Slack is how much worse than the table a figure may be, as a share: what compilers and reorderings move by.
const Slack = 0.10

// Table formats figures under a heading that says what they are and with which tool they were taken.
func Table(heading string, figures []Figure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", heading)
	for _, f := range figures {
		fmt.Fprintf(&b, "%s\t%s\n", f.Name, strconv.FormatFloat(f.Cost, 'f', digits(f.Cost), 64))
	}
	return b.String()
}

// digits keeps three digits of small costs, and whole numbers of large ones.
func digits(cost float64) int {
	if cost < 1000 {
		return 2
	}
	return 0
}

// ParseTable reads what Table wrote.
func ParseTable(text string) (heading string, figures []Figure, err error) {
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		if h, ok := strings.CutPrefix(line, "# "); ok {
			heading = h
			continue
		}
		if line == "" {
			continue
		}
		name, cost, _ := strings.Cut(line, "\t")
		c, err := strconv.ParseFloat(cost, 64)
		if err != nil || c <= 0 {
			return "", nil, fmt.Errorf("counts: line %d of the table: %q", i+1, line)
		}
		figures = append(figures, Figure{name, c})
	}
	return heading, figures, nil
}

// Compare lists where figures are worse than the table by more than Slack, and where the two do not have the same things.
// Better is what became better by as much: worth writing down, so that it is not lost again.
func Compare(table, figures []Figure) (worse, better []string) {
	accepted := map[string]float64{}
	for _, f := range table {
		accepted[f.Name] = f.Cost
	}
	for _, f := range figures {
		was, known := accepted[f.Name]
		delete(accepted, f.Name)
		change := fmt.Sprintf("%s: %.6g, in the table %.6g (%+.1f %%)", f.Name, f.Cost, was, 100*(f.Cost/was-1))
		switch {
		case !known:
			worse = append(worse, f.Name+" is not in the table")
		case f.Cost > was*(1+Slack):
			worse = append(worse, change)
		case f.Cost < was*(1-Slack):
			better = append(better, change)
		}
	}
	for _, f := range table {
		if _, left := accepted[f.Name]; left {
			worse = append(worse, f.Name+" is in the table and no more")
		}
	}
	return worse, better
}
