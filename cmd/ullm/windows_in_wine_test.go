//go:build linux && amd64

package main_test

import (
	"bufio"
	"debug/pe"
	endian "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestWindows runs ullm.exe under Wine.
func TestWindows(t *testing.T) {
	w := newWine(t, screen(t)) // Wine shows Vulkan where there is a screen, and chooses when it starts
	model := filepath.Join(w.dir, "the model ñ")
	if err := os.CopyFS(model, os.DirFS(talk(t))); err != nil {
		t.Fatal(err)
	}
	talk := onZ(model)

	t.Run("imports", func(t *testing.T) { // nothing that a Windows may lack
		f, err := pe.Open(filepath.Join(w.dir, "ullm.exe"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		symbols, err := f.ImportedSymbols()
		libraries := map[string]bool{}
		for _, s := range symbols {
			_, library, _ := strings.Cut(s, ":")
			libraries[strings.ToLower(library)] = true
		}
		if err != nil || !maps.Equal(libraries, map[string]bool{"kernel32.dll": true, "msvcrt.dll": true}) {
			t.Errorf("%v, %v", libraries, err)
		}
	})
	t.Run("version", func(t *testing.T) { w.invoke(t, "", nil, "version").want(t, 0, " windows/amd64 ") })
	t.Run("devices", func(t *testing.T) {
		r := w.invoke(t, "", []string{"WINEDLLOVERRIDES=vulkan-1="}, "devices")
		r.want(t, 0, "cpu     0: ")
		r.want(t, 0, "vulkan  not usable: vulkan: no Vulkan: the loader (libvulkan.so.1 or vulkan-1.dll) is not installed")
		w.invoke(t, "", []string{"VK_ICD_FILENAMES=/none"}, "devices").want(t, 0, "vulkan  not usable: ")
		w.invoke(t, "", nil, "devices").want(t, 0, "vulkan  0: ")
	})
	t.Run("answers", func(t *testing.T) {
		w.invoke(t, "What is two plus two?\r\n", nil, "run", talk, "--temperature", "0").want(t, 0, "Two plus two is four.\n")
		w.invoke(t, "", nil, "run", talk, "--temperature", "0", "Hello!").want(t, 0, "Hello! How can I help you?\n")
		w.invoke(t, "", nil, "run", onZ(w.dir, "no such modèl"), "Hello!").want(t, 1, "no such modèl")
	})
	t.Run("cpu", func(t *testing.T) { w.serves(t, 500, talk, "--backend", "cpu") })
	t.Run("vulkan", func(t *testing.T) {
		w.serves(t, 50, talk, "--backend", "vulkan")
		caches := filepath.Join(w.prefix, "drive_c", "users", "*", "AppData", "Local", "ullm", "vulkan-*.cache")
		if found, err := filepath.Glob(caches); len(found) != 1 {
			t.Errorf("pipeline caches: %v, %v", found, err)
		}
	})
	t.Run("twice", func(t *testing.T) {
		d := w.start(t, talk, "--backend", "ref", "--kv-cache-tokens", "65536", "--rope-scaling", longer)
		s := d.stream(60_000)
		defer s.resp.Body.Close()
		d.signal(os.Interrupt)
		d.draining()
		d.signal(os.Interrupt)
		if code := d.exit(); code != 130 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("port", func(t *testing.T) {
		busy, port := listen(t)
		defer busy.Close()
		w.invoke(t, "", nil, "serve", talk, "--port", port).want(t, 1, "cannot listen")
	})
	t.Run("hub", func(t *testing.T) {
		home := filepath.Join(w.dir, "hüb cache")
		env := []string{"HF_ENDPOINT=" + hub(t), "HF_HOME=" + onZ(home)}
		w.invoke(t, "", env, "pull", "tiny/talk").want(t, 0, `\snapshots\`)
		w.invoke(t, "", env, "pull", "tiny/talk").want(t, 0, `\snapshots\`) // locks, references and files are replaced
		w.invoke(t, "", []string{env[1], "HF_HUB_OFFLINE=1"}, "run", "tiny/talk", "--temperature", "0", "Hello!").want(t, 0, "Hello! How can I help you?\n")
	})
	t.Run("large file", func(t *testing.T) {
		large := filepath.Join(w.dir, "large")
		enlarge(t, model, large)
		w.invoke(t, "", nil, "run", onZ(large), "--temperature", "0", "Hello!").want(t, 0, "Hello! How can I help you?\n")
	})
	t.Run("service", func(t *testing.T) { w.service(t, talk) })
}

// serves has two chats at once, then two streams of some length that Ctrl-C must not cut.
func (w *wine) serves(t *testing.T, length int, args ...string) {
	d := w.start(t, args...)
	var chats sync.WaitGroup
	for question, want := range map[string]string{"Hello!": "Hello! How can I help you?", "What is two plus two?": "Two plus two is four."} {
		chats.Go(func() {
			if got, err := chatStream(d.url, question); got != want || err != nil {
				t.Errorf("%q is answered %q, %v", question, got, err)
			}
		})
	}
	chats.Wait()
	streams := []*answer{d.stream(length), d.stream(length)}
	d.signal(os.Interrupt)
	for _, s := range streams {
		if last := s.end(); s.n != length+1 || !strings.Contains(last, `"finish_reason":"length"`) {
			t.Errorf("%d events, the last is %s", s.n, last)
		}
	}
	d.stopped(0)
}

// chatStream asks and puts the pieces of the answer together.
func chatStream(url, question string) (string, error) {
	body := fmt.Sprintf(`{"messages":[{"role":"user","content":%q}],"temperature":0,"max_tokens":96,"stream":true}`, question)
	resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var text strings.Builder
	for events := bufio.NewScanner(resp.Body); events.Scan(); {
		data, ok := strings.CutPrefix(events.Text(), "data: ")
		if data == "[DONE]" {
			return text.String(), nil
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return "", err
		}
		for _, c := range chunk.Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	return text.String(), io.ErrUnexpectedEOF
}

// enlarge copies a model so that all its tensors lie beyond 5 GiB, behind a tensor that nobody reads and that takes no
// room on the disk.
func enlarge(t *testing.T, from, to string) {
	t.Helper()
	const padding = 5 << 30
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, "model.safetensors")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := endian.LittleEndian.Uint64(old)
	type tensor struct {
		Dtype   string   `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	var tensors map[string]tensor
	if err := json.Unmarshal(old[8:8+n], &tensors); err != nil {
		t.Fatal(err)
	}
	delete(tensors, "__metadata__")
	for name, x := range tensors {
		x.Offsets[0] += padding
		x.Offsets[1] += padding
		tensors[name] = x
	}
	tensors["padding"] = tensor{"U8", []int64{padding}, [2]int64{0, padding}}
	header, err := json.Marshal(tensors)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	start := endian.LittleEndian.AppendUint64(nil, uint64(len(header)))
	start = append(start, header...)
	if _, err = f.Write(start); err == nil {
		_, err = f.WriteAt(old[8+n:], int64(len(start))+padding)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// service installs ullm.exe as a service, stops it while it answers, and lets it fail.
func (w *wine) service(t *testing.T, model string) {
	sc := func(args ...string) string {
		t.Helper()
		r := finish(t, "", bounded(t, w.env, "wine", append([]string{"sc.exe"}, args...)...))
		if r.code != 0 {
			t.Fatalf("sc %q: exit code %d, %s%s", args, r.code, r.stdout, r.stderr)
		}
		return r.stdout
	}
	state := func(want string) (status string) { // waits for it
		t.Helper()
		for deadline := time.Now().Add(patience); !strings.Contains(status, want); {
			if time.Now().After(deadline) {
				t.Fatalf("the service never was %s:\n%s", want, status)
			}
			status = sc("query", "ullm")
		}
		return status
	}
	field := func(status, name string) (n int64) {
		t.Helper()
		m := regexp.MustCompile(name + ` *: *(\w+)`).FindStringSubmatch(status)
		if m == nil {
			t.Fatalf("there is no %s in\n%s", name, status)
		}
		n, err := strconv.ParseInt(m[1], 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	free, port := listen(t)
	free.Close()
	log := filepath.Join(w.dir, "log.txt")
	line := fmt.Sprintf(`"%s" serve "%s" --backend cpu --port %s --drain-timeout 10m --log-file "%s"`, w.program, model, port, onZ(log))
	sc("create", "ullm", "binPath=", line)
	sc("start", "ullm")
	ready := func() bool {
		resp, err := http.Get("http://127.0.0.1:" + port + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(sc("query", "ullm"))
		}
	}
	state("RUNNING")

	// An answer that nobody reads yet keeps the service from ending: more than the connection's buffers take.
	body := `{"prompt":["a","b","c","d"],"n":4,"ignore_eos":true,"stream":true,"logprobs":20,"max_tokens":900}`
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(1 << 10)
	fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil { // it has begun
		t.Fatal(err)
	}
	sc("stop", "ullm")
	stopping := state("STOP_PENDING")
	if hint := field(stopping, "WAIT_HINT"); hint != 10_000 {
		t.Errorf("the hint is %d ms", hint)
	}
	first := field(stopping, "CHECKPOINT")
	for field(state("STOP_PENDING"), "CHECKPOINT") <= first {
	}
	_ = conn.(*net.TCPConn).SetReadBuffer(1 << 20)
	if n, err := io.Copy(io.Discard, conn); n < 8<<20 || err != nil {
		t.Errorf("the rest of the answer has %d bytes, %v", n, err)
	}
	if ended := state("STOPPED"); field(ended, "WIN32_EXIT_CODE") != 0 || field(ended, "SERVICE_EXIT_CODE") != 0 {
		t.Error(ended)
	}
	said, err := os.ReadFile(log)
	if err != nil || !freedLine.MatchString(strings.TrimSpace(string(said))) {
		t.Errorf("the log says, %v:\n%s", err, said)
	}

	// Without a log file the event log has the lines; the manager has the exit code.
	sc("delete", "ullm")
	sc("create", "ullm", "binPath=", fmt.Sprintf(`"%s" serve "%s"`, w.program, onZ(w.dir, "nothing")))
	sc("start", "ullm")
	if ended := state("STOPPED"); field(ended, "SERVICE_EXIT_CODE") != 1 {
		t.Error(ended)
	}
	sc("delete", "ullm")
	if events, err := os.ReadFile(w.events); err != nil || !strings.Contains(string(events), `ReportEventW L"ullm: `) {
		t.Errorf("the event log got, %v:\n%s", err, events)
	}
}

// listen takes a port.
func listen(t *testing.T) (l net.Listener, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return l, port
}
