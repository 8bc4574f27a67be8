//go:build linux && amd64

package main_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ullm/ullm/internal/e2e"
)

// wine is a Windows of its own, in a directory that is thrown away, with ullm.exe in it.
type wine struct {
	dir     string // for what tests write; a name that is hard on programs
	prefix  string // what Windows calls C:
	program string // ullm.exe, as Windows calls it
	env     []string
	events  string // a file with what the event log gets
}

// patience is for one process under Wine on a busy machine; building for Windows is one.
const patience = 10 * time.Minute

const mingw = "x86_64-w64-mingw32-gcc"

// need skips a test that lacks a tool.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("short: building for Windows takes minutes")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s; scripts/setup brings it", tool)
		}
	}
}

// newWine makes ullm.exe and a Windows for it, with a display. Whatever is started there ends with the test.
func newWine(t *testing.T, display string) *wine {
	t.Helper()
	need(t, "make", mingw, "wine", "wineboot", "wineserver")
	root, dir := e2e.Root(t), t.TempDir()
	w := &wine{dir: filepath.Join(dir, "a b, ü, 模型"), prefix: filepath.Join(dir, "wine"), events: filepath.Join(dir, "events")}
	w.env = []string{"WINEPREFIX=" + w.prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml=", "HOME=" + dir, "LC_ALL=C.UTF-8", display}
	w.program = onZ(w.dir, "ullm.exe")
	if err := os.Mkdir(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	finish(t, "", bounded(t, nil, "make", "-C", root, "windows", "CGO_ENABLED=1", "MINGW="+mingw)).want(t, 0, "")
	copyFile(t, filepath.Join(root, "bin", "ullm.exe"), filepath.Join(w.dir, "ullm.exe"))

	// The first program starts others, which keep what it has open: that must be no pipe that anybody waits for.
	said := create(t, filepath.Join(dir, "said"))
	for _, c := range [][]string{{"wineboot", "--init"}, {"wineserver", "-w"}} {
		boot := bounded(t, w.env, c[0], c[1:]...)
		boot.Stdout, boot.Stderr = said, said
		if err := boot.Run(); err != nil {
			text, _ := os.ReadFile(said.Name())
			t.Fatalf("%v: %v\n%s", c, err, text)
		}
	}
	dll := filepath.Join(w.prefix, "drive_c", "windows", "system32", "bcryptprimitives.dll")
	finish(t, "", bounded(t, nil, mingw, "-shared", "-o", dll, filepath.Join("testdata", "bcryptprimitives.c"), "-ladvapi32")).want(t, 0, "")
	w.stay(t)
	return w
}

// stay runs a shell that waits: this Windows shuts down, with its services, when its last program ends. It starts them,
// and they keep what it has open for ever, so nothing else runs until all is up.
func (w *wine) stay(t *testing.T) {
	t.Helper()
	shell := exec.Command("wine", "cmd.exe", "/c", "echo up & pause")
	shell.Env = environment(append(w.env, "WINEDEBUG=-all,trace+eventlog"))
	shell.Stderr = create(t, w.events)
	end, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = bounded(t, w.env, "wineserver", "--kill").Run()
		end.Close()
		_ = shell.Wait()
		_ = bounded(t, w.env, "wineserver", "--wait").Run()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || strings.TrimSpace(line) != "up" {
		t.Fatalf("the shell says %q, %v", line, err)
	}
}

// command is ullm.exe with arguments.
func (w *wine) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	return bounded(t, append(slices.Clone(w.env), env...), "wine", append([]string{w.program}, args...)...)
}

// invoke runs ullm.exe to its end.
func (w *wine) invoke(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	return finish(t, stdin, w.command(t, env, args...))
}

// start runs `ullm serve` and waits for its model.
func (w *wine) start(t *testing.T, args ...string) *daemon {
	t.Helper()
	return serve(t, w.command(t, nil, append([]string{"serve", "--port", "0"}, args...)...)).ready()
}

// screen starts an X server and returns the variable that names it.
func screen(t *testing.T) string {
	t.Helper()
	need(t, "Xvfb")
	r, number, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "640x480x24", "-nolisten", "tcp")
	x.ExtraFiles = []*os.File{number}
	err = x.Start()
	number.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = x.Process.Kill()
		_ = x.Wait()
	})
	line, err := bufio.NewReader(r).ReadString('\n') // ends when the server does
	if err != nil {
		t.Fatalf("Xvfb: %v", err)
	}
	return "DISPLAY=:" + strings.TrimSpace(line)
}

// bounded is a command that is killed when it takes too long.
func bounded(t *testing.T, env []string, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Env = environment(env)
	return c
}

// environment is ours with changes, and without what would change the programs under test.
func environment(changes []string) []string {
	ours := slices.DeleteFunc(os.Environ(), func(v string) bool {
		for _, prefix := range []string{"ULLM_", "HF_", "WINE", "DISPLAY="} {
			if strings.HasPrefix(v, prefix) {
				return true
			}
		}
		return false
	})
	return append(ours, changes...)
}

// onZ is a path of this side as Windows calls it.
func onZ(parts ...string) string { return "Z:" + strings.ReplaceAll(filepath.Join(parts...), "/", `\`) }

// create makes a file that is closed when the test ends.
func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
