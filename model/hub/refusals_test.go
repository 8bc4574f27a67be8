package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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
