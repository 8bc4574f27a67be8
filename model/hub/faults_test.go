package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

func (h *fakeHub) partial(o Options, repo *fakeRepo, model, file string) string {
	return newCache(o.CacheDir, model).blob(repo.files[file].etag()) + ".incomplete"
}

// cut answers with the rest of the file from the byte asked for, says how long
// it is, and breaks the connection after n bytes.
func cut(w http.ResponseWriter, r *http.Request, data []byte, n int) {
	from := 0
	if rng := r.Header.Get("Range"); rng != "" {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(rng, "bytes="), "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(data[from:min(from+n, len(data))])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestCutConnections(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	for seed := range uint64(5) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var cuts atomic.Int32
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if data, ok := h.stored(r); ok && r.Method == http.MethodGet && r.Host == strings.TrimPrefix(h.cdn.URL, "http://") && cuts.Add(1) <= 12 {
				h.mu.Lock()
				n := rnd.IntN(200 << 10)
				h.mu.Unlock()
				cut(w, r, data, n)
			}
			return false
		})
		o := h.options(t)
		dir, err := resolve(t.Context(), "o/m", o)
		if err != nil {
			t.Fatal(err)
		}
		checkSnapshot(t, dir, repo, modelFiles)
		resumed := 0
		for _, r := range h.seen() {
			if r.rng != "" {
				resumed++
			}
		}
		if resumed == 0 {
			t.Error("no connection was resumed")
		}
	}
}

// A server that gives nothing new is given up, however often it answers.
func TestCutConnectionsGivenUp(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	tries := 0
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if h.isStorage(r, repo, shard1) {
			h.mu.Lock()
			tries++
			h.mu.Unlock()
			n := 0
			if r.Header.Get("Range") == "" {
				n = 1000
			}
			cut(w, r, repo.files[shard1].data, n)
		}
		return false
	})
	o := h.options(t)
	_, err := resolve(t.Context(), "o/m", o)
	var cutErr *cutError
	if !errors.As(err, &cutErr) {
		t.Errorf("%v", err)
	}
	if tries != 1+4 { // the first brought something and counts as none
		t.Errorf("%d tries", tries)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows a signature: %v", err)
	}
	if n := blobSize(h.partial(o, repo, "o/m", shard1)); n != 1000 {
		t.Errorf("the partial file has %d bytes", n)
	}
}

func TestCancelAndResume(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	repo.files[shard1] = fakeFile{data: randomBytes(9, 3<<20), lfs: true} // several reads long
	o := h.options(t)
	for _, at := range []int64{1, 1 << 20, 2 << 20} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		o.Progress = func(e Event) {
			if e.File == shard1 && e.Done >= at {
				cancel(why)
			}
		}
		if _, err := resolve(ctx, "o/m", o); !errors.Is(err, why) {
			t.Fatalf("at %d: %v", at, err)
		}
		if n := blobSize(h.partial(o, repo, "o/m", shard1)); n < at {
			t.Errorf("the partial file has %d bytes of at least %d", n, at)
		}
	}
	h.seen()
	var first, last Event
	o.Progress = func(e Event) {
		if e.File == shard1 {
			if first.File == "" {
				first = e
			}
			last = e
		}
	}
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	if first.Done < 2<<20 || last.Done != last.Total {
		t.Errorf("progress from %+v to %+v", first, last)
	}
	for _, r := range h.seen() {
		if strings.HasSuffix(r.path, repo.files[shard1].etag()) && r.method == http.MethodGet && r.rng != fmt.Sprintf("bytes=%d-", first.Done) {
			t.Errorf("request %+v", r)
		}
	}
}

