// Package lint holds the rules of the code base that a compiler does not know, as tests.
package lint

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/ullm/ullm"

// root is the repository.
const root = "../.."

// importRules say what a package, or a tree of packages ("…"), must not import, and why.
var importRules = []struct{ from, not, why string }{
	{"tensor", "github.com/ullm/ullm/…", "the engine's core stands alone: graphs and devices know nothing of models"},
	{"tensor", "!std", "tensor imports the standard library only, so that anyone can build on it"},
	{"shaders", "!std", "shaders are embedded files and need nothing"},
	{"tensor/quant", "github.com/ullm/ullm/model/…", "formats know nothing of models"},
	{"backends/…", "github.com/ullm/ullm/model/…", "a backend runs graphs, whatever model built them"},
	{"backends/…", "github.com/ullm/ullm/sched", "a backend knows nothing of requests"},
	{"model/…", "github.com/ullm/ullm/backends/…", "models are data and graphs; only package ullm opens devices"},
	{"model/…", "github.com/ullm/ullm/sched", "a model does not schedule itself"},
	{"sched", "github.com/ullm/ullm/backends/…", "the scheduler sees steps, never devices"},
	{"sched", "github.com/ullm/ullm/tensor/quant", "the scheduler never looks into weights"},
	{"sched", "github.com/ullm/ullm/server/…", "imports point from the server to the scheduler"},
	{"bench/…", "github.com/ullm/ullm/backends/…", "benchmarks reach devices through package ullm only"},
	{"server/…", "github.com/ullm/ullm/backends/…", "the server reaches devices through package ullm only"},
	{"backends/cpu/…", "github.com/ullm/ullm/backends/ref", "the fast engine shares no code with its oracle"},
	{"backends/ref", "github.com/ullm/ullm/backends/cpu/…", "the oracle shares no code with what it judges"},
}

type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	GoFiles    []string
	CgoFiles   []string
	Dir        string
}

// packages lists the module's packages without their tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Standard,Imports,GoFiles,CgoFiles,Dir", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func matches(pattern, path string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/…"); ok {
		return path == tree || strings.HasPrefix(path, tree+"/")
	}
	return path == pattern
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		for _, rule := range importRules {
			if !matches(module+"/"+rule.from, p.ImportPath) {
				continue
			}
			for _, imported := range p.Imports {
				bad := matches(rule.not, imported)
				if rule.not == "!std" {
					first, _, _ := strings.Cut(imported, "/")
					bad = strings.Contains(first, ".")
				}
				if bad {
					t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule.why)
				}
			}
		}
	}
}

// maxLines is how long a hand-written file may be before it must be looked at: it probably holds more than one idea.
const maxLines = 520

// longFiles are those that were looked at, with the reason.
var longFiles = map[string]string{}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// sourceFiles lists the hand-written files of the repository that end in one of the suffixes.
func sourceFiles(t *testing.T, suffixes ...string) map[string]string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range strings.Fields(string(out)) {
		for _, suffix := range suffixes {
			if !strings.HasSuffix(name, suffix) {
				continue
			}
			b, err := os.ReadFile(filepath.Join(root, name))
			if os.IsNotExist(err) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !generated.Match(b[:min(len(b), 2000)]) {
				files[name] = string(b)
			}
		}
	}
	return files
}

func TestFileLengths(t *testing.T) {
	for name, text := range sourceFiles(t, ".go", ".py", ".js", ".c", ".h", ".comp", ".cu") {
		n := strings.Count(text, "\n")
		switch why, known := longFiles[name]; {
		case n > maxLines && !known:
			t.Errorf("%s has %d lines: does it hold one idea?", name, n)
		case n <= maxLines && known:
			t.Errorf("%s has only %d lines; take it off the list (%s)", name, n, why)
		}
	}
}

// patterns that must not stand in hand-written Go outside tests.
var patterns = []struct {
	re    *regexp.Regexp
	where string // files it is allowed in
	why   string
}{
	{regexp.MustCompile(`(?m)^func init\(`), `^$`, "nothing happens by being imported"},
	{regexp.MustCompile(`os\.(Getenv|LookupEnv)\b`), `^(cmd/|open\.go|scripts/)`, "the environment is read at the edge, not deep inside"},
	{regexp.MustCompile(`runtime\.SetFinalizer|runtime\.AddCleanup`), `^$`, "whoever makes a thing closes it"},
	{regexp.MustCompile(`\bos\.Exit\(`), `^(cmd/|bench/(peers|serving)/|.*/gen/)`, "only the command ends the process"},
}

func TestPatterns(t *testing.T) {
	for name, text := range sourceFiles(t, ".go") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, p := range patterns {
			if p.re.MatchString(text) && !regexp.MustCompile(p.where).MatchString(name) {
				t.Errorf("%s matches %s: %s", name, p.re, p.why)
			}
		}
	}
}
