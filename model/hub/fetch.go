package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
)

const (
	parallelDownloads = 4
	bufferBytes       = 256 << 10
)

// partialFile is the part of os.File that a download writes through. Writes
// name their offset, so that where locks do not work (some network file
// systems) two processes write the same bytes to the same places.
type partialFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
}

func openPartial(path string) (partialFile, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
}

// fetch brings files into the snapshot, one group after the other and the files
// of a group side by side.
func (p *pull) fetch(ctx context.Context, groups ...[]string) error {
	var all []string
	for i, g := range groups {
		groups[i] = p.cache.absent(p.commit, g)
		all = append(all, groups[i]...)
	}
	if len(all) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(p.cache.dir, "blobs"), 0o777); err != nil {
		return fmt.Errorf("hub: making the cache: %w", err)
	}
	p.cache.tag()

	var mu sync.Mutex
	remotes := map[string]remote{}
	err := parallel(ctx, all, func(ctx context.Context, name string) error {
		r, err := p.stat(ctx, name)
		mu.Lock()
		defer mu.Unlock()
		remotes[name] = r
		return err
	})
	if err != nil {
		return err
	}
	if err := p.checkSpace(all, remotes); err != nil {
		return err
	}
	for _, g := range groups {
		err := parallel(ctx, g, func(ctx context.Context, name string) error { return p.fetchFile(ctx, remotes[name]) })
		if err != nil {
			return err
		}
	}
	return nil
}

// parallel calls f for each item, a few at a time. The first error ends the
// others and is returned.
func parallel[T any](ctx context.Context, items []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T)
	var wg sync.WaitGroup
	for range min(parallelDownloads, len(items)) {
		wg.Go(func() {
			for item := range work {
				if ctx.Err() == nil {
					if err := f(ctx, item); err != nil {
						cancel(err) // the first one stays
					}
				}
			}
		})
	}
	for _, item := range items {
		work <- item
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// blobSize returns the size of a blob or a partial one; -1 if there is none.
func blobSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// fetchFile brings one file into the snapshot, under the lock that
// huggingface_hub takes for it.
func (p *pull) fetchFile(ctx context.Context, r remote) error {
	unlock, err := p.lockFile(ctx, p.cache.lock(r.etag), r.name)
	if err != nil {
		return err
	}
	defer unlock()
	blob := p.cache.blob(r.etag)
	fetched := false
	if blobSize(blob) != r.size {
		if err := p.download(ctx, r, blob); err != nil {
			return err
		}
		fetched = true
	}
	p.meter.set(r.name, r.size)
	return p.link(r.etag, r.name, fetched)
}

// download makes the blob from its partial file. Bytes that turn out wrong are
// thrown away and fetched once more.
func (p *pull) download(ctx context.Context, r remote, blob string) error {
	partial := blob + ".incomplete"
	for second := false; ; second = true {
		err := p.complete(ctx, r, partial)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		if rmErr := os.Remove(partial); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			return fmt.Errorf("%w; the bad file is still there: %w", err, rmErr)
		}
		if second || ctx.Err() != nil {
			return err
		}
		p.Log.Warn("fetching the file again", "file", r.name, "err", err)
	}
	if err := rename(partial, blob); err != nil && blobSize(blob) != r.size {
		return fmt.Errorf("hub: adding %s to the cache: %w", r.name, err)
	}
	return nil
}

// complete appends to the partial file what it lacks and verifies it.
func (p *pull) complete(ctx context.Context, r remote, partial string) (err error) {
	f, err := p.open(partial)
	if err != nil {
		return p.diskError(fmt.Errorf("hub: %w", err), r.name, r.size, partial)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = p.diskError(fmt.Errorf("hub: %w", cerr), r.name, 0, partial)
		}
	}()
	t := &transfer{pull: p, remote: r, file: f, partial: partial, sum: newHash(r)}
	if err := t.resume(ctx); err != nil {
		return err
	}
	about := target{repo: p.ref.Repo, revision: p.commit, file: r.name}
	// A connection that brings something new starts the count of tries again;
	// all must be bounded still, by more than an honest bad line needs.
	most := 100 + r.size>>20
	for try, all := 1, int64(1); t.have < r.size; try, all = try+1, all+1 {
		before := t.have
		err := t.attempt(ctx, about)
		if err == nil {
			continue
		}
		if t.have > before {
			try = 1
		}
		if all >= most {
			return err
		}
		if err := p.pause(ctx, try, p.maxTries, about.String(), err); err != nil {
			return err
		}
	}
	if err := t.verify(); err != nil {
		return err
	}
	// Without this, a power cut could leave an empty blob under a trusted name.
	if err := f.Sync(); err != nil {
		return p.diskError(fmt.Errorf("hub: %w", err), r.name, 0, partial)
	}
	return nil
}

// newHash returns the hash that an etag is of: sha256 for LFS files, git's blob
// sha1 for the others. Another server than the hub may name files by something
// else; then there is nothing to verify but the size, and nil is returned.
func newHash(r remote) hash.Hash {
	switch {
	case len(r.etag) == 2*sha256.Size && isHex(r.etag):
		return sha256.New()
	case len(r.etag) == 2*sha1.Size && isHex(r.etag):
		h := sha1.New()
		fmt.Fprintf(h, "blob %d\x00", r.size)
		return h
	}
	return nil
}