func TestCancelBeforeAnything(t *testing.T) {
	h := newFakeHub(t)
	h.addModel("o/m")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolve(ctx, "o/m", h.options(t)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestForeignPartials(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	data := repo.files[shard1].data
	wrong := bytes.Clone(data)
	wrong[1000] ^= 1
	for name, left := range map[string][]byte{
		"good":         data[:12345],
		"complete":     data,
		"wrong":        wrong[:20000],
		"wrong at end": wrong,
		"too long":     append(bytes.Clone(data), 1),
		"empty":        {},
	} {
		t.Run(name, func(t *testing.T) {
			o := h.options(t)
			partial := h.partial(o, repo, "o/m", shard1)
			if err := os.MkdirAll(filepath.Dir(partial), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(partial, left, 0o666); err != nil {
				t.Fatal(err)
			}
			dir, err := resolve(t.Context(), "o/m", o)
			if err != nil {
				t.Fatal(err)
			}
			checkSnapshot(t, dir, repo, modelFiles)
		})
	}
	t.Run("truncated blob", func(t *testing.T) {
		o := h.options(t)
		blob := strings.TrimSuffix(h.partial(o, repo, "o/m", shard1), ".incomplete")
		_ = os.MkdirAll(filepath.Dir(blob), 0o777)
		if err := os.WriteFile(blob, data[:100], 0o666); err != nil {
			t.Fatal(err)
		}
		dir, err := resolve(t.Context(), "o/m", o)
		if err != nil {
			t.Fatal(err)
		}
		checkSnapshot(t, dir, repo, modelFiles)
	})
}

// Each server here sends something else than the hub has announced.
func TestWrongContent(t *testing.T) {
	send := func(w http.ResponseWriter, status int, length bool, header string, b []byte) {
		if header != "" {
			w.Header().Set("Content-Range", header)
		}
		if length {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		w.WriteHeader(status)
		_, _ = w.Write(b[:len(b)/2])
		_ = http.NewResponseController(w).Flush() // without a length this makes it chunked
		_, _ = w.Write(b[len(b)/2:])
	}
	flip := func(b []byte) []byte { c := bytes.Clone(b); c[len(c)-1] ^= 1; return c }
	for name, serve := range map[string]func(w http.ResponseWriter, b []byte, resume bool){
		"hash":             func(w http.ResponseWriter, b []byte, _ bool) { send(w, 200, true, "", flip(b)) },
		"longer":           func(w http.ResponseWriter, b []byte, _ bool) { send(w, 200, true, "", append(bytes.Clone(b), 1)) },
		"longer, chunked":  func(w http.ResponseWriter, b []byte, _ bool) { send(w, 200, false, "", append(bytes.Clone(b), 1)) },
		"shorter":          func(w http.ResponseWriter, b []byte, _ bool) { send(w, 200, true, "", b[:len(b)-1]) },
		"empty":            func(w http.ResponseWriter, b []byte, _ bool) { send(w, 200, true, "", nil) },
		"range unasked":    func(w http.ResponseWriter, b []byte, _ bool) { send(w, 206, true, "bytes 5-9/1000", b[5:10]) },
		"range of another": func(w http.ResponseWriter, b []byte, _ bool) { send(w, 206, true, "bytes 0-9/1000", b[:10]) },
		"range unreadable": func(w http.ResponseWriter, b []byte, _ bool) { send(w, 206, true, "bytes", b) },
		"shorter, chunked": func(w http.ResponseWriter, b []byte, resume bool) {
			if resume {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			} else {
				send(w, 200, false, "", b[:len(b)-1])
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, lasting := range []bool{false, true} {
				h := newFakeHub(t)
				repo := h.addModel("o/m")
				o := h.options(t)
				first := true
				gets := 0
				h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
					if !h.isStorage(r, repo, shard2) {
						return false
					}
					h.mu.Lock()
					defer h.mu.Unlock()
					resume := r.Header.Get("Range") != ""
					if !resume {
						gets++
						first = gets == 1
					}
					if !first && !lasting {
						return false
					}
					serve(w, repo.files[shard2].data, resume)
					return true
				})
				dir, err := resolve(t.Context(), "o/m", o, func(s *session) {
					s.open = func(path string) (partialFile, error) {
						f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
						size := 0
						for _, file := range repo.files {
							if strings.HasPrefix(filepath.Base(path), file.etag()) {
								size = len(file.data)
							}
						}
						return boundedFile{f, t, size}, err
					}
				})
				if !lasting {
					if err != nil {
						t.Fatal(err)
					}
					checkSnapshot(t, dir, repo, modelFiles)
					continue
				}
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), shard2) {
					t.Errorf("error: %v", err)
				}
				if gets != 2 {
					t.Errorf("fetched %d times", gets)
				}
				if n := blobSize(h.partial(o, repo, "o/m", shard2)); n >= 0 {
					t.Errorf("a partial file of %d bytes is left", n)
				}
			}
		})
	}
}

// boundedFile fails a test that writes beyond the size of the file.
type boundedFile struct {
	*os.File
	t    *testing.T
	size int
}

func (f boundedFile) WriteAt(b []byte, at int64) (int, error) {
	if int(at)+len(b) > f.size {
		f.t.Errorf("%d bytes are written at %d of %d", len(b), at, f.size)
	}
	return f.File.WriteAt(b, at)
}

