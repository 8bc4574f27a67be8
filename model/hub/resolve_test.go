package hub

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestResolveSharded(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("Qwen/Tiny")
	o := h.options(t)
	var mu sync.Mutex
	last := map[string]Event{}
	var sum Event
	o.Progress = func(e Event) {
		if !mu.TryLock() {
			t.Error("two events at once")
			return
		}
		defer mu.Unlock()
		if e.Done > e.Total || e.AllDone > e.AllTotal || e.Done < last[e.File].Done {
			t.Errorf("event %+v after %+v", e, last[e.File])
		}
		last[e.File], sum = e, e
	}
	dir, err := resolve(t.Context(), "Qwen/Tiny", o)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(o.CacheDir, "models--Qwen--Tiny", "snapshots", repo.commit); dir != want {
		t.Errorf("path %s, want %s", dir, want)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	if sum.AllDone != sum.AllTotal || len(last) != len(modelFiles) {
		t.Errorf("progress ended with %+v over %d files", sum, len(last))
	}

	// The layout, as huggingface_hub has it.
	root := filepath.Join(o.CacheDir, "models--Qwen--Tiny")
	if b, _ := os.ReadFile(filepath.Join(root, "refs", "main")); string(b) != repo.commit {
		t.Errorf("refs/main is %q", b)
	}
	for _, n := range modelFiles {
		etag := repo.files[n].etag()
		if _, err := os.Stat(filepath.Join(root, "blobs", etag)); err != nil {
			t.Error(err)
		}
		if runtime.GOOS != "windows" {
			if link, err := os.Readlink(filepath.Join(dir, n)); link != "../../blobs/"+etag {
				t.Errorf("%s links to %q (%v)", n, link, err)
			}
		}
		if _, err := os.Stat(filepath.Join(o.CacheDir, ".locks", "models--Qwen--Tiny", etag+".lock")); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "blobs", "*.incomplete")); left != nil {
		t.Errorf("left over: %v", left)
	}

	// The token goes to the hub and nowhere else.
	for _, r := range h.seen() {
		own := r.host == strings.TrimPrefix(h.api.URL, "http://")
		if own != (r.auth == "Bearer "+testToken) || !own && r.auth != "" {
			t.Errorf("authorization %q in %s %s%s", r.auth, r.method, r.host, r.path)
		}
	}

	// Again: one question, nothing fetched.
	if again, err := resolve(t.Context(), "Qwen/Tiny", o); err != nil || again != dir {
		t.Errorf("again: %s, %v", again, err)
	}
	if seen := h.seen(); len(seen) != 1 {
		t.Errorf("the second Resolve asked %v", seen)
	}
	// By commit: no question at all.
	if again, err := resolve(t.Context(), "Qwen/Tiny@"+repo.commit, o); err != nil || again != dir {
		t.Errorf("by commit: %s, %v", again, err)
	}
	if seen := h.seen(); len(seen) != 0 {
		t.Errorf("Resolve by commit asked %v", seen)
	}
}

func TestResolveSingleFile(t *testing.T) {
	h := newFakeHub(t)
	repo := h.add("o/single", map[string][]byte{
		"config.json":         []byte("{}"),
		"model.safetensors":   randomBytes(1, 1000),
		"adapter.safetensors": randomBytes(2, 1000),
		"fp16/x.safetensors":  randomBytes(3, 1000),
		"model.onnx":          randomBytes(4, 1000),
	})
	o := h.options(t)
	dir, err := resolve(t.Context(), "o/single", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, []string{"config.json", "model.safetensors"})
	// It has no tokenizer, which is remembered: the cache is complete offline.
	o.Offline = true
	if _, err := resolve(t.Context(), "o/single", o); err != nil {
		t.Error(err)
	}
}

