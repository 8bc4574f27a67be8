package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseRef(t *testing.T) {
	for s, want := range map[string]Ref{
		"Qwen/Qwen3-0.6B":                              {Repo: "Qwen/Qwen3-0.6B"},
		"Qwen/Qwen3-0.6B@main":                         {Repo: "Qwen/Qwen3-0.6B", Revision: "main"},
		"Qwen/Qwen3-0.6B@refs/pr/1":                    {Repo: "Qwen/Qwen3-0.6B", Revision: "refs/pr/1"},
		"Qwen/Qwen3-0.6B-GGUF:Q8_0":                    {Repo: "Qwen/Qwen3-0.6B-GGUF", Quant: "Q8_0"},
		"Qwen/Qwen3-0.6B-GGUF:q4_k":                    {Repo: "Qwen/Qwen3-0.6B-GGUF", Quant: "q4_k"},
		"Qwen/Qwen3-0.6B-GGUF@v1:UD-Q2":                {Repo: "Qwen/Qwen3-0.6B-GGUF", Revision: "v1", Quant: "UD-Q2"},
		"a/b":                                          {Repo: "a/b"},
		"user_1/_x_":                                   {Repo: "user_1/_x_"},
		"o/m@0123456789012345678901234567890123456789": {Repo: "o/m", Revision: "0123456789012345678901234567890123456789"},
	} {
		got, err := ParseRef(s)
		if err != nil || got != want || !IsRef(s) || got.String() != s {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "/", "a", "a/", "/b", "a/b/c", "./b", "../b", "a/..", "a/.", "-a/b", "a/b-", "a/b.git", "a--b/c", "a/b..c", "a b/c", "a/b c",
		`C:\models\x`, "C:/models/x", "~/models", "/abs/path", "a/b@", "a/b:", "a/b@:q", "a/b@../x", "a/b@/x", "a/b@x y", "a/b@a..b/../..",
		"a/b:q/4", "a/b:..", "a/b@c:d:e", "é/b", "a/" + strings.Repeat("x", 97), "a/b:" + strings.Repeat("q", 65), "a/b@" + strings.Repeat("r", 256),
		"random:0.6b", "https://huggingface.co/a/b", "a/b\n", "a/b@x\x00",
	} {
		if r, err := ParseRef(s); err == nil || IsRef(s) {
			t.Errorf("%q was taken for %+v", s, r)
		} else if !strings.HasPrefix(err.Error(), "hub: ") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, s := range []string{"a", "a.b", "a/b", ".gitattributes", "..a", "a..b", "console.txt", "com10", "commit", "é.json", "a b"} {
		if err := checkName(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", ".", "..", "/", "a/", "/a", "a//b", "a/../b", `a\b`, "a:b", "C:", "nul", "NUL.txt", "a/con", "Com1.x.y", "lpt9",
		"conin$", "a.", "a ", " a", "a\tb", "a*", "a?", `a"`, "<", "|", "\xff", strings.Repeat("a", 1025)} {
		if checkName(s) == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	at := func(parts ...string) string { return filepath.Join(append([]string{home}, parts...)...) }
	tokens := t.TempDir()
	for _, f := range []string{at(".cache/huggingface/token"), filepath.Join(tokens, "token"), filepath.Join(tokens, "other")} {
		if err := os.MkdirAll(filepath.Dir(f), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(" from "+filepath.Base(f)+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const hub = "https://huggingface.co"
	for name, c := range map[string]struct {
		env  map[string]string
		want Options
	}{
		"nothing":          {nil, Options{Endpoint: hub, CacheDir: at(".cache/huggingface/hub"), Token: "from token"}},
		"XDG":              {map[string]string{"XDG_CACHE_HOME": at("x")}, Options{Endpoint: hub, CacheDir: at("x/huggingface/hub")}},
		"HF_HOME":          {map[string]string{"HF_HOME": tokens, "XDG_CACHE_HOME": "/x"}, Options{Endpoint: hub, CacheDir: filepath.Join(tokens, "hub"), Token: "from token"}},
		"HF_HOME of ~":     {map[string]string{"HF_HOME": "~/y"}, Options{Endpoint: hub, CacheDir: at("y/hub")}},
		"HF_HOME of $VAR":  {map[string]string{"HF_HOME": "$A/${B}/$C", "A": "/a", "B": "b"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/a/b/$C/hub")}},
		"legacy cache":     {map[string]string{"HUGGINGFACE_HUB_CACHE": "/c"}, Options{Endpoint: hub, CacheDir: "/c", Token: "from token"}},
		"HF_HUB_CACHE":     {map[string]string{"HUGGINGFACE_HUB_CACHE": "/c", "HF_HUB_CACHE": "/d"}, Options{Endpoint: hub, CacheDir: "/d", Token: "from token"}},
		"HF_ENDPOINT":      {map[string]string{"HF_ENDPOINT": "http://h//", "HF_HOME": "/h"}, Options{Endpoint: "http://h", CacheDir: filepath.FromSlash("/h/hub")}},
		"HF_TOKEN":         {map[string]string{"HF_TOKEN": " t\n", "HUGGING_FACE_HUB_TOKEN": "u", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), Token: "t"}},
		"legacy token":     {map[string]string{"HUGGING_FACE_HUB_TOKEN": "u", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), Token: "u"}},
		"HF_TOKEN_PATH":    {map[string]string{"HF_TOKEN_PATH": filepath.Join(tokens, "other"), "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), Token: "from other"}},
		"no implicit":      {map[string]string{"HF_TOKEN": "t", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub")}},
		"offline":          {map[string]string{"HF_HUB_OFFLINE": "on", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), Offline: true}},
		"offline by other": {map[string]string{"TRANSFORMERS_OFFLINE": "True", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), Offline: true}},
		"not offline":      {map[string]string{"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub")}},
		"links, timeout":   {map[string]string{"HF_HUB_DISABLE_SYMLINKS": "yes", "HF_HUB_DOWNLOAD_TIMEOUT": "7", "HF_HOME": "/h"}, Options{Endpoint: hub, CacheDir: filepath.FromSlash("/h/hub"), NoSymlinks: true, Timeout: 7 * time.Second}},
	} {
		got := FromEnvironment(func(k string) string { return c.env[k] }, home)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