// A server that gives a byte a connection is given up, too.
func TestDripGivenUp(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	tries := 0
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if h.isStorage(r, repo, shard1) {
			h.mu.Lock()
			tries++
			h.mu.Unlock()
			cut(w, r, repo.files[shard1].data, 1)
		}
		return false
	})
	if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || tries != 100 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestServerWithoutRanges(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	data := repo.files[shard1].data
	n := 0
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if !h.isStorage(r, repo, shard1) {
			return false
		}
		h.mu.Lock()
		n++
		broken := n <= 3
		h.mu.Unlock()
		r.Header.Del("Range")
		if broken {
			cut(w, r, data, 100_000*n)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data)
		return true
	})
	o := h.options(t)
	sum := Event{}
	o.Progress = func(e Event) { sum = e }
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	if sum.AllDone != sum.AllTotal {
		t.Errorf("progress ended with %+v", sum)
	}
}

func TestRefusals(t *testing.T) {
	type refusal struct {
		status int
		code   string
		token  string
		is     error
		want   []string
	}
	for name, c := range map[string]refusal{
		"gated, no token":     {401, "GatedRepo", "", ErrAccess, []string{"o/m is gated", "accept its licence", "/o/m", "HF_TOKEN"}},
		"gated, no access":    {403, "GatedRepo", "t", ErrAccess, []string{"accept its licence", "no access yet"}},
		"private or unknown":  {401, "RepoNotFound", "", ErrNotFound, []string{"no model o/m", "HF_TOKEN"}},
		"unknown":             {404, "RepoNotFound", "t", ErrNotFound, []string{"no model o/m"}},
		"bad token":           {401, "", "t", ErrAccess, []string{"refuses the token", "HF_TOKEN"}},
		"no token":            {401, "", "", ErrAccess, []string{"HF_TOKEN", "licence"}},
		"forbidden":           {403, "", "t", ErrAccess, []string{"forbids", "HF_TOKEN"}},
		"plain 404":           {404, "", "t", ErrNotFound, []string{"no model o/m", "main"}},
		"no such revision":    {404, "RevisionNotFound", "t", ErrNotFound, []string{`no revision "main"`}},
		"teapot":              {418, "", "t", nil, []string{"418"}},
		"server error":        {500, "", "t", nil, []string{"500"}},
		"too many for now":    {429, "", "t", nil, []string{"429", "too many requests"}},
		"gone away for a bit": {503, "", "t", nil, []string{"503"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			repo := h.addModel("o/m")
			repo.code, repo.errorCode = c.status, c.code
			o := h.options(t)
			o.Token = c.token
			_, err := resolve(t.Context(), "o/m", o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v; want %q", err, w)
				}
			}
			for _, is := range []error{ErrAccess, ErrNotFound} {
				if errors.Is(err, is) != (is == c.is) {
					t.Errorf("%v is %v: %v", err, is, errors.Is(err, is))
				}
			}
			want := 1
			if c.status >= 500 || c.status == 429 {
				want = 5
			}
			if n := len(h.seen()); n != want {
				t.Errorf("%d requests, want %d", n, want)
			}
		})
	}
	t.Run("file", func(t *testing.T) {
		h := newFakeHub(t)
		h.addModel("o/m")
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/tokenizer.json") {
				refuse(w, 404, "EntryNotFound")
				return true
			}
			return false
		})
		_, err := resolve(t.Context(), "o/m", h.options(t))
		if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "no file tokenizer.json") {
			t.Error(err)
		}
	})
	t.Run("gated files of an open listing", func(t *testing.T) {
		h := newFakeHub(t)
		h.addModel("o/m")
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/resolve/") {
				refuse(w, 403, "GatedRepo")
				return true
			}
			return false
		})
		_, err := resolve(t.Context(), "o/m", h.options(t))
		if !errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "accept its licence") {
			t.Error(err)
		}
	})
	t.Run("storage", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if h.isStorage(r, repo, shard1) {
				w.WriteHeader(403)
				return true
			}
			return false
		})
		_, err := resolve(t.Context(), "o/m", h.options(t))
		if err == nil || errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "storage host") || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	})
	t.Run("access withdrawn from a cached model", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		o := h.options(t)
		dir, err := resolve(t.Context(), "o/m", o)
		if err != nil {
			t.Fatal(err)
		}
		repo.code, repo.errorCode = 403, "GatedRepo"
		if again, err := resolve(t.Context(), "o/m", o); again != dir || err != nil {
			t.Error(again, err)
		}
		repo.code, repo.errorCode = 404, "RevisionNotFound"
		if _, err := resolve(t.Context(), "o/m", o); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

func TestRetries(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		status int
		header http.Header
		waits  []time.Duration // at least this, and less than the next second
		err    string
	}{
		"503":             {503, nil, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, ""},
		"429 in seconds":  {429, http.Header{"Retry-After": {"42"}}, []time.Duration{42 * time.Second, 42 * time.Second, 42 * time.Second}, ""},
		"429 by date":     {429, http.Header{"Retry-After": {now.Add(2 * time.Minute).UTC().Format(http.TimeFormat)}}, nil, ""},
		"429 hub's own":   {429, http.Header{"Ratelimit": {`"api";r=0;t=55`}}, []time.Duration{55 * time.Second, 55 * time.Second, 55 * time.Second}, ""},
		"429 not now":     {429, http.Header{"Retry-After": {"86400"}}, nil, "asks to wait 24h"},
		"429 nonsense":    {429, http.Header{"Retry-After": {"-5e99"}}, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, ""},
		"502, then fine":  {502, nil, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, ""},
		"408, then fine ": {408, nil, []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, where := range []string{"/api/models/", "/resolve/", "/store/"} {
				h := newFakeHub(t)
				repo := h.add("o/m", map[string][]byte{"m-q8_0.gguf": randomBytes(1, 50000)})
				n := 0
				h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
					h.mu.Lock()
					defer h.mu.Unlock()
					if !strings.Contains(r.URL.Path, where) || r.Method == http.MethodHead {
						return false
					}
					if n++; n > 3 {
						return false
					}
					for k, v := range c.header {
						w.Header()[k] = v
					}
					w.WriteHeader(c.status)
					return true
				})
				var waits []time.Duration
				path, err := resolve(t.Context(), "o/m:q8_0", h.options(t), func(s *session) {
					s.sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
				})
				if c.err != "" {
					if err == nil || !strings.Contains(err.Error(), c.err) || len(waits) > 0 {
						t.Errorf("%s: %v after %v", where, err, waits)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", where, err)
					continue
				}
				if b, _ := os.ReadFile(path); !bytes.Equal(b, repo.files["m-q8_0.gguf"].data) {
					t.Errorf("%s: wrong content", where)
				}
				if len(waits) != 3 {
					t.Errorf("%s: waited %v", where, waits)
				}
				for i, want := range c.waits {
					if i < len(waits) && (waits[i] < want || waits[i] > want+want/4) {
						t.Errorf("%s: waited %v, want %v", where, waits, c.waits)
					}
				}
				if strings.Contains(name, "date") {
					for _, w := range waits {
						if w < time.Second || w > 2*time.Minute {
							t.Errorf("%s: waited %v", where, waits)
						}
					}
				}
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	n := 0
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if !h.isStorage(r, repo, shard1) {
			return false
		}
		h.mu.Lock()
		n++
		silent := n <= 2
		h.mu.Unlock()
		if !silent {
			return false
		}
		if n == 2 { // headers and a part come, then nothing
			w.Header().Set("Content-Length", fmt.Sprint(len(repo.files[shard1].data)))
			_, _ = w.Write(repo.files[shard1].data[:5000])
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
		return true
	})
	o := h.options(t)
	o.Timeout = 300 * time.Millisecond
	var text bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	if !strings.Contains(text.String(), "silent") {
		t.Errorf("log: %s", text.String())
	}
}

func TestRedirects(t *testing.T) {
	other := httptest.NewServer(nil)
	defer other.Close()
	for name, c := range map[string]struct {
		location func(h *fakeHub) string
		want     string
	}{
		"loop":        {func(h *fakeHub) string { return "/api/models/o/m/revision/main" }, "redirects"},
		"file":        {func(h *fakeHub) string { return "file:///etc/passwd" }, "refused"},
		"nowhere":     {func(h *fakeHub) string { return "" }, "nowhere"},
		"unreadable":  {func(h *fakeHub) string { return "http://[::1" }, "Location"},
		"credentials": {func(h *fakeHub) string { return strings.Replace(other.URL, "//", "//user:password@", 1) }, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			h.addModel("o/m")
			var foreign atomic.Value
			other.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				foreign.Store(r.Header.Get("Authorization"))
				http.NotFound(w, r)
			})
			h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if l := c.location(h); l != "" {
					w.Header().Set("Location", l)
				}
				w.WriteHeader(http.StatusFound)
				return true
			})
			_, err := resolve(t.Context(), "o/m", h.options(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
			if a := foreign.Load(); a != nil && a != "" {
				t.Errorf("another host was sent %q", a)
			}
		})
	}
	t.Run("from https to http", func(t *testing.T) {
		secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusFound)
		}))
		defer secure.Close()
		o := Options{Endpoint: secure.URL, CacheDir: t.TempDir(), Client: secure.Client()}
		if _, err := resolve(t.Context(), "o/m", o); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Error(err)
		}
		// A certificate that is not trusted is not worth a second try.
		tries := 0
		o.Client = nil
		_, err := resolve(t.Context(), "o/m", o, func(s *session) {
			s.sleep = func(context.Context, time.Duration) error { tries++; return nil }
		})
		if err == nil || tries > 0 {
			t.Errorf("%v after %d more tries", err, tries)
		}
	})
	t.Run("there and back", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		other.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, h.api.URL+"/back"+r.URL.Path, http.StatusFound)
		})
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if back, ok := strings.CutPrefix(r.URL.Path, "/back"); ok {
				if r.Header.Get("Authorization") != "" {
					t.Error("the token came back from another host")
				}
				r.URL.Path = back
				r.URL.RawPath = ""
				return false
			}
			if strings.HasPrefix(r.URL.Path, "/api/models") {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
				return true
			}
			return false
		})
		dir, err := resolve(t.Context(), "o/m", h.options(t))
		if err != nil {
			t.Fatal(err)
		}
		checkSnapshot(t, dir, repo, modelFiles)
	})
}

