package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxListingBytes bounds the hub's answer about a repository: 100,000 files
// make about 10 MB.
const maxListingBytes = 32 << 20

// listing is what the hub knows of a revision.
type listing struct {
	commit string
	names  []string
}

// list asks the hub which commit a revision stands for and what files it has.
func (s *session) list(ctx context.Context, ref Ref, tries int) (l listing, err error) {
	target := target{repo: ref.Repo, revision: ref.revision()}
	at := s.Endpoint + "/api/models/" + escape(ref.Repo) + "/revision/" + url.PathEscape(ref.revision())
	err = s.retry(ctx, tries, target.String(), func() error {
		resp, err := s.do(ctx, http.MethodGet, at, target, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxListingBytes+1))
		if err != nil {
			return &cutError{err: err, host: resp.Request.URL.Host}
		}
		l, err = parseListing(b)
		if err != nil {
			return fmt.Errorf("hub: %s: %w", target, err)
		}
		return nil
	})
	return l, err
}

func parseListing(b []byte) (listing, error) {
	if len(b) > maxListingBytes {
		return listing{}, fmt.Errorf("the hub's answer has more than %d bytes", maxListingBytes)
	}
	var info struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return listing{}, fmt.Errorf("the answer is not the hub's (check HF_ENDPOINT and any proxy): %w", err)
	}
	if !isCommit(info.SHA) {
		return listing{}, fmt.Errorf("the answer is not the hub's (check HF_ENDPOINT and any proxy): its commit is %.80q", info.SHA)
	}
	l := listing{commit: info.SHA}
	for _, f := range info.Siblings {
		l.names = append(l.names, f.Name)
	}
	return l, nil
}

// remote is a file at a commit: what the hub says of it.
type remote struct {
	name string
	etag string // the name of its blob
	size int64
}

// stat asks the hub for a file's hash and size.
func (p *pull) stat(ctx context.Context, name string) (r remote, err error) {
	target := target{repo: p.ref.Repo, revision: p.commit, file: name}
	err = p.retry(ctx, p.maxTries, target.String(), func() error {
		resp, err := p.do(ctx, http.MethodHead, p.fileURL(name), target, nil)
		if err != nil {
			return err
		}
		resp.Body.Close()
		r, err = parseHead(name, p.commit, resp)
		return err
	})
	if err == nil && r.size < 0 {
		r.size, err = p.measure(ctx, name, target)
	}
	return r, err
}

// measure counts the bytes of a file whose size the hub does not state, as
// happens behind a proxy that compresses or rewrites small files.
func (p *pull) measure(ctx context.Context, name string, target target) (n int64, err error) {
	const most = 64 << 20
	err = p.retry(ctx, p.maxTries, target.String(), func() error {
		resp, err := p.do(ctx, http.MethodGet, p.fileURL(name), target, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if n, err = io.Copy(io.Discard, io.LimitReader(resp.Body, most+1)); err != nil {
			return &cutError{err: err, host: resp.Request.URL.Host}
		}
		if n > most {
			return fmt.Errorf("hub: %s: the hub does not state its size", target)
		}
		return nil
	})
	return n, err
}

func (p *pull) fileURL(name string) string {
	return p.Endpoint + "/" + escape(p.ref.Repo) + "/resolve/" + p.commit + "/" + escape(name)
}

// escape escapes the parts of a slash-separated path.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// parseHead reads the headers in which the hub describes a file. The linked
// etag and size are those of an LFS file, whose bytes another host serves.
func parseHead(name, commit string, resp *http.Response) (remote, error) {
	h := resp.Header
	fail := func(format string, args ...any) (remote, error) {
		return remote{}, fmt.Errorf("hub: %s: "+format, append([]any{name}, args...)...)
	}
	if c := h.Get("X-Repo-Commit"); c != "" && c != commit {
		return fail("the hub answered with commit %.80q instead of %s", c, commit)
	}
	r := remote{name: name, size: -1}
	r.etag = normalizeEtag(h.Get("X-Linked-Etag"))
	if r.etag == "" {
		r.etag = normalizeEtag(h.Get("ETag"))
	}
	if r.etag == "" {
		return fail("the answer has no ETag, so it is not a hub's (check HF_ENDPOINT and any proxy)")
	}
	if checkName(r.etag) != nil || len(r.etag) > 128 || strings.ContainsAny(r.etag, "/ ") || strings.HasPrefix(r.etag, ".") {
		return fail("the hub's ETag %.80q is refused: %w", r.etag, ErrName)
	}
	size := h.Get("X-Linked-Size")
	if size == "" && !isRedirect(resp.StatusCode) && h.Get("Content-Encoding") == "" {
		size = h.Get("Content-Length")
	}
	if size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 {
			return fail("the hub states a size of %.80q", size)
		}
		r.size = n
	}
	return r, nil
}

// normalizeEtag strips the quotes of an etag and the mark of a weak one.
func normalizeEtag(s string) string {
	return strings.Trim(strings.TrimLeft(s, "W/"), `"`)
}

// target is what a request is about, for errors and log lines.
type target struct{ repo, revision, file string }

func (t target) String() string {
	if t.file != "" {
		return t.repo + "/" + t.file
	}
	return t.repo
}

// isMissingRevision tells whether the hub knows the repository but not the
// revision: what the cache has under that name is then not to be used.
func isMissingRevision(err error) bool {
	var st *statusError
	return errors.As(err, &st) && st.code == "RevisionNotFound"
}