func TestResolveUnusual(t *testing.T) {
	h := newFakeHub(t)
	some := []byte("x")
	h.add("o/bin", map[string][]byte{"config.json": some, "pytorch_model.bin": some})
	h.add("o/empty", map[string][]byte{"README.md": some})
	h.add("o/noconfig", map[string][]byte{"model.safetensors": some})
	h.add("o/missing-shard", map[string][]byte{"config.json": some, "model-1.safetensors": some,
		indexFile: []byte(`{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}`)})
	h.add("o/bad-index", map[string][]byte{"config.json": some, "model-1.safetensors": some,
		indexFile: []byte(`{"weight_map":{"a":"../../../etc/passwd.safetensors"}}`)})
	h.add("o/odd-index", map[string][]byte{"config.json": some, "model-1.safetensors": some,
		indexFile: []byte(`[]`)})
	for ref, want := range map[string]string{
		"o/bin":           "pytorch_model.bin",
		"o/empty":         "no safetensors and no GGUF",
		"o/noconfig":      "no config.json",
		"o/missing-shard": "model-2.safetensors",
		"o/bad-index":     "refused",
		"o/odd-index":     "not a safetensors index",
		"o/noconfig:Q8_0": "no GGUF files",
	} {
		if _, err := resolve(t.Context(), ref, h.options(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", ref, err, want)
		}
	}
}

func TestUnsafeNames(t *testing.T) {
	for _, name := range []string{
		"../evil.safetensors", "/etc/evil.safetensors", `..\evil.safetensors`, "C:evil.safetensors", `C:\evil.safetensors`,
		"a/../../evil.gguf", "con.safetensors", "a//b.gguf", "./b.gguf", "x\x00.safetensors", "aux/config.json", "a\nb.gguf", "a./b.gguf",
		"COM¹.gguf", "nul .gguf",
	} {
		h := newFakeHub(t)
		h.add("o/evil", map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("x"), name: []byte("x")})
		o := h.options(t)
		_, err := resolve(t.Context(), "o/evil", o)
		if !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		if left := filesIn(o.CacheDir); len(left) > 0 {
			t.Errorf("%q: files were written: %v", name, left)
		}
	}
	for _, name := range []string{"a:b.png", "aux.txt", `x\y.md`} { // never touched, so not our concern
		h := newFakeHub(t)
		h.add("o/odd", map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("x"), name: []byte("x")})
		if _, err := resolve(t.Context(), "o/odd", h.options(t)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestUnsafeHeaders(t *testing.T) {
	for header, bad := range map[string]string{
		"X-Linked-Etag": `"../../../evil"`,
		"X-Repo-Commit": "../../../evil",
		"X-Linked-Size": "-5",
	} {
		h := newFakeHub(t)
		h.add("o/m", map[string][]byte{"config.json": []byte("{}"), "model.safetensors": []byte("x")})
		h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "config.json") {
				w.Header().Set("ETag", `"abc"`)
				w.Header().Set(header, bad)
				return true
			}
			return false
		})
		if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: %s: %v", header, bad, err)
		}
	}
	h := newFakeHub(t)
	h.add("o/m", nil).commit = "../../.."
	h.repos["o/m"].revisions["main"] = "../../.."
	if _, err := resolve(t.Context(), "o/m", h.options(t)); err == nil || !strings.Contains(err.Error(), "not the hub's") {
		t.Error(err)
	}
}

func TestResolveGGUF(t *testing.T) {
	h := newFakeHub(t)
	repo := h.add("Qwen/Tiny-GGUF", map[string][]byte{
		"Tiny-Q8_0.gguf":                  randomBytes(1, 5000),
		"Tiny-Q4_K_M.gguf":                randomBytes(2, 5000),
		"Tiny-UD-Q4_K_M.gguf":             randomBytes(3, 5000),
		"Tiny-q5_0.gguf":                  randomBytes(4, 5000),
		"BF16/Tiny-BF16.gguf":             randomBytes(5, 5000),
		"mmproj-Tiny-Q8_0.gguf":           randomBytes(6, 100),
		"Tiny-F32-00001-of-00002.gguf":    randomBytes(7, 100),
		"Tiny-F32-00002-of-00002.gguf":    randomBytes(8, 100),
		"Tiny-Q6_K-chat.gguf":             randomBytes(9, 100),
		"Tiny-Q6_K-base.gguf":             randomBytes(10, 100),
		"model-00001-of-00001-Q2_K.gguf":  randomBytes(11, 100),
		"config.json":                     []byte("{}"),
		"model-from-elsewhere.IQ4_XS.bin": []byte("{}"),
	})
	for quant, want := range map[string]string{
		"Q8_0": "Tiny-Q8_0.gguf", "q8_0": "Tiny-Q8_0.gguf", "q4_k": "Tiny-Q4_K_M.gguf", "Q4_K_M": "Tiny-Q4_K_M.gguf",
		"ud-q4_k_m": "Tiny-UD-Q4_K_M.gguf", "Q5_0": "Tiny-q5_0.gguf", "bf16": "BF16/Tiny-BF16.gguf",
	} {
		o := h.options(t)
		path, err := resolve(t.Context(), "Qwen/Tiny-GGUF:"+quant, o)
		if err != nil {
			t.Errorf("%s: %v", quant, err)
			continue
		}
		if filepath.ToSlash(path) != filepath.ToSlash(filepath.Join(o.CacheDir, "models--Qwen--Tiny-GGUF/snapshots", repo.commit, want)) {
			t.Errorf("%s: %s", quant, path)
		}
		checkSnapshot(t, filepath.Join(o.CacheDir, "models--Qwen--Tiny-GGUF", "snapshots", repo.commit), repo, []string{want})
		o.Offline = true
		if again, err := resolve(t.Context(), "Qwen/Tiny-GGUF:"+quant, o); again != path {
			t.Errorf("%s offline: %s, %v", quant, again, err)
		}
	}
	for quant, want := range map[string][]string{
		":Q3_K_M": {"no GGUF file in that format", "Tiny-Q8_0.gguf"},
		"":        {"several GGUF files", "Tiny-Q8_0.gguf", "Qwen/Tiny-GGUF:Q8_0"},
		":F32":    {"split into several files", "00001-of-00002", "Tiny-Q8_0.gguf"},
		":Q6_K":   {"ambiguous", "Tiny-Q6_K-base.gguf", "Tiny-Q6_K-chat.gguf"},
		":Q4":     {"no GGUF file in that format"},
		":0":      {"no GGUF file in that format"},
	} {
		_, err := resolve(t.Context(), "Qwen/Tiny-GGUF"+quant, h.options(t))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v; want %q", quant, err, w)
			}
		}
	}
	h.add("o/one", map[string][]byte{"x.gguf": []byte("x"), "README.md": nil})
	if path, err := resolve(t.Context(), "o/one", h.options(t)); filepath.Base(path) != "x.gguf" {
		t.Error(path, err)
	}
}

