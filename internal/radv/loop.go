package radv

import (
	"regexp"
	"slices"
	"strings"
)

var (
	label  = regexp.MustCompile(`^(BB\d+):`)
	branch = regexp.MustCompile(`^s_c?branch\S*\s+(BB\d+)`)
)

// hints are what the hardware consumes beside its instructions: they order, and do nothing.
var hints = []string{"s_waitcnt", "s_clause", "s_nop", "s_delay_alu", "s_inst_prefetch", "s_set_inst_prefetch", "s_code_end"}

// Loop is the innermost loop that has most instructions beginning with prefix, as its instructions without hints; nil: none
// has any.
func (s Shader) Loop(prefix string) []string {
	var text []string
	at := map[string]int{} // labels
	for line := range strings.Lines(s.Assembly) {
		line = strings.TrimSpace(line)
		if m := label.FindStringSubmatch(line); m != nil {
			at[m[1]] = len(text)
			continue
		}
		code, _, _ := strings.Cut(line, ";")
		code = strings.TrimSpace(code)
		name, _, _ := strings.Cut(code, " ")
		if code != "" && !slices.ContainsFunc(hints, func(h string) bool { return strings.HasPrefix(name, h) }) {
			text = append(text, code)
		}
	}
	// A loop is from where the last branch backwards to its beginning goes, to that branch.
	ends := map[int]int{}
	for i, code := range text {
		if m := branch.FindStringSubmatch(code); m != nil {
			if to, known := at[m[1]]; known && to <= i {
				ends[to] = i + 1
			}
		}
	}
	var best []string
	most := 0
	for from, end := range ends {
		inner := true
		for f, e := range ends {
			inner = inner && (f == from || f < from || e > end)
		}
		n := 0
		for _, code := range text[from:end] {
			if strings.HasPrefix(code, prefix) {
				n++
			}
		}
		if inner && n > most {
			best, most = text[from:end], n
		}
	}
	return best
}
