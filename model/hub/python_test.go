package hub

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// python runs a program of Python with huggingface_hub at the fake hub and
// returns its output. Its environment is what is given and no more.
func python(t *testing.T, env map[string]string, program string) string {
	t.Helper()
	cmd := pythonCommand(t, env, program)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func pythonCommand(t *testing.T, env map[string]string, program string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Getenv("ULLM_TEST_PYTHON"), "-c", program)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HF_HUB_DISABLE_TELEMETRY=1", "HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DISABLE_UPDATE_CHECK=1"}
	for _, k := range []string{"SystemRoot", "TEMP", "TMP"} {
		if v := os.Getenv(k); v != "" {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

func needPython(t *testing.T) {
	t.Helper()
	exe := os.Getenv("ULLM_TEST_PYTHON")
	if exe == "" {
		t.Skip("ULLM_TEST_PYTHON is not set: a python with huggingface_hub (transformers brings it)")
	}
	if out, err := exec.Command(exe, "-c", "import huggingface_hub").CombinedOutput(); err != nil {
		t.Skipf("ULLM_TEST_PYTHON=%s has no huggingface_hub: %v %s", exe, err, out)
	}
}

func (h *fakeHub) pythonEnv(o Options) map[string]string {
	return map[string]string{"HF_ENDPOINT": o.Endpoint, "HF_HUB_CACHE": o.CacheDir, "HF_TOKEN": o.Token, "HF_HOME": filepath.Dir(o.CacheDir)}
}

// layout lists a cache: each file with where it links to or what it holds.
func layout(t *testing.T, root string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.Type()&fs.ModeSymlink != 0 {
			link, err := os.Readlink(path)
			m[rel] = "-> " + link
			return err
		}
		b, err := os.ReadFile(path)
		m[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const pythonFiles = `files = ` + `["chat_template.jinja", "config.json", "generation_config.json", "model-00001-of-00002.safetensors",` +
	`"model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"]
`

func TestPythonFillsGoReads(t *testing.T) {
	needPython(t)
	for name, program := range map[string]string{
		"snapshot":       "from huggingface_hub import *\nprint(snapshot_download('o/m', allow_patterns=files))",
		"whole snapshot": "from huggingface_hub import *\nprint(snapshot_download('o/m'))",
		"file by file": "from huggingface_hub import *\nimport os\nfor f in files: p = hf_hub_download('o/m', f)\n" +
			"print(os.path.dirname(p))",
		"transformers-like": "from huggingface_hub import *\nimport os\n" +
			"for f in files: p = hf_hub_download('o/m', f)\n" +
			"try: hf_hub_download('o/m', 'added_tokens.json')\nexcept Exception: pass\n" +
			"print(os.path.dirname(p))",
	} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t)
			repo := h.addModel("o/m")
			o := h.options(t)
			want := python(t, h.pythonEnv(o), pythonFiles+program)
			h.seen()
			o.Offline = true
			dir, err := resolve(t.Context(), "o/m", o)
			if err != nil || dir != want {
				t.Errorf("offline: %s, want %s: %v", dir, want, err)
			}
			o.Offline = false
			dir, err = resolve(t.Context(), "o/m", o)
			if err != nil || dir != want {
				t.Errorf("%s, want %s: %v", dir, want, err)
			}
			if seen := h.seen(); len(seen) != 1 {
				t.Errorf("asked for more than the listing: %v", seen)
			}
			for _, n := range modelFiles {
				if b, _ := os.ReadFile(filepath.Join(dir, n)); !bytes.Equal(b, repo.files[n].data) {
					t.Errorf("%s has other content", n)
				}
			}
		})
	}
	t.Run("incomplete", func(t *testing.T) {
		h := newFakeHub(t)
		repo := h.addModel("o/m")
		o := h.options(t)
		python(t, h.pythonEnv(o), "from huggingface_hub import *\nsnapshot_download('o/m', allow_patterns=['*.json', '*00001*', 'tokenizer.json'])")
		o.Offline = true
		if _, err := resolve(t.Context(), "o/m", o); err == nil || !strings.Contains(err.Error(), shard2) {
			t.Errorf("offline: %v", err)
		}
		o.Offline = false
		h.seen()
		dir, err := resolve(t.Context(), "o/m", o)
		if err != nil {
			t.Fatal(err)
		}
		checkSnapshot(t, dir, repo, modelFiles)
		if n := len(gets(h.seen())); n != 1 {
			t.Errorf("fetched %d files", n)
		}
	})
	t.Run("GGUF", func(t *testing.T) {
		h := newFakeHub(t)
		h.add("o/m", map[string][]byte{"m-Q8_0.gguf": randomBytes(1, 5000), "m-Q4_0.gguf": randomBytes(2, 5000)})
		o := h.options(t)
		want := python(t, h.pythonEnv(o), "from huggingface_hub import *\nprint(hf_hub_download('o/m', 'm-Q8_0.gguf'))")
		o.Offline = true
		if path, err := resolve(t.Context(), "o/m:q8_0", o); err != nil || path != want {
			t.Errorf("%s, want %s: %v", path, want, err)
		}
	})
}

func TestGoFillsPythonReads(t *testing.T) {
	needPython(t)
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	delete(repo.files, "chat_template.jinja")
	o := h.options(t)
	dir, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	h.seen()
	out := python(t, h.pythonEnv(o), pythonFiles+`
import json
from huggingface_hub import *
from huggingface_hub.file_download import _CACHED_NO_EXIST
files.remove("chat_template.jinja")
offline = [hf_hub_download("o/m", f, local_files_only=True) for f in files]
snapshot = snapshot_download("o/m", local_files_only=True)
online = snapshot_download("o/m", allow_patterns=files)
scan = scan_cache_dir()
repo, = scan.repos
revision, = repo.revisions
print(json.dumps({
    "offline": offline, "snapshot": snapshot, "online": online,
    "absent": try_to_load_from_cache("o/m", "chat_template.jinja") is _CACHED_NO_EXIST,
    "warnings": [str(w) for w in scan.warnings], "files": repo.nb_files, "size": repo.size_on_disk,
    "repo": repo.repo_id, "refs": sorted(revision.refs), "commit": revision.commit_hash,
}))`)
	var got struct {
		Offline          []string
		Snapshot, Online string
		Absent           bool
		Warnings, Refs   []string
		Files, Size      int
		Repo, Commit     string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	size, n := 0, 0
	for _, f := range modelFiles {
		if f == "chat_template.jinja" {
			continue
		}
		size += len(repo.files[f].data)
		n++
		if !slices.Contains(got.Offline, filepath.Join(dir, f)) {
			t.Errorf("python does not find %s: %v", f, got.Offline)
		}
	}
	if got.Snapshot != dir || got.Online != dir || !got.Absent || len(got.Warnings) > 0 || got.Files != n || got.Size != size ||
		got.Repo != "o/m" || got.Commit != repo.commit || !slices.Equal(got.Refs, []string{"main"}) {
		t.Errorf("python sees %+v", got)
	}
	if fetched := gets(h.seen()); len(fetched) > 0 {
		t.Errorf("python fetched %v again", fetched)
	}
}

// Both leave the same files, links and references.
func TestSameLayoutAsPython(t *testing.T) {
	needPython(t)
	h := newFakeHub(t)
	h.addModel("o/m")
	theirs, ours := h.options(t), h.options(t)
	python(t, h.pythonEnv(theirs), pythonFiles+"from huggingface_hub import *\nsnapshot_download('o/m', allow_patterns=files)")
	if _, err := resolve(t.Context(), "o/m", ours); err != nil {
		t.Fatal(err)
	}
	a, b := layout(t, theirs.CacheDir), layout(t, ours.CacheDir)
	// Not ours to write: the whole repository's listing, and their own words.
	maps.DeleteFunc(a, func(n, _ string) bool {
		return strings.Contains(filepath.ToSlash(n), "/trees/") || n == "CACHEDIR.TAG"
	})
	maps.DeleteFunc(b, func(n, _ string) bool { return n == "CACHEDIR.TAG" })
	for n := range a {
		if a[n] != b[n] {
			t.Errorf("%s: python has %.80q, we have %.80q", n, a[n], b[n])
		}
		delete(b, n)
	}
	for n := range b {
		t.Errorf("only we have %s", n)
	}
}

func TestLocksAreSharedWithPython(t *testing.T) {
	needPython(t)
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	path := newCache(o.CacheDir, "o/m").lock(repo.files[shard1].etag())
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	// Python holds the lock until its input ends.
	env := h.pythonEnv(o)
	env["LOCK"] = path
	cmd := pythonCommand(t, env, `
import os, sys
from huggingface_hub.utils import WeakFileLock
with WeakFileLock(os.environ["LOCK"]):
    print("held", flush=True)
    sys.stdin.read()
`)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	waited := false
	o.Log = slog.New(slog.NewTextHandler(&syncBuffer{on: func(line string) {
		if strings.Contains(line, "waiting for another download") {
			waited = true
			_ = in.Close()
		}
	}}, nil))
	if _, err := resolve(t.Context(), "o/m", o); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if !waited {
		t.Error("python's lock did not hold us up")
	}

	// And the reverse.
	s, err := newSession(o)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.lockFile(t.Context(), path, shard1)
	if err != nil {
		t.Fatal(err)
	}
	try := `
import os, filelock
try:
    with filelock.FileLock(os.environ["LOCK"], timeout=0.2): print("free")
except filelock.Timeout: print("held")
`
	if got := python(t, env, try); got != "held" {
		t.Errorf("python found our lock %s", got)
	}
	unlock()
	if got := python(t, env, try); got != "free" {
		t.Errorf("python found the released lock %s", got)
	}
}

func TestEnvironmentAsPythonReadsIt(t *testing.T) {
	needPython(t)
	if runtime.GOOS == "windows" {
		t.Log("the home directory of Windows is not in HOME; the rest is the same")
	}
	home := t.TempDir()
	for _, f := range []string{".cache/huggingface/token", "h/token", "elsewhere"} {
		_ = os.MkdirAll(filepath.Dir(filepath.Join(home, f)), 0o777)
		if err := os.WriteFile(filepath.Join(home, f), []byte("token_of_"+filepath.Base(f)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range []map[string]string{
		{},
		{"HF_HOME": home + "/h"},
		{"HF_HOME": "~/h"},
		{"HF_HOME": "$BASE/h", "BASE": home},
		{"HF_HOME": "${BASE}/$MISSING/h", "BASE": home},
		{"XDG_CACHE_HOME": home + "/x"},
		{"XDG_CACHE_HOME": "~/x", "HF_HUB_OFFLINE": "1"},
		{"HUGGINGFACE_HUB_CACHE": "/a/b"},
		{"HUGGINGFACE_HUB_CACHE": "/a/b", "HF_HUB_CACHE": "~/c"},
		{"HF_ENDPOINT": "https://mirror.example/x/"},
		{"HF_TOKEN": " abc\n"},
		{"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "u"},
		{"HUGGING_FACE_HUB_TOKEN": "u"},
		{"HF_TOKEN_PATH": home + "/elsewhere"},
		{"HF_TOKEN_PATH": home + "/missing"},
		{"HF_TOKEN": "t", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
		{"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
		{"TRANSFORMERS_OFFLINE": "yes"},
		{"HF_HUB_OFFLINE": "oN"},
		{"HF_HUB_OFFLINE": "2"},
		{"HF_HUB_DISABLE_SYMLINKS": "TRUE"},
		{"HF_HUB_DOWNLOAD_TIMEOUT": "77"},
	} {
		all := maps.Clone(env)
		all["HOME"] = home
		out := python(t, all, `
import json
from huggingface_hub import constants, get_token
from huggingface_hub.utils import build_hf_headers
print(json.dumps({"CacheDir": constants.HF_HUB_CACHE, "Endpoint": constants.ENDPOINT, "Offline": constants.HF_HUB_OFFLINE,
    "NoSymlinks": constants.HF_HUB_DISABLE_SYMLINKS, "Seconds": constants.HF_HUB_DOWNLOAD_TIMEOUT,
    "Token": build_hf_headers().get("authorization", "").removeprefix("Bearer ")}))`)
		var want struct {
			CacheDir, Endpoint, Token string
			Offline, NoSymlinks       bool
			Seconds                   int
		}
		if err := json.Unmarshal([]byte(out), &want); err != nil {
			t.Fatal(err)
		}
		got := FromEnvironment(func(k string) string { return all[k] }, home)
		if got.Timeout == 0 {
			got.Timeout = 10 * time.Second // their default
		}
		if got.CacheDir != want.CacheDir || got.Endpoint != want.Endpoint || got.Token != want.Token || got.Offline != want.Offline ||
			got.NoSymlinks != want.NoSymlinks || got.Timeout != time.Duration(want.Seconds)*time.Second {
			t.Errorf("%v: %+v, python has %+v", env, got, want)
		}
	}
}
