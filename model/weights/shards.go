package weights

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
	// maxIndex bounds the index file: it names each tensor once, as the headers together do.
	maxIndex = maxSafetensorsHeader
)

// OpenSafetensors opens a safetensors file, or a directory with model.safetensors or with the shards that
// model.safetensors.index.json names. All headers are read and checked; no data is.
func OpenSafetensors(path string) (Reader, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if !stat.IsDir() {
		return openShards([]string{path}, nil)
	}
	single := filepath.Join(path, singleFile)
	if _, err := os.Stat(single); err == nil {
		return openShards([]string{single}, nil)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("weights: %w", err)
	}
	index := filepath.Join(path, indexFile)
	if _, err := os.Stat(index); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("weights: %s has neither %s nor %s%s", path, singleFile, indexFile, instead(path))
	}
	shards, weightMap, err := readIndex(index)
	if err != nil {
		return nil, err
	}
	return openShards(shards, weightMap)
}

// instead says what weights a directory has in place of those expected.
func instead(directory string) string {
	for _, c := range []struct{ pattern, advice string }{
		{"*.gguf", "is a GGUF file: name it instead of the directory"},
		{"*.safetensors", "is a safetensors file of another name: name it instead of the directory"},
		{"*.bin", "is a PyTorch file, which could run code: convert it to safetensors"},
		{"*.pth", "is a PyTorch file, which could run code: convert it to safetensors"},
	} {
		// The directory's own name may have the pattern's special characters: match names, not the path.
		entries, err := os.ReadDir(directory)
		if err != nil {
			return ""
		}
		for _, e := range entries {
			if ok, _ := filepath.Match(c.pattern, e.Name()); ok {
				return fmt.Sprintf("; %s %s", e.Name(), c.advice)
			}
		}
	}
	return ""
}

// readIndex reads a shard index: the paths of the shards in order of their names, and which shard has which tensor.
func readIndex(path string) (shards []string, weightMap map[string]string, err error) {
	fail := func(format string, args ...any) ([]string, map[string]string, error) {
		return nil, nil, fmt.Errorf("weights: %s: "+format, append([]any{path}, args...)...)
	}
	file, size, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	if size > maxIndex {
		return fail("has %d bytes, at most %d are expected", size, maxIndex)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxIndex))
	if err != nil {
		return fail("%w", err)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return fail("%w", err)
	}
	if len(index.WeightMap) == 0 {
		return fail("has no weight_map from tensors to files")
	}
	names := map[string]bool{}
	for name, shard := range index.WeightMap {
		if !plainName(shard) {
			return fail("tensor %q: the file %q is not a plain name in the same directory", name, shard)
		}
		names[shard] = true
	}
	directory := filepath.Dir(path)
	var missing []string
	for _, shard := range slices.Sorted(maps.Keys(names)) {
		full := filepath.Join(directory, shard)
		if _, err := os.Stat(full); errors.Is(err, os.ErrNotExist) {
			missing = append(missing, shard)
		} else if err != nil {
			return fail("%w", err)
		}
		shards = append(shards, full)
	}
	if len(missing) > 0 {
		return fail("%d of its %d files are missing: %s", len(missing), len(names), strings.Join(missing[:min(len(missing), 8)], ", "))
	}
	return shards, index.WeightMap, nil
}

// plainName tells whether a file name from an index stays in the index's directory, on every system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00") && filepath.IsLocal(name)
}

// openShards opens files as one checkpoint. weightMap, unless nil, says in which each tensor must be.
func openShards(paths []string, weightMap map[string]string) (Reader, error) {
	s := &store{}
	for _, path := range paths {
		if err := s.openShard(path); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weightMap)) {
		e, ok := s.tensors[name]
		if !ok || filepath.Base(e.path) != weightMap[name] {
			err := fmt.Errorf("weights: %s: the index places tensor %q there, but it is not", filepath.Join(filepath.Dir(paths[0]), weightMap[name]), name)
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *store) openShard(path string) error {
	file, size, err := openFile(path)
	if err != nil {
		return err
	}
	entries, err := parseSafetensors(path, bufio.NewReader(file), size)
	if err != nil {
		file.Close()
		return err
	}
	return s.add(&fileSource{file: file}, entries)
}
