package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cache is the folder of one repository in huggingface_hub's cache.
type cache struct {
	root string // Options.CacheDir
	name string // models--owner--name
	dir  string // root/name
}

func newCache(root, repo string) cache {
	name := "models--" + strings.ReplaceAll(repo, "/", "--")
	return cache{root: root, name: name, dir: filepath.Join(root, name)}
}

func (c cache) blob(etag string) string       { return filepath.Join(c.dir, "blobs", etag) }
func (c cache) snapshot(commit string) string { return filepath.Join(c.dir, "snapshots", commit) }
func (c cache) lock(etag string) string {
	return filepath.Join(c.root, ".locks", c.name, etag+".lock")
}
func (c cache) pointer(commit, name string) string {
	return filepath.Join(c.snapshot(commit), filepath.FromSlash(name))
}
func (c cache) ref(revision string) string {
	return filepath.Join(c.dir, "refs", filepath.FromSlash(revision))
}
func (c cache) noExist(commit, name string) string {
	return filepath.Join(c.dir, ".no_exist", commit, filepath.FromSlash(name))
}

// has tells whether the snapshot has a file, and not just a link whose blob is
// gone.
func (c cache) has(commit, name string) bool {
	info, err := os.Stat(c.pointer(commit, name))
	return err == nil && info.Mode().IsRegular()
}

// absent returns the names that the snapshot does not have.
func (c cache) absent(commit string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return c.has(commit, n) })
}

// commitOf reads which commit a revision stood for when it was last fetched.
func (c cache) commitOf(revision string) string {
	if isCommit(revision) {
		return revision
	}
	b, err := readSmall(c.ref(revision), 1<<10)
	if commit := strings.TrimSpace(string(b)); err == nil && isCommit(commit) {
		return commit
	}
	return ""
}

// writeRef notes the commit that a revision stands for, by renaming so that no
// reader sees half of it.
func (c cache) writeRef(revision, commit string) error {
	if revision == commit || c.commitOf(revision) == commit {
		return nil // also where the cache is complete and read-only
	}
	path := c.ref(revision)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(commit)
	// A temporary file is private; a reference is as readable as the blobs.
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return rename(f.Name(), path)
}

// noteAbsent leaves huggingface_hub's marker for each wanted file that the
// commit does not have, which tells a complete snapshot from a partial one
// where there is no network.
func (c cache) noteAbsent(commit string, wanted, names []string) {
	for _, w := range wanted {
		path := c.noExist(commit, w)
		if _, err := os.Stat(path); err == nil || slices.Contains(names, w) {
			continue
		}
		// Best effort: without the marker the next Resolve asks the hub again.
		if os.MkdirAll(filepath.Dir(path), 0o777) == nil {
			_ = os.WriteFile(path, nil, 0o666)
		}
	}
}

// tag marks the cache for backup programs, as huggingface_hub does.
func (c cache) tag() {
	path := filepath.Join(c.root, "CACHEDIR.TAG")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		_ = os.WriteFile(path, []byte("Signature: 8a477f597d28d172789f06886806bc55\n"+
			"# This file is a cache directory tag.\n"+
			"# For information about cache directory tags, see:\n"+
			"#\thttps://bford.info/cachedir/\n"), 0o666)
	}
}

// link makes the snapshot's file stand for a blob: a relative symlink; where
// that fails or cannot be followed (Windows without developer mode or with its
// evaluation of links restricted, some network drives) a hard link; else the
// file itself, moved if the blob was fetched just now and copied if other
// snapshots may use it, as huggingface_hub does.
func (p *pull) link(etag, name string, fetched bool) error {
	blob, pointer := p.cache.blob(etag), p.cache.pointer(p.commit, name)
	fail := func(err error) error { return fmt.Errorf("hub: adding %s to the cache: %w", name, err) }
	if p.cache.has(p.commit, name) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(pointer), 0o777); err != nil {
		return fail(err)
	}
	if err := os.Remove(pointer); err != nil && !errors.Is(err, fs.ErrNotExist) { // a link whose blob is gone
		return fail(err)
	}
	target, err := filepath.Rel(filepath.Dir(pointer), blob)
	if err == nil {
		err = p.symlink(target, pointer)
	}
	if p.cache.has(p.commit, name) { // by this link, or that of somebody faster
		return nil
	}
	if err == nil {
		err = errors.New("the link cannot be followed")
		_ = os.Remove(pointer)
	}
	p.Log.Debug("no symlinks in the cache", "file", name, "err", err)
	// A blob may itself be a link into the cache's store of shared blobs; a hard
	// link or a move must take the file.
	if blob, err = filepath.EvalSymlinks(blob); err != nil {
		return fail(err)
	}
	if err := p.hardlink(blob, pointer); err == nil {
		return nil
	}
	if fetched {
		err = rename(blob, pointer)
	} else {
		err = copyFile(blob, pointer)
	}
	if err != nil {
		return fail(p.diskError(err, name, 0, ""))
	}
	return nil
}

