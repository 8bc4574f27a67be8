package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogFile: the file gets all that stderr would have got, after what it held.
func TestLogFile(t *testing.T) {
	dir := t.TempDir()
	file, missing := filepath.Join(dir, "a log.txt"), filepath.Join(dir, "no-model")
	for _, r := range []result{
		invoke(t, "", nil, "tokenize", missing, "x", "--log-file", file),
		invoke(t, "", []string{"ULLM_LOG_FILE=" + file}, "tokenize", missing, "x"),
	} {
		if r.code != 1 || r.stderr != "" {
			t.Errorf("exit code %d, stderr %q", r.code, r.stderr)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "no-model") != 2 {
		t.Errorf("the file holds %q, %v", b, err)
	}
	invoke(t, "", nil, "tokenize", missing, "x", "--log-file", dir).want(t, 2, "--log-file")
}
