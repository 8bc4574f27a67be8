package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/flock"
	"go.uber.org/goleak"
)

// TestMain is also the second process of TestTwoProcesses.
func TestMain(m *testing.M) {
	if arg := os.Getenv("ULLM_TEST_HUB_CHILD"); arg != "" {
		var o struct{ Endpoint, CacheDir, Ref string }
		if err := json.Unmarshal([]byte(arg), &o); err != nil {
			panic(err)
		}
		path, err := resolve(context.Background(), o.Ref, Options{Endpoint: o.Endpoint, CacheDir: o.CacheDir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// gets counts the fetches of each stored file.
func gets(requests []fakeRequest) map[string]int {
	n := map[string]int{}
	for _, r := range requests {
		if r.method == http.MethodGet && strings.HasPrefix(r.path, "/store/") {
			n[r.path]++
		}
	}
	return n
}

func TestTwoProcesses(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	arg, _ := json.Marshal(map[string]string{"Endpoint": o.Endpoint, "CacheDir": o.CacheDir, "Ref": "o/m"})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), exe)
			cmd.Env = append(os.Environ(), "ULLM_TEST_HUB_CHILD="+string(arg))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
				return
			}
			checkSnapshot(t, strings.TrimSpace(string(out)), repo, modelFiles)
		})
	}
	wg.Wait()
	for path, n := range gets(h.seen()) {
		if n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
}

func TestTwoGoroutines(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dir, err := resolve(t.Context(), "o/m", o)
			if err != nil {
				t.Error(err)
				return
			}
			checkSnapshot(t, dir, repo, modelFiles)
		})
	}
	wg.Wait()
	for path, n := range gets(h.seen()) {
		if n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
}

// Two files of one repository can be the same blob.
func TestSameContentTwice(t *testing.T) {
	h := newFakeHub(t)
	same := randomBytes(1, 10000)
	repo := h.add("o/m", map[string][]byte{"config.json": []byte("{}"), "a.safetensors": same, "b.safetensors": same})
	dir, err := resolve(t.Context(), "o/m", h.options(t))
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, []string{"a.safetensors", "b.safetensors", "config.json"})
	for path, n := range gets(h.seen()) {
		if n != 1 {
			t.Errorf("%s was fetched %d times", path, n)
		}
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	on func(line string)
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on != nil {
		s.on(string(p))
	}
	return s.b.Write(p)
}

func TestWaitForLock(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	if _, err := resolve(t.Context(), "o/m", o, func(s *session) { // makes the folders, leaves one file out
		s.Accept = func([]byte) error { return errors.New("stop") }
	}); err == nil {
		t.Fatal("Accept's error was lost")
	}
	path := newCache(o.CacheDir, "o/m").lock(repo.files[shard1].etag())
	lock := flock.New(path)
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	waiting := make(chan struct{})
	var once sync.Once
	o.Log = slog.New(slog.NewTextHandler(&syncBuffer{on: func(line string) {
		if strings.Contains(line, "waiting for another download") && strings.Contains(line, shard1) {
			once.Do(func() { close(waiting) })
		}
	}}, nil))

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-waiting; cancel() }()
	if _, err := resolve(ctx, "o/m", o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: %v", err)
	}

	waiting, once = make(chan struct{}), sync.Once{}
	go func() { <-waiting; _ = lock.Unlock() }()
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
}

// Where locks do not work, two downloads of the same file meet in one partial
// file and must both end well.
func TestWithoutLocks(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := newSession(o)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.close()
			p := &pull{session: s, cache: newCache(o.CacheDir, "o/m"), ref: Ref{Repo: "o/m"}, commit: repo.commit, meter: &meter{}}
			r, err := p.stat(t.Context(), shard1)
			if err == nil {
				err = os.MkdirAll(p.cache.dir+"/blobs", 0o777)
			}
			if err == nil {
				err = p.download(t.Context(), r, p.cache.blob(r.etag))
			}
			if err == nil {
				err = p.link(r.etag, shard1, true)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(newCache(o.CacheDir, "o/m").pointer(repo.commit, shard1))
	if err != nil || !bytes.Equal(b, repo.files[shard1].data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