// transfer is the download of one file.
type transfer struct {
	*pull
	remote
	file    partialFile
	partial string
	have    int64 // bytes in the file, all of them in sum
	sum     hash.Hash
	buf     []byte
}

// resume takes over what an earlier download has left.
func (t *transfer) resume(ctx context.Context) error {
	info, err := t.file.Stat()
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	size := info.Size()
	if size == 0 {
		return nil
	}
	if size > t.size || t.sum == nil {
		return t.restart()
	}
	t.Log.Info("going on with a partial download", "file", t.name, "have", size, "of", t.size)
	buf := t.buffer()
	for t.have < size {
		if ctx.Err() != nil {
			return fmt.Errorf("hub: %s: %w", t.name, context.Cause(ctx))
		}
		n, err := t.file.ReadAt(buf[:min(int64(len(buf)), size-t.have)], t.have)
		t.sum.Write(buf[:n])
		t.have += int64(n)
		if err != nil && (err != io.EOF || n == 0) {
			return fmt.Errorf("hub: reading the partial file of %s: %w", t.name, err)
		}
	}
	t.meter.set(t.name, t.have)
	return nil
}

func (t *transfer) buffer() []byte {
	if t.buf == nil {
		t.buf = make([]byte, bufferBytes)
	}
	return t.buf
}

func (t *transfer) restart() error {
	if err := t.file.Truncate(0); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	t.have, t.sum = 0, newHash(t.remote)
	t.meter.set(t.name, 0)
	return nil
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-\d{1,18}/(\*|\d{1,18})$`)

// attempt makes one connection and takes from it what it gives. Each begins at
// the hub, because the storage address that the hub answers with expires.
func (t *transfer) attempt(ctx context.Context, about target) error {
	header := http.Header{}
	if t.have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", t.have))
	}
	resp, err := t.do(ctx, http.MethodGet, t.fileURL(t.name), about, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return fmt.Errorf("hub: %s: %s sends it with Content-Encoding %.40q, which was not asked for: check any proxy", about, resp.Request.URL.Host, enc)
	}
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		return t.wrongSize("ends before byte %d", t.have)
	case http.StatusPartialContent:
		m := contentRange.FindStringSubmatch(resp.Header.Get("Content-Range"))
		if m == nil || m[1] != strconv.FormatInt(t.have, 10) {
			return fmt.Errorf("hub: %s: %s answers with range %.80q to a request from byte %d: %w",
				about, resp.Request.URL.Host, resp.Header.Get("Content-Range"), t.have, ErrCorrupt)
		}
		if m[2] != "*" && m[2] != strconv.FormatInt(t.size, 10) {
			return t.wrongSize("has %s", m[2])
		}
	default: // the whole file, whether or not a range was asked for
		if t.have > 0 {
			t.Log.Info("the server does not resume: starting the file over", "file", t.name)
			if err := t.restart(); err != nil {
				return err
			}
		}
		if resp.ContentLength >= 0 && resp.ContentLength != t.size {
			return t.wrongSize("has %d", resp.ContentLength)
		}
	}
	return t.copy(ctx, resp)
}

// copy writes the body to the end of the file. It ends without an error only
// when the file is complete.
func (t *transfer) copy(ctx context.Context, resp *http.Response) error {
	buf := t.buffer()
	for {
		n, err := resp.Body.Read(buf)
		if int64(n) > t.size-t.have {
			return t.wrongSize("has more")
		}
		if n > 0 {
			written, werr := t.file.WriteAt(buf[:n], t.have)
			if t.sum != nil {
				t.sum.Write(buf[:written])
			}
			t.have += int64(written)
			if werr != nil {
				return t.diskError(fmt.Errorf("hub: writing %s: %w", t.name, werr), t.name, t.size-t.have, t.partial)
			}
			t.meter.set(t.name, t.have)
		}
		switch {
		case err == io.EOF && t.have == t.size:
			return nil
		case ctx.Err() != nil: // what is buffered would go on for a while
			return fmt.Errorf("hub: %s: %w", t.name, context.Cause(ctx))
		case err == io.EOF:
			err = io.ErrUnexpectedEOF
			fallthrough
		case err != nil:
			return &cutError{err: err, host: resp.Request.URL.Host}
		}
	}
}

// wrongSize is the error of a server that has another file than the hub says.
func (t *transfer) wrongSize(format string, args ...any) error {
	return fmt.Errorf("hub: %s should have %d bytes, but what the server sends "+format+": %w",
		append(append([]any{t.name, t.size}, args...), ErrCorrupt)...)
}

func (t *transfer) verify() error {
	if t.sum == nil {
		t.Log.Warn("the hub gives no hash of the file: only its size was verified", "file", t.name, "etag", t.etag)
		return nil
	}
	if got := hex.EncodeToString(t.sum.Sum(nil)); got != t.etag {
		return fmt.Errorf("hub: %s has hash %s where the hub says %s: %w", t.name, got, t.etag, ErrCorrupt)
	}
	return nil
}
