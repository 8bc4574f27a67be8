package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const testToken = "hf_test"

// fakeHub speaks the hub's API on loopback, as far as downloads go: the listing
// of a revision, the tree that huggingface_hub asks for, the resolve address
// with its headers, its relative redirect for small files, and its redirect of
// LFS files to a storage host that is another origin.
type fakeHub struct {
	t        testing.TB
	api, cdn *httptest.Server

	mu       sync.Mutex
	repos    map[string]*fakeRepo
	requests []fakeRequest
	// fault may answer a request in the hub's stead; it returns whether it did.
	fault func(w http.ResponseWriter, r *http.Request) bool
}

type fakeRepo struct {
	commit    string
	revisions map[string]string // name to commit
	files     map[string]fakeFile
	code      int // refuse with this status and error code
	errorCode string
	token     string // required, if set
}

type fakeFile struct {
	data []byte
	lfs  bool
}

type fakeRequest struct{ host, method, path, auth, rng string }

func newFakeHub(t testing.TB) *fakeHub {
	h := &fakeHub{t: t, repos: map[string]*fakeRepo{}}
	h.cdn = httptest.NewServer(http.HandlerFunc(h.serveStorage))
	h.api = httptest.NewServer(http.HandlerFunc(h.serveAPI))
	t.Cleanup(func() { h.api.Close(); h.cdn.Close() })
	return h
}

func fakeCommit(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// add makes a repository; files with these extensions are stored by LFS.
func (h *fakeHub) add(name string, files map[string][]byte) *fakeRepo {
	r := &fakeRepo{commit: fakeCommit(name), files: map[string]fakeFile{}}
	r.revisions = map[string]string{"main": r.commit}
	for n, b := range files {
		r.files[n] = fakeFile{data: b, lfs: hasExt(n, ".safetensors") || hasExt(n, ".gguf") || n == "tokenizer.json"}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[name] = r
	return r
}

func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return b
}

// addModel makes a model of two shards and all that belongs to it, beside files
// that must not be fetched.
func (h *fakeHub) addModel(name string) *fakeRepo {
	index := `{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}`
	return h.add(name, map[string][]byte{
		"config.json":                      []byte(`{"model_type":"qwen3"}`),
		"generation_config.json":           []byte(`{}`),
		"tokenizer.json":                   randomBytes(1, 300<<10),
		"tokenizer_config.json":            []byte(`{"a":1}`),
		"chat_template.jinja":              []byte("{{ x }}"),
		"model.safetensors.index.json":     []byte(index),
		"model-00001-of-00002.safetensors": randomBytes(2, 700<<10),
		"model-00002-of-00002.safetensors": randomBytes(3, 500<<10),
		"model.safetensors":                randomBytes(4, 1000),
		"pytorch_model.bin":                randomBytes(5, 1000),
		"onnx/model.onnx":                  randomBytes(6, 1000),
		"original/consolidated.pth":        randomBytes(7, 1000),
		"README.md":                        []byte("# model"),
		"figure.png":                       randomBytes(8, 1000),
		".gitattributes":                   []byte("*.safetensors filter=lfs"),
	})
}

// modelFiles are what ullm fetches of addModel.
var modelFiles = []string{
	"chat_template.jinja", "config.json", "generation_config.json", "model-00001-of-00002.safetensors",
	"model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
}

func gitSHA1(b []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(b))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

func (f fakeFile) etag() string {
	if f.lfs {
		sum := sha256.Sum256(f.data)
		return hex.EncodeToString(sum[:])
	}
	return gitSHA1(f.data)
}

func (h *fakeHub) record(r *http.Request) (fault func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, fakeRequest{r.Host, r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Range")})
	return h.fault
}

func (h *fakeHub) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = f
}

// seen returns and forgets the requests since the last call.
func (h *fakeHub) seen() []fakeRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", code)
	http.Error(w, `{"error":"`+code+`"}`, status)
}