// copyFile copies by way of a temporary name, so that an interrupted copy is
// never taken for the file.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Dir(to), ".copy.*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name())
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Chmod(0o644), dst.Close()); err != nil {
		return err
	}
	return rename(dst.Name(), to)
}

// found is what the cache has for a reference.
type found struct {
	commit  string
	path    string   // what Resolve would return
	missing []string // files without which the model does not run
	unknown []string // files that the commit may have and the snapshot has not
	err     error    // why no file could be chosen
}

func (f found) complete() bool { return f.path != "" && len(f.missing) == 0 && f.err == nil }

// missingError says what to do about a cache that is not complete when there
// is no network to complete it.
func (f found) missingError(ref Ref, c cache) error {
	const remedy = "run once with a network and without HF_HUB_OFFLINE"
	switch {
	case f.err != nil:
		return fmt.Errorf("%w; offline, so only %s was looked at (%s): %w", f.err, c.dir, remedy, ErrNotCached)
	case len(f.missing) > 0:
		return fmt.Errorf("hub: offline, and the cached %s lacks %s: %s: %w", ref, nameList(f.missing), remedy, ErrNotCached)
	}
	return fmt.Errorf("hub: offline, and %s is not in %s: %s: %w", ref, c.root, remedy, ErrNotCached)
}

// lookup tells what the cache has. The names of the commit's files are known if
// huggingface_hub left its listing of them; otherwise the snapshot is taken to
// be complete with a configuration, a tokenizer and all the weights that it or
// its index names.
func (c cache) lookup(ref Ref) found {
	f := found{commit: c.commitOf(ref.revision())}
	if f.commit == "" {
		return f
	}
	dir := c.snapshot(f.commit)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return f
	}
	names, listed := c.listing(f.commit)
	if !listed {
		names = filesIn(dir)
		if !slices.ContainsFunc(names, isWeights) && !slices.Contains(names, indexFile) {
			f.path, f.missing = dir, []string{"the weights"}
			return f
		}
	}
	want, err := selectFiles(ref, names)
	if err != nil {
		f.path, f.err = dir, err
		return f
	}
	if want.gguf != "" {
		f.path = c.pointer(f.commit, want.gguf)
		f.missing = c.absent(f.commit, []string{want.gguf})
		if stem, _ := ggufStem(want.gguf); !listed && !endsInFormat(stem, ref.Quant) {
			f.unknown = []string{want.gguf} // the repository may have a better match
		}
		return f
	}
	f.path = dir
	need := want.weights
	if want.index && c.has(f.commit, indexFile) {
		if need, err = readIndex(c.pointer(f.commit, indexFile)); err != nil {
			f.err = err
			return f
		}
	} else if want.index {
		need = []string{indexFile}
	}
	f.missing = c.absent(f.commit, append([]string{"config.json"}, need...))
	for _, w := range wanted {
		if c.has(f.commit, w) || listed && !slices.Contains(names, w) {
			continue
		}
		if _, err := os.Stat(c.noExist(f.commit, w)); err == nil {
			continue
		}
		switch {
		case slices.Contains(f.missing, w):
		case listed || w == "tokenizer.json":
			f.missing = append(f.missing, w)
		case w == indexFile && slices.ContainsFunc(need, isShard):
			f.missing = append(f.missing, w)
		default:
			f.unknown = append(f.unknown, w)
		}
	}
	return f
}

func isWeights(name string) bool {
	return hasExt(name, ".gguf") || hasExt(name, ".safetensors") && !strings.Contains(name, "/")
}

// isShard tells whether a weight file's name says that it is one of
// several: model-00001-of-00002.safetensors.
func isShard(name string) bool {
	return partNumber.MatchString(strings.TrimSuffix(name, ".safetensors"))
}

// listing reads the names of a commit's files that huggingface_hub keeps in
// trees/<commit>.json.
func (c cache) listing(commit string) (names []string, ok bool) {
	b, err := readSmall(filepath.Join(c.dir, "trees", commit+".json"), maxListingBytes)
	if err != nil {
		return nil, false
	}
	return parseTree(b)
}

func parseTree(b []byte) (names []string, ok bool) {
	var tree struct {
		Version int                        `json:"format_version"`
		Files   map[string]json.RawMessage `json:"files"`
	}
	if json.Unmarshal(b, &tree) != nil || tree.Version != 1 || len(tree.Files) == 0 {
		return nil, false
	}
	for n := range tree.Files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, true
}

// filesIn returns the files of a snapshot, named with slashes.
func filesIn(dir string) (names []string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is not there
		}
		if rel, err := filepath.Rel(dir, path); err == nil {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				names = append(names, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	return names
}

// readSmall reads a file that should not have more than limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}