// A mirror may name its files by something that is no hash of them, or leave
// their size out.
func TestOddMirrors(t *testing.T) {
	t.Run("etag", func(t *testing.T) {
		h := newFakeHub(t)
		data := randomBytes(1, 5000)
		h.add("o/m", map[string][]byte{"x.gguf": data})
		interrupted := false
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/resolve/") {
				return false
			}
			w.Header().Set("ETag", `"5f3a-61"`)
			w.Header().Set("X-Repo-Commit", h.repos["o/m"].commit)
			if r.Method == http.MethodGet && !interrupted {
				interrupted = true
				cut(w, r, data, 100)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			return true
		})
		var text bytes.Buffer
		o := h.options(t)
		o.Log = slog.New(slog.NewTextHandler(&text, nil))
		path, err := resolve(t.Context(), "o/m", o)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); !bytes.Equal(b, data) {
			t.Error("wrong content")
		}
		if !strings.Contains(text.String(), "only its size was verified") {
			t.Errorf("log: %s", text.String())
		}
	})
	t.Run("no size", func(t *testing.T) {
		h := newFakeHub(t)
		data := randomBytes(1, 5000)
		repo := h.add("o/m", map[string][]byte{"x.gguf": data})
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/resolve/") {
				return false
			}
			w.Header().Set("X-Linked-Etag", repo.files["x.gguf"].etag())
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(data)
			return true
		})
		path, err := resolve(t.Context(), "o/m", h.options(t))
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); !bytes.Equal(b, data) {
			t.Error("wrong content")
		}
	})
	t.Run("no etag", func(t *testing.T) {
		h := newFakeHub(t)
		h.add("o/m", map[string][]byte{"x.gguf": nil})
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool { return strings.Contains(r.URL.Path, "/resolve/") })
		if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "ETag") {
			t.Error(err)
		}
	})
	t.Run("compressed", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if h.isStorage(r, repo, shard1) {
				w.Header().Set("Content-Encoding", "gzip")
			}
			return false
		})
		if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "Content-Encoding") {
			t.Error(err)
		}
	})
	t.Run("not a hub", func(t *testing.T) {
		h := newFakeHub(t)
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, "<html>Sign in to the hotel's network</html>")
			return true
		})
		if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "not the hub's") {
			t.Error(err)
		}
	})
	t.Run("endless listing", func(t *testing.T) {
		h := newFakeHub(t)
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, `{"sha":"`)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					break
				}
			}
			return true
		})
		if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Error(err)
		}
	})
}

func TestOptionsRefused(t *testing.T) {
	for _, o := range []Options{
		{},
		{CacheDir: "x", Endpoint: "huggingface.co"},
		{CacheDir: "x", Endpoint: "ftp://hub.example"},
		{CacheDir: "x", Endpoint: "https://user:pass@hub.example"},
		{CacheDir: "x", Token: "a\nb"},
	} {
		_, err := Resolve(t.Context(), Ref{Repo: "o/m"}, o)
		if err == nil || strings.Contains(err.Error(), "pass") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := Resolve(t.Context(), Ref{Repo: "../m"}, Options{CacheDir: t.TempDir()}); err == nil {
		t.Error("an unsafe repository was taken")
	}
}

// hugeSizes claims sizes whose sum is beyond 64 bits.
func hugeSizes(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/resolve/") && hasExt(r.URL.Path, ".safetensors") {
		w.Header().Set("X-Linked-Etag", fmt.Sprintf("%064x", len(r.URL.Path)+int(r.URL.Path[len(r.URL.Path)-len("1-of-00002.safetensors")])))
		w.Header().Set("X-Linked-Size", "9223372036854775807")
		return true
	}
	return false
}