func (h *fakeHub) serveAPI(w http.ResponseWriter, r *http.Request) {
	if f := h.record(r); f != nil && f(w, r) {
		return
	}
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/api/resolve-cache/models/"); ok {
		h.serveSmall(w, r, rest)
		return
	}
	isAPI := strings.HasPrefix(path, "/api/models/")
	parts := strings.SplitN(strings.TrimPrefix(strings.TrimPrefix(path, "/api/models"), "/"), "/", 5)
	if len(parts) < 4 {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	repo := h.repos[parts[0]+"/"+parts[1]]
	h.mu.Unlock()
	switch {
	case repo == nil && r.Header.Get("Authorization") == "":
		refuse(w, http.StatusUnauthorized, "RepoNotFound")
		return
	case repo == nil:
		refuse(w, http.StatusNotFound, "RepoNotFound")
		return
	case repo.code != 0:
		refuse(w, repo.code, repo.errorCode)
		return
	case repo.token != "" && r.Header.Get("Authorization") != "Bearer "+repo.token:
		refuse(w, http.StatusUnauthorized, "GatedRepo")
		return
	}
	rev, _ := url.PathUnescape(parts[3])
	commit := repo.revisions[rev]
	for _, c := range repo.revisions {
		if rev == c {
			commit = rev
		}
	}
	if commit == "" {
		refuse(w, http.StatusNotFound, "RevisionNotFound")
		return
	}
	switch {
	case isAPI && parts[2] == "revision":
		h.serveListing(w, repo, parts[0]+"/"+parts[1], commit)
	case isAPI && parts[2] == "tree":
		h.serveTree(w, repo)
	case parts[2] == "resolve" && len(parts) == 5:
		name, _ := url.PathUnescape(parts[4])
		file, ok := repo.files[name]
		w.Header().Set("X-Repo-Commit", commit)
		if !ok {
			refuse(w, http.StatusNotFound, "EntryNotFound")
			return
		}
		if file.lfs {
			w.Header().Set("X-Linked-Etag", `"`+file.etag()+`"`)
			w.Header().Set("X-Linked-Size", fmt.Sprint(len(file.data)))
			w.Header().Set("Location", h.cdn.URL+"/store/"+parts[0]+"/"+parts[1]+"/"+file.etag()+"?Signature=secret")
			w.WriteHeader(http.StatusFound)
			return
		}
		w.Header().Set("Location", "/api/resolve-cache/models/"+parts[0]+"/"+parts[1]+"/"+commit+"/"+parts[4])
		w.WriteHeader(http.StatusTemporaryRedirect)
	default:
		http.NotFound(w, r)
	}
}

func (h *fakeHub) serveListing(w http.ResponseWriter, repo *fakeRepo, name, commit string) {
	type sibling struct {
		Name string `json:"rfilename"`
	}
	info := struct {
		ID       string    `json:"id"`
		ModelID  string    `json:"modelId"`
		SHA      string    `json:"sha"`
		Private  bool      `json:"private"`
		Tags     []string  `json:"tags"`
		Siblings []sibling `json:"siblings"`
	}{ID: name, ModelID: name, SHA: commit, Tags: []string{}}
	for n := range repo.files {
		info.Siblings = append(info.Siblings, sibling{n})
	}
	_ = json.NewEncoder(w).Encode(info)
}

func (h *fakeHub) serveTree(w http.ResponseWriter, repo *fakeRepo) {
	type lfs struct {
		OID         string `json:"oid"`
		Size        int    `json:"size"`
		PointerSize int    `json:"pointerSize"`
	}
	type entry struct {
		Type string `json:"type"`
		OID  string `json:"oid"`
		Size int    `json:"size"`
		Path string `json:"path"`
		LFS  *lfs   `json:"lfs,omitempty"`
	}
	var tree []entry
	for n, f := range repo.files {
		e := entry{Type: "file", OID: gitSHA1(f.data), Size: len(f.data), Path: n}
		if f.lfs {
			e.LFS = &lfs{f.etag(), len(f.data), 133}
		}
		tree = append(tree, e)
	}
	_ = json.NewEncoder(w).Encode(tree)
}

func (h *fakeHub) serveSmall(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.SplitN(path, "/", 4)
	h.mu.Lock()
	file := h.repos[parts[0]+"/"+parts[1]].files[parts[3]]
	h.mu.Unlock()
	w.Header().Set("X-Repo-Commit", parts[2])
	w.Header().Set("ETag", `W/"`+file.etag()+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(file.data)))
}

func (h *fakeHub) serveStorage(w http.ResponseWriter, r *http.Request) {
	if f := h.record(r); f != nil && f(w, r) {
		return
	}
	data, ok := h.stored(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e-17"`) // storage has etags of its own
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

// stored is the content that a request to the storage host is for.
func (h *fakeHub) stored(r *http.Request) (data []byte, ok bool) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/store/"), "/")
	if len(parts) != 3 {
		return nil, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	repo := h.repos[parts[0]+"/"+parts[1]]
	if repo == nil {
		return nil, false
	}
	for _, f := range repo.files {
		if f.etag() == parts[2] {
			return f.data, true
		}
	}
	return nil, false
}

// isStorage tells whether a request is for the bytes of the named LFS file.
func (h *fakeHub) isStorage(r *http.Request, repo *fakeRepo, name string) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/"+repo.files[name].etag())
}

func (h *fakeHub) options(t testing.TB) Options {
	return Options{Endpoint: h.api.URL, CacheDir: t.TempDir(), Token: testToken}
}

// resolve runs Resolve without waiting between tries. Each wait that it would
// have made is appended to waits, if given.
func resolve(ctx context.Context, ref string, o Options, changes ...func(*session)) (string, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return "", err
	}
	s, err := newSession(o)
	if err != nil {
		return "", err
	}
	defer s.close()
	s.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	for _, c := range changes {
		c(s)
	}
	return s.resolve(ctx, r)
}

// checkSnapshot fails unless the snapshot has just these files, with the
// content that the repository has.
func checkSnapshot(t *testing.T, dir string, repo *fakeRepo, want []string) {
	t.Helper()
	got := filesIn(dir)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the snapshot has\n%v\nwant\n%v", got, want)
	}
	for _, n := range got {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(n)))
		if err != nil {
			t.Error(err)
		} else if string(b) != string(repo.files[n].data) {
			t.Errorf("%s has other content than the hub's", n)
		}
	}
}
