package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
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

// hugeSizes claims sizes whose sum is beyond 64 bits.
func hugeSizes(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/resolve/") && hasExt(r.URL.Path, ".safetensors") {
		w.Header().Set("X-Linked-Etag", fmt.Sprintf("%064x", len(r.URL.Path)+int(r.URL.Path[len(r.URL.Path)-len("1-of-00002.safetensors")])))
		w.Header().Set("X-Linked-Size", "9223372036854775807")
		return true
	}
	return false
}
