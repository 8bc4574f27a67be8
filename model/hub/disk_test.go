package hub

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk refuses to hold more than its limit in one partial file.
type smallDisk struct {
	*os.File
	limit int64
}

func (d smallDisk) WriteAt(b []byte, at int64) (int, error) {
	if room := d.limit - at; int64(len(b)) > room {
		n, err := d.File.WriteAt(b[:max(room, 0)], at)
		if err == nil {
			err = diskFullError
		}
		return n, &os.PathError{Op: "write", Path: d.Name(), Err: err}
	}
	return d.File.WriteAt(b, at)
}

func TestDiskFullInjected(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	_, err := resolve(t.Context(), "o/m", o, func(s *session) {
		s.free = func(string) (uint64, bool) { return 0, false }
		s.open = func(path string) (partialFile, error) {
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
			return smallDisk{f, 600 << 10}, err
		}
	})
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), shard1) || !strings.Contains(err.Error(), o.CacheDir) {
		t.Errorf("error: %v", err)
	}
	if n := blobSize(h.partial(o, repo, "o/m", shard1)); n != 600<<10 {
		t.Errorf("the partial file has %d bytes", n)
	}
	h.seen()
	dir, err := resolve(t.Context(), "o/m", o) // after room was made
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
	for _, r := range h.seen() {
		if strings.HasSuffix(r.path, repo.files[shard1].etag()) && r.method == "GET" && r.rng != "bytes=614400-" {
			t.Errorf("not resumed: %+v", r)
		}
	}
}

func TestDiskTooSmallBeforehand(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	tooSmall := func(s *session) { s.free = func(string) (uint64, bool) { return 1 << 20, true } }
	_, err := resolve(t.Context(), "o/m", o, tooSmall)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1.5 MiB") || !strings.Contains(err.Error(), "1.0 MiB") ||
		!strings.Contains(err.Error(), o.CacheDir) {
		t.Errorf("error: %v", err)
	}
	for _, r := range h.seen() {
		if strings.HasPrefix(r.path, "/store/") {
			t.Errorf("fetched %v", r)
		}
	}
	// What a partial file holds already is not needed again.
	partial := h.partial(o, repo, "o/m", shard1)
	if err := os.WriteFile(partial, repo.files[shard1].data[:600<<10], 0o666); err != nil {
		t.Fatal(err)
	}
	dir, err := resolve(t.Context(), "o/m", o, tooSmall)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, dir, repo, modelFiles)
}

func TestAbsurdSizes(t *testing.T) {
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	h.setFault(hugeSizes)
	_, err := resolve(t.Context(), "o/m", h.options(t))
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("error: %v", err)
	}
	// Where the system does not tell what is free, the claim costs nothing.
	o := h.options(t)
	_, err = resolve(t.Context(), "o/m", o, func(s *session) { s.free = func(string) (uint64, bool) { return 0, false } })
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("error: %v", err)
	}
	_ = repo
}

// A real full disk, where this test may mount one.
func TestDiskFullMounted(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(dir, 1<<20); err != nil {
		t.Logf("no file system of 1 MiB here (%v): TestDiskFullInjected stands for it", err)
		return
	}
	defer func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	}()
	h := newFakeHub(t)
	repo := h.addModel("o/m")
	o := h.options(t)
	o.CacheDir = filepath.Join(dir, "cache")
	_, err := resolve(t.Context(), "o/m", o)
	if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "1.5 MiB more") {
		t.Errorf("beforehand: %v", err)
	}
	blind := func(s *session) { s.free = func(string) (uint64, bool) { return 0, false } }
	_, err = resolve(t.Context(), "o/m", o, blind)
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on the way: %v", err)
	}
	var kept int64
	for _, n := range []string{shard1, shard2} {
		partial := h.partial(o, repo, "o/m", n)
		kept += max(blobSize(partial), 0) + max(blobSize(strings.TrimSuffix(partial, ".incomplete")), 0)
	}
	if kept == 0 {
		t.Errorf("nothing was kept: %v", err)
	}
	if err := growMount(dir, 8<<20); err != nil {
		t.Fatal(err)
	}
	path, err := resolve(t.Context(), "o/m", o)
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, path, repo, modelFiles)
}