func TestRevisions(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	repo.revisions["refs/pr/7"] = fakeCommit("seven")
	repo.revisions["v1.0"] = fakeCommit("one")
	for rev, commit := range repo.revisions {
		o := h.options(t)
		dir, err := resolve(t.Context(), "o/m@"+rev, o)
		if err != nil || filepath.Base(dir) != commit {
			t.Errorf("%s: %s, %v", rev, dir, err)
		}
		if b, _ := os.ReadFile(filepath.Join(o.CacheDir, "models--o--m", "refs", filepath.FromSlash(rev))); string(b) != commit {
			t.Errorf("refs/%s is %q", rev, b)
		}
	}
}

func TestNewCommitSharesBlobs(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	old, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	h.seen()
	second := fakeCommit("second")
	repo.revisions["main"] = second
	repo.files["config.json"] = fakeFile{data: []byte(`{"changed":1}`)}
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil || filepath.Base(dir) != second {
		t.Fatal(dir, err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	for _, r := range h.seen() {
		if strings.HasPrefix(r.path, "/store/") && r.method == http.MethodGet {
			t.Errorf("fetched again: %+v", r)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(old, "config.json")); !strings.Contains(string(b), "qwen3") {
		t.Errorf("the old snapshot changed: %s", b)
	}
}

func TestOffline(t *testing.T) {
	h := newFakeHub(t)
	h.addModel("o/m")
	o := h.options(t)
	o.Offline = true
	if _, err := resolve(t.Context(), "o/m", o); !errors.Is(err, ErrNotCached) || !strings.Contains(err.Error(), o.CacheDir) {
		t.Errorf("empty cache: %v", err)
	}
	if seen := h.seen(); len(seen) > 0 {
		t.Errorf("offline, but asked %v", seen)
	}
	o.Offline = false
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	h.seen()
	o.Offline = true
	if again, err := resolve(t.Context(), "o/m", o); again != dir || err != nil {
		t.Error(again, err)
	}
	for _, n := range []string{"config.json", "tokenizer.json", indexFile, "model-00002-of-00002.safetensors"} {
		// What a cleaned cache looks like: a link without its blob, or, without
		// links, no file.
		file, err := filepath.EvalSymlinks(filepath.Join(dir, n))
		away := filepath.Join(t.TempDir(), "away")
		if err = errors.Join(err, os.Rename(file, away)); err != nil {
			t.Fatal(err)
		}
		if _, err := resolve(t.Context(), "o/m", o); !errors.Is(err, ErrNotCached) || !strings.Contains(err.Error(), n) {
			t.Errorf("without %s: %v", n, err)
		}
		if err := os.Rename(away, file); err != nil {
			t.Fatal(err)
		}
	}
	if seen := h.seen(); len(seen) > 0 {
		t.Errorf("offline, but asked %v", seen)
	}
	if _, err := resolve(t.Context(), "o/m@other", o); !errors.Is(err, ErrNotCached) {
		t.Errorf("other revision: %v", err)
	}
}

func TestNoNetwork(t *testing.T) {
	h := newFakeHub(t)
	h.addModel("o/m")
	o := h.options(t)
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	o.Log = slog.New(slog.NewTextHandler(&text, nil))
	h.api.Close()
	if again, err := resolve(t.Context(), "o/m", o); again != dir || err != nil {
		t.Error(again, err)
	}
	if !strings.Contains(text.String(), "using the cached model") {
		t.Errorf("log: %s", text.String())
	}
	o.CacheDir = t.TempDir()
	_, err = resolve(t.Context(), "o/m", o)
	var cut *cutError
	if !errors.As(err, &cut) {
		t.Errorf("empty cache: %v", err)
	}
}

// A reference to an incomplete snapshot must not hide the complete one.
func TestInterruptedUpdateKeepsTheOldSnapshot(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	old, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	const shard = "model-00002-of-00002.safetensors"
	repo.revisions["main"] = fakeCommit("second")
	repo.files[shard] = fakeFile{data: randomBytes(99, 10000), lfs: true}
	ctx, cancel := context.WithCancel(t.Context())
	h.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if h.isStorage(r, repo, shard) {
			cancel()
			return false
		}
		return false
	})
	if _, err := resolve(ctx, "o/m", o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Offline = true
	if dir, err := resolve(t.Context(), "o/m", o); dir != old || err != nil {
		t.Error(dir, err)
	}
}

func TestAccept(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	no := errors.New("no such architecture")
	o.Accept = func(config []byte) error {
		if string(config) != `{"model_type":"qwen3"}` {
			t.Errorf("config is %q", config)
		}
		return no
	}
	if _, err := resolve(t.Context(), "o/m", o); !errors.Is(err, no) {
		t.Error(err)
	}
	for _, r := range h.seen() {
		if strings.HasPrefix(r.path, "/store/") {
			t.Errorf("fetched %v", r)
		}
	}
	o.Accept = func([]byte) error { return nil }
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
}

func TestWithoutSymlinks(t *testing.T) {
	unable := func(string, string) error { return errors.ErrUnsupported }
	for name, c := range map[string]struct {
		change func(*session)
		blobs  bool // remain after the download
	}{
		"hard link": {func(s *session) {}, true},
		"links that are not followed": {func(s *session) {
			s.symlink = func(_, path string) error { return os.Symlink("nowhere", path) }
		}, true},
		"links that are not made": {func(s *session) { s.symlink = func(string, string) error { return nil } }, true},
		"move":                    {func(s *session) { s.hardlink = unable }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			repo := h.addModel("o/m")
			o := h.options(t)
			o.NoSymlinks = true
			for _, commit := range []string{repo.commit, fakeCommit("second")} {
				repo.revisions["main"] = commit
				dir, err := resolve(t.Context(), "o/m", o, c.change)
				if err != nil {
					t.Fatal(err)
				}
				checkSnapshot(t, dir, repo, modelFiles)
				for _, n := range modelFiles {
					if info, err := os.Lstat(filepath.Join(dir, n)); err != nil || !info.Mode().IsRegular() {
						t.Errorf("%s: %v %v", n, info, err)
					}
					_, err := os.Stat(filepath.Join(o.CacheDir, "models--o--m", "blobs", repo.files[n].etag()))
					if errors.Is(err, fs.ErrNotExist) == c.blobs {
						t.Errorf("blob of %s: %v", n, err)
					}
				}
			}
			o.Offline = true
			if _, err := resolve(t.Context(), "o/m", o); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("copy", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		o := h.options(t)
		if _, err := resolve(t.Context(), "o/m", o); err != nil {
			t.Fatal(err)
		}
		repo.revisions["main"] = fakeCommit("second")
		dir, err := resolve(t.Context(), "o/m", o, func(s *session) { s.symlink, s.hardlink = unable, unable })
		if err != nil {
			t.Fatal(err)
		}
		checkSnapshot(t, dir, repo, modelFiles)
		checkSnapshot(t, filepath.Join(o.CacheDir, "models--o--m", "snapshots", repo.commit), repo, modelFiles)
	})
}

func TestReadOnlyCompleteCache(t *testing.T) {
	h := newFakeHub(t)
	h.addModel("o/m")
	o := h.options(t)
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	before := filesIn(o.CacheDir)
	if again, err := resolve(t.Context(), "o/m", o, func(s *session) {
		s.open = func(string) (partialFile, error) { return nil, fs.ErrPermission }
	}); again != dir || err != nil {
		t.Error(again, err)
	}
	if after := filesIn(o.CacheDir); len(after) != len(before) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
}
