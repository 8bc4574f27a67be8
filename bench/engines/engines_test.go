package engines

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// program writes a shell script that stands for a peer's program.
func program(t *testing.T, dir, name, text string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs sh")
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUllm(t *testing.T) {
	u := Ullm{Model: "m", Level: "avx2", Program: program(t, t.TempDir(), "ullm", `
case "$*" in
"bench m --backend cpu --threads 3 --reps 1 --json -p 512 -n 8 --batch 1,8 --max-bs 8 --context-len 1024 --kv-dtype q8_0 --cpu-level avx2") ;;
*) echo "arguments: $*" >&2; exit 2 ;;
esac
cat <<E
{"results": [{"test": "pp512", "batch": 1, "tokens_per_second": {"median": 100}, "flops_fraction": 0.5},
 {"test": "tg8", "batch": 1, "tokens_per_second": {"median": 10}, "bandwidth_fraction": 0.9},
 {"test": "tg8", "batch": 8, "tokens_per_second": {"median": 60}}]}
E
`)}
	f := Figures{}
	test := Test{Prompt: 512, Generate: 8, Batches: []int{1, 8}, KV: "q8_0", Threads: 3, Under: []string{"env"}}
	if err := u.Measure(t.Context(), test, f); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]float64{"pp512": 100, "tg ×01": 10, "tg ×08": 60, Share("pp512", "arithmetic"): 0.5, Share("tg ×01", "bandwidth"): 0.9} {
		if f.Median(key) != want {
			t.Errorf("%s is %g, want %g", key, f.Median(key), want)
		}
	}
	test.Threads = 4
	if err := u.Measure(t.Context(), test, f); err == nil || !strings.Contains(err.Error(), "arguments: bench m") {
		t.Errorf("error %v, want what the program complained about", err)
	}
}

func TestLlama(t *testing.T) {
	l := Llama{Dir: t.TempDir(), Model: "m.gguf", State: "/states"}
	program(t, l.Dir, "llama-bench", `case "$*" in
*"-p 512 -n 0"*) echo '[{"avg_ts": 50}]' ;;
*--version*) echo "version: 9 (abc)" >&2; echo "built with love" >&2 ;;
*) echo '[]' ;;
esac`)
	program(t, l.Dir, "llama-batched-bench", `echo "loading"
case "$*" in
*"-npp 16 -ntg 8 -npl 1,8 -c 448"*) ;;
*) exit 3 ;;
esac
echo '{"pl": 1, "speed_tg": 7.5}'
echo '{"pl": 8, "speed_tg": 30}'`)
	l.Python = program(t, l.Dir, "python", `
[ "$1" = -c ] && [ "$5" = m.gguf ] || exit 3
case "$3 $6" in
'context {"depth":4096,"generate":8,"kv":"bf16","prefill":true,"state":"/states/llama-m.gguf-bf16-4096.state","threads":2}') ;;
'deep {"depth":4096,"generate":8,"kv":"bf16","prefill":true,"state":"/states/llama-m.gguf-bf16-4096.state","threads":2}') echo '{"decode": 5, "prefill": 40}' ;;
*) echo "$3 $6" >&2; exit 4 ;;
esac`)
	f := Figures{}
	if err := l.Measure(t.Context(), Test{Prompt: 512, Generate: 8, Batches: []int{1, 8}, Threads: 2}, f); err != nil {
		t.Fatal(err)
	}
	deep := Test{Prompt: 4096, Generate: 8, Batches: []int{1}, Depth: 4096, KV: "bf16", Threads: 2}
	if err := l.Prepare(t.Context(), deep); err != nil {
		t.Fatal(err)
	}
	if err := l.Measure(t.Context(), deep, f); err != nil {
		t.Fatal(err)
	}
	if f.Median("pp512") != 50 || f.Median("pp4096") != 40 || f.Median("tg ×08") != 30 || !slices.Equal(f["tg ×01"], []float64{7.5, 5}) {
		t.Errorf("%v", f)
	}
	if err := l.Measure(t.Context(), Test{Prompt: 256, Threads: 2}, f); err == nil {
		t.Error("an empty answer is taken")
	}
	if v := l.Version(t.Context()); v != "9 (abc)" {
		t.Errorf("version %q", v)
	}
}

func TestParts(t *testing.T) {
	parts := Test{Prompt: 512, Generate: 8, Batches: []int{1}, Threads: 2}.Parts()
	if p := parts["prefill"]; len(parts) != 2 || p.Prompt != 512 || p.Generate != 0 || len(p.Batches) != 0 || p.Threads != 2 {
		t.Errorf("%+v", parts)
	}
	if d := parts["decode"]; d.Prompt != 0 || d.Generate != 8 || len(d.Batches) != 1 {
		t.Errorf("%+v", parts)
	}
	if parts := (Test{Prompt: 512}).Parts(); len(parts) != 1 {
		t.Errorf("%+v", parts)
	}
}

func TestOpenVINO(t *testing.T) {
	o := OpenVINO{Model: "exported", Precision: "f32", Python: program(t, t.TempDir(), "python", `
[ "$1" = -c ] && [ "$3" = steps ] && [ "$4" = exported ] || exit 3
case "$5" in *'"precision":"f32"'*) ;; *) exit 4 ;; esac
echo '{"prefill": 400, "decode": {"1": 20, "8": 90}}'`)}
	f := Figures{}
	if err := o.Measure(t.Context(), Test{Prompt: 512, Generate: 8, Batches: []int{1, 8}, Threads: 2}, f); err != nil {
		t.Fatal(err)
	}
	if f.Median("pp512") != 400 || f.Median("tg ×01") != 20 || f.Median("tg ×08") != 90 {
		t.Errorf("%v", f)
	}
}

func TestServer(t *testing.T) {
	u := Ullm{Model: "m", Program: program(t, t.TempDir(), "ullm", "echo no such model >&2; exit 1")}
	if _, err := u.Serve(t.Context(), Serving{Port: 1}); err == nil || !strings.Contains(err.Error(), "no such model") {
		t.Errorf("error %v, want what the server said before it ended", err)
	}
}

func TestMedian(t *testing.T) {
	f := Figures{"a": {3, 1, 2}, "b": {4, 1}}
	if f.Median("a") != 2 || f.Median("b") != 2.5 || f.Median("c") != 0 {
		t.Errorf("%g %g %g", f.Median("a"), f.Median("b"), f.Median("c"))
	}
	if !slices.Equal(f["a"], []float64{3, 1, 2}) {
		t.Error("a median sorts the readings")
	}
}
