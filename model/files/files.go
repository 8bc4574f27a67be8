// Package files opens a model as users name it on disk: a Hugging Face directory or a GGUF file, with its configuration,
// tensors, tokenizer and chat template.
package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/model/tokenizer"
	"github.com/ullm/ullm/model/weights"
)

// Files is an opened model.
type Files struct {
	Path       string
	Config     model.Config
	Checkpoint model.Checkpoint
	Tokenizer  func() (*tokenizer.Tokenizer, error) // read when asked for: loading a large vocabulary overlaps with the weights
	Template   string                               // "" where the files have none
}

// Close closes the files. An Instance that was loaded from them does not need them any more.
func (f *Files) Close() error { return f.Checkpoint.Close() }

// Open opens a directory with config.json or a file that ends in .gguf.
func Open(path string) (*Files, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	if info.IsDir() {
		return openDirectory(path)
	}
	if strings.EqualFold(filepath.Ext(path), ".gguf") {
		g, err := weights.OpenGGUF(path)
		if err != nil {
			return nil, err
		}
		return fromGGUF(path, g)
	}
	return nil, fmt.Errorf("files: %s is neither a directory with config.json nor a .gguf file", path)
}

// GGUF opens a GGUF file that is in memory.
func GGUF(name string, data []byte) (*Files, error) {
	g, err := weights.OpenGGUFBytes(name, data)
	if err != nil {
		return nil, err
	}
	return fromGGUF(name, g)
}

func openDirectory(dir string) (*Files, error) {
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return nil, fmt.Errorf("files: %s is no Hugging Face model directory: %w", dir, err)
	}
	generation, err := readOptional(dir, "generation_config.json")
	if err != nil {
		return nil, err
	}
	f := &Files{Path: dir}
	if f.Config, err = model.ParseConfig(config, generation); err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, dir)
	}
	if f.Template, err = directoryTemplate(dir); err != nil {
		return nil, err
	}
	f.Tokenizer = func() (*tokenizer.Tokenizer, error) {
		b, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		t, err := tokenizer.FromJSON(b)
		if err != nil {
			return nil, fmt.Errorf("%w (in %s)", err, filepath.Join(dir, "tokenizer.json"))
		}
		return t, nil
	}
	r, err := weights.OpenSafetensors(dir)
	if err != nil {
		return nil, err
	}
	f.Checkpoint = checkpoint{r, func(name string) string { return name }}
	return f, nil
}

// directoryTemplate reads chat_template.jinja or the template inside tokenizer_config.json: transformers prefers the
// file. Of several named templates "default" is taken.
func directoryTemplate(dir string) (string, error) {
	b, err := readOptional(dir, "chat_template.jinja")
	if err != nil || b != nil {
		return string(b), err
	}
	if b, err = readOptional(dir, "tokenizer_config.json"); err != nil || b == nil {
		return "", err
	}
	var c struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return "", fmt.Errorf("files: %s: %w", filepath.Join(dir, "tokenizer_config.json"), err)
	}
	if c.Template == nil {
		return "", nil
	}
	var one string // null leaves it ""
	if json.Unmarshal(c.Template, &one) == nil {
		return one, nil
	}
	var named []struct{ Name, Template string }
	if err := json.Unmarshal(c.Template, &named); err != nil {
		return "", fmt.Errorf("files: %s: chat_template is neither a text nor a list of named ones", filepath.Join(dir, "tokenizer_config.json"))
	}
	for _, n := range named {
		if n.Name == "default" {
			return n.Template, nil
		}
	}
	return "", nil
}

func readOptional(dir, name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	return b, nil
}

// ropeFactors is how GGUF files carry the frequencies of Llama 3's scaling, which no key of the metadata tells.
const ropeFactors = "rope_freqs.weight"

func fromGGUF(path string, g *weights.GGUF) (*Files, error) {
	f := &Files{Path: path, Checkpoint: checkpoint{g, func(name string) string {
		translated, _ := weights.GGUFName(name)
		return translated
	}}}
	var err error
	if f.Config, err = model.ConfigFromGGUF(g); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (in %s)", err, path), g.Close())
	}
	if _, ok := g.Lookup(ropeFactors); ok {
		return nil, errors.Join(fmt.Errorf("files: %s has the tensor %s, a rope scaling that is not supported; supported: none, linear, yarn", path, ropeFactors), g.Close())
	}
	f.Config.SetFromTensors(func(name string) bool { _, ok := g.Lookup(name); return ok })
	f.Template, _ = g.String("tokenizer.chat_template")
	if m, _ := g.String("tokenizer.ggml.model"); m != "gpt2" {
		return nil, errors.Join(fmt.Errorf("files: %s has a tokenizer of kind %q; only byte-level BPE (\"gpt2\") is supported", path, m), g.Close())
	}
	var v tokenizer.Vocab
	v.Tokens, _ = g.Strings("tokenizer.ggml.tokens")
	types, _ := g.Ints("tokenizer.ggml.token_type")
	for _, t := range types {
		v.Types = append(v.Types, int32(t))
	}
	v.Merges, _ = g.Strings("tokenizer.ggml.merges")
	v.Pre, _ = g.String("tokenizer.ggml.pre")
	f.Tokenizer = func() (*tokenizer.Tokenizer, error) {
		t, err := tokenizer.FromGGUF(v)
		if err != nil {
			return nil, fmt.Errorf("%w (in %s)", err, path)
		}
		return t, nil
	}
	return f, nil
}

// checkpoint names a file's tensors as Hugging Face does.
type checkpoint struct {
	r    weights.Reader
	name func(huggingFace string) string
}

func (c checkpoint) Lookup(name string) (model.TensorInfo, bool) {
	i, ok := c.r.Lookup(c.name(name))
	return model.TensorInfo{Format: i.Format, Stored: i.Stored, Rows: i.Rows(), Cols: i.Cols()}, ok
}

func (c checkpoint) Rows(name string, first, n int, use func([]byte) error) error {
	return c.r.Rows(c.name(name), first, n, use)
}

func (c checkpoint) Close() error { return c.r.Close() }
