package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ullm/ullm/model/files"
	"github.com/ullm/ullm/tensor"
)

const (
	goldens = "../qwen3/testdata"
	talk    = goldens + "/e2e/talk"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// directory copies the talk model, with some of its files replaced ("" leaves one out).
func directory(t *testing.T, replaced map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		if _, ok := replaced[name]; !ok {
			write(name, read(t, talk+"/"+name))
		}
	}
	for name, text := range replaced {
		if text != "" {
			write(name, []byte(text))
		}
	}
	return dir
}

// descriptors is how many files this process has open, where the system tells.
func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

func TestOpen(t *testing.T) {
	before := descriptors()
	for _, path := range []string{talk, goldens + "/e2e/think", goldens + "/e2e/talk-q8_0/model.gguf"} {
		f, err := files.Open(filepath.FromSlash(path))
		if err != nil {
			t.Fatal(err)
		}
		tok, err := f.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		info, ok := f.Checkpoint.Lookup("model.embed_tokens.weight")
		if !ok || info.Rows != f.Config.Vocab || info.Cols != f.Config.Hidden || tok.Size() == 0 || f.Template == "" {
			t.Errorf("%s: embedding %+v, %d tokens, template %q", path, info, tok.Size(), f.Template)
		}
		rows := 0
		err = f.Checkpoint.Rows("model.norm.weight", 0, 1, func(b []byte) error { rows++; return nil })
		if err != nil || rows != 1 {
			t.Errorf("%s: %v", path, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Checkpoint.Rows("model.norm.weight", 0, 1, func([]byte) error { return nil }); err == nil {
			t.Errorf("%s: rows can be read from closed files", path)
		}
	}
	if after := descriptors(); after != before {
		t.Errorf("%d files were open before, %d are now", before, after)
	}
}

func TestOpenRefuses(t *testing.T) {
	before := descriptors()
	gguf := read(t, goldens+"/gguf/q8_0/model.gguf")
	file := func(name string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := string(read(t, talk+"/config.json"))
	for what, c := range map[string]struct{ path, says string }{
		"nothing there":             {filepath.Join(t.TempDir(), "model"), "model"},
		"an empty directory":        {t.TempDir(), "config.json"},
		"another kind of file":      {file("model.bin", gguf), ".gguf"},
		"no JSON":                   {directory(t, map[string]string{"config.json": "{"}), "config"},
		"another architecture":      {directory(t, map[string]string{"config.json": strings.Replace(config, `"qwen3"`, `"llama"`, 1)}), `"llama"`},
		"a bad generation config":   {directory(t, map[string]string{"generation_config.json": `{"top_p": 7}`}), "top_p"},
		"no weights":                {directory(t, map[string]string{"model.safetensors": ""}), "safetensors"},
		"half the weights":          {directory(t, map[string]string{"model.safetensors": string(read(t, talk+"/model.safetensors")[:9000])}), "model.safetensors"},
		"a template of numbers":     {directory(t, map[string]string{"tokenizer_config.json": `{"chat_template": 3}`}), "chat_template"},
		"a broken tokenizer config": {directory(t, map[string]string{"tokenizer_config.json": `{`}), "tokenizer_config.json"},
		"no GGUF":                   {file("model.gguf", []byte("GGML")), "model.gguf"},
		"half a GGUF":               {file("model.gguf", gguf[:len(gguf)/2]), "model.gguf"},
		"another tokenizer":         {file("model.gguf", bytes.Replace(gguf, []byte("gpt2"), []byte("bert"), 1)), `"bert"`},
		"frequencies of its own":    {file("model.gguf", bytes.Replace(gguf, []byte("token_embd.weight"), []byte("rope_freqs.weight"), 1)), "rope_freqs.weight"},
		"another GGUF architecture": {file("model.gguf", bytes.Replace(gguf, []byte("\x05\x00\x00\x00\x00\x00\x00\x00qwen3"), []byte("\x05\x00\x00\x00\x00\x00\x00\x00gemma"), 1)), `"gemma"`},
	} {
		f, err := files.Open(c.path)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := files.Open(filepath.Join(t.TempDir(), "model")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d files were open before, %d are now", before, after)
	}
}

func TestTokenizerMissing(t *testing.T) {
	for says, dir := range map[string]string{
		"tokenizer.json": directory(t, map[string]string{"tokenizer.json": ""}),
		"(in ":           directory(t, map[string]string{"tokenizer.json": "{}"}),
	} {
		f, err := files.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Tokenizer(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTemplates(t *testing.T) {
	for config, want := range map[string]string{
		`{"chat_template": "one"}`: "one",
		`{"chat_template": null}`:  "",
		`{}`:                       "",
		`{"chat_template": [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "three"}]}`: "three",
		`{"chat_template": [{"name": "tool_use", "template": "two"}]}`:                                           "",
	} {
		for _, jinja := range []string{"", "from a file of its own"} {
			f, err := files.Open(directory(t, map[string]string{"tokenizer_config.json": config, "chat_template.jinja": jinja}))
			if err != nil {
				t.Fatal(err)
			}
			if jinja != "" {
				want = jinja
			}
			if f.Template != want {
				t.Errorf("%s and %q: %q", config, jinja, f.Template)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	f, err := files.Open(directory(t, map[string]string{"tokenizer_config.json": "", "generation_config.json": ""}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Template != "" {
		t.Errorf("a template from nowhere: %q", f.Template)
	}
}

func TestGGUFInMemory(t *testing.T) {
	f, err := files.GGUF("inside", read(t, goldens+"/gguf/q8_0/model.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, ok := f.Checkpoint.Lookup("model.layers.0.self_attn.q_proj.weight"); !ok || info.Format != tensor.Q8_0 {
		t.Errorf("%+v", info)
	}
	if _, ok := f.Checkpoint.Lookup("blk.0.attn_q.weight"); ok {
		t.Error("tensors can be found by GGUF's names")
	}
	if _, err := files.GGUF("inside", []byte("GGUF")); err == nil || !strings.Contains(err.Error(), "inside") {
		t.Errorf("no model: %v", err)
	}
}
