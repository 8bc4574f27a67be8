package radv

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	s, err := parse("VGPRs\t24\nSpilled VGPRs\t0\n\nBB0:\n\ts_endpgm\n\n")
	if err != nil || s.statistics["VGPRs"] != 24 || s.Assembly != "BB0:\n\ts_endpgm\n\n" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "VGPRs\t24\n", "VGPRs\n\nBB0:", "VGPRs\t-1\n\nBB0:"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// good is what a driver tells of a shader that passes.
func good() Shader {
	return Shader{map[string]int{"Spilled SGPRs": 0, "Spilled VGPRs": 0, "Scratch size": 0, "Subgroups per SIMD": 16, "Instructions": 100, "Inverse Throughput": 400}, ""}
}

func TestRow(t *testing.T) {
	if r, err := good().Row("GPU", "norm"); err != nil || r != (Row{"GPU", "norm", 16, 100, 400}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, never := range []string{"Spilled SGPRs", "Spilled VGPRs", "Scratch size"} {
		s := good()
		s.statistics[never] = 4
		if _, err := s.Row("GPU", "norm"); err == nil || !strings.Contains(err.Error(), "GPU norm: "+never+": 4") {
			t.Errorf("%s: %v", never, err)
		}
	}
	for name := range good().statistics {
		s := good()
		delete(s.statistics, name)
		if _, err := s.Row("GPU", "norm"); err == nil {
			t.Errorf("passes without %s", name)
		}
	}
}

func TestCompare(t *testing.T) {
	row := func(kernel string, subgroups, instructions, throughput int) Row {
		return Row{"GPU", kernel, subgroups, instructions, throughput}
	}
	table := []Row{row("same", 16, 100, 400), row("a little worse", 16, 100, 400), row("fewer", 16, 100, 400), row("longer", 16, 100, 400),
		row("slower", 16, 100, 400), row("better", 8, 100, 400), row("gone", 1, 1, 1)}
	have := []Row{row("same", 16, 100, 400), row("a little worse", 15, 109, 439), row("fewer", 14, 100, 400), row("longer", 16, 111, 400),
		row("slower", 16, 100, 441), row("better", 16, 80, 300), row("new", 1, 1, 1)}
	pipelines := []string{"GPU new is not in the table", "GPU gone is in the table and no more"}
	worse, better := Compare(table, have, true)
	if want := slices.Concat([]string{"GPU fewer: subgroups per SIMD: 14, in the table 16", "GPU longer: instructions: 111, in the table 100",
		"GPU slower: inverse throughput: 441, in the table 400"}, pipelines); !slices.Equal(worse, want) {
		t.Errorf("worse: %q", worse)
	}
	if len(better) != 3 {
		t.Errorf("better: %q", better)
	}
	if worse, better := Compare(table, have, false); !slices.Equal(worse, pipelines) || better != nil {
		t.Errorf("without figures: %q, %q", worse, better)
	}
}

func TestTable(t *testing.T) {
	rows := []Row{{"A", "linear[1 2 3 4]", 16, 1234, 56789}, {"B", "norm[0 0 0 0]", 1, 2, 3}}
	heading, back, err := ParseTable(strings.ReplaceAll(Table("what, by whom 3", rows), "\n", "\r\n"))
	if err != nil || heading != "what, by whom 3" || !slices.Equal(back, rows) {
		t.Errorf("%q %v %v", heading, back, err)
	}
	for _, bad := range []string{"A\tb\t1\t2\n", "A\tb\t1\t2\tx\n", "A\tb\t1\t0\t2\n", "A\tb\t1\t2\t3\t4\n"} {
		if _, _, err := ParseTable(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestLoop: of two loops in a third the one with more products is found, to its last branch back, without hints.
func TestLoop(t *testing.T) {
	s := Shader{Assembly: `BB0:
	s_mov_b32 s0, 0                       ; be800080
BB1:
	v_dot4_i32_i8 v0, v1, v2, v3          ; 0
	v_dot4_i32_i8 v0, v1, v2, v3          ; 0
	v_dot4_i32_i8 v0, v1, v2, v3          ; 0
BB2:
	v_dot4_i32_i8 v0, v1, v2, v3          ; 0
	s_cbranch_scc1 BB2                    ; 0
BB3:
	s_waitcnt vmcnt(0)                    ; bf8c3f70
	v_dot4c_i32_i8_e32 v0, v1, v2         ; 0
	s_cbranch_scc0 BB5                    ; 0
BB4:
	v_dot4_i32_i8 v9, v1, v2, v3          ; 0
	s_branch BB3                          ; 0
BB5:
	s_branch BB1                          ; 0
	v_dot4_i32_i8 v0, v1, v2, v3          ; 0
	s_endpgm                              ; 0
`}
	want := []string{"v_dot4c_i32_i8_e32 v0, v1, v2", "s_cbranch_scc0 BB5", "v_dot4_i32_i8 v9, v1, v2, v3", "s_branch BB3"}
	if have := s.Loop("v_dot4"); !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
	if have := s.Loop("v_fma"); have != nil {
		t.Errorf("%q", have)
	}
}
