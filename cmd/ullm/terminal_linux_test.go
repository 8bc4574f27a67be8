package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ullm/ullm/internal/e2e"
)

// prompt is what the program shows when it takes a line, in the way that only it shows it.
const prompt = "\x1b[6n> "

// terminal is a program on a terminal of its own.
type terminal struct {
	t   *testing.T
	cmd *exec.Cmd
	pty *os.File

	mu   sync.Mutex
	text bytes.Buffer
	seen int // of text, by expect
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pty.Close() })
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	x := &terminal{t: t, cmd: command(t, []string{"TERM=xterm"}, args...), pty: pty}
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = side, side, side
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 4096)
		told := 0
		for {
			n, err := pty.Read(b)
			x.mu.Lock()
			x.text.Write(b[:n])
			asked := bytes.Count(x.text.Bytes(), []byte("\x1b[6n")) // where is the cursor? A read may end within the question
			x.mu.Unlock()
			for ; told < asked; told++ {
				_, _ = pty.WriteString("\x1b[24;1R")
			}
			if err != nil {
				return // the program has ended
			}
		}
	}()
	return x
}

func (x *terminal) shows() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.String()
}

// expect waits for text behind what was expected before.
func (x *terminal) expect(text string) {
	x.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		shown := x.shows()
		if i := strings.Index(shown[x.seen:], text); i >= 0 {
			x.seen += i + len(text)
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("no %q behind %q in %q", text, shown[:x.seen], shown[x.seen:])
		}
	}
}

func (x *terminal) types(text string) {
	x.t.Helper()
	if _, err := x.pty.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

func (x *terminal) exit(code int) {
	x.t.Helper()
	_ = x.cmd.Wait()
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("exit code %d, want %d; the terminal shows %q", got, code, x.shows())
	}
}

func TestChatOnTerminal(t *testing.T) {
	x := onTerminal(t, "run", talk(t), "--temperature", "0")
	x.expect("talk on ")
	x.expect(prompt)
	x.types("Hello!\r")
	x.expect("Hello! How can I help you?")
	x.expect(prompt)
	x.types("Thanks!\r")
	x.expect("You are welcome.") // the conversation is known
	x.expect(prompt)
	x.types("/clear\r")
	x.expect(prompt)
	x.types("What is two plus two?\r")
	x.expect("Two plus two is four.")
	x.expect(prompt)
	x.types("\x04") // Ctrl-D
	x.exit(0)
}

// TestThinkingOnTerminal shows thinking, dim, to those who do not hide it.
func TestThinkingOnTerminal(t *testing.T) {
	const answer = "Hello! How can I help you?"
	model := e2e.Load(t, "think").Path
	dim := func(args ...string) bool {
		x := onTerminal(t, append([]string{"run", model, "--temperature", "0", "Hello!"}, args...)...)
		x.expect(answer)
		shown := x.shows()
		x.exit(0)
		return strings.Contains(shown[:strings.Index(shown, answer)], "\x1b[2m")
	}
	if !dim("--think") || dim("--think", "--hide-thinking") || dim("--no-think") {
		t.Error("thinking is not shown when asked for, or shown when not")
	}
}

// endless is a copy of a model whose answers do not end: no token stops them, and their context holds more than a test
// has time for.
func endless(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(talk(t))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.json", "generation_config.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b = regexp.MustCompile(`"eos_token_id": (\d+|\[[^]]*\])`).ReplaceAll(b, []byte(`"eos_token_id": 383`))
		b = regexp.MustCompile(`"max_position_embeddings": \d+`).ReplaceAll(b, []byte(`"max_position_embeddings": 131072`))
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInterruptOnTerminal stops answers with Ctrl-C, and at an empty prompt the program.
func TestInterruptOnTerminal(t *testing.T) {
	x := onTerminal(t, "run", endless(t), "--temperature", "0", "--backend", "ref")
	for range 2 {
		x.expect(prompt)
		x.types("Hello!\r")
		x.expect("Hello! How can I help you?") // and more is to come
		x.types("\x03")
		x.expect(prompt)
		x.types("/clear\r")
	}
	x.expect(prompt)
	x.types("never mind\x03") // forgets the line
	x.expect(prompt)
	x.types("\x03")
	x.exit(0)
}

// TestTerminateOnTerminal ends the program in the middle of an answer.
func TestTerminateOnTerminal(t *testing.T) {
	x := onTerminal(t, "run", endless(t), "--temperature", "0", "--backend", "ref", "Hello!")
	x.expect("Hello! How can I help you?")
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.exit(0)
}

func TestTerminateAtPrompt(t *testing.T) {
	x := onTerminal(t, "run", talk(t))
	x.expect(prompt)
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.exit(0)
}
