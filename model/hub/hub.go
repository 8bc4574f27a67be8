// Package hub finds a model by its hub id and brings the files that ullm needs
// into the cache that Python's huggingface_hub uses, in the same layout, so
// that either side uses what the other has downloaded:
//
//	CacheDir/
//	  .locks/models--Qwen--Qwen3-0.6B/<etag>.lock
//	  models--Qwen--Qwen3-0.6B/
//	    blobs/<etag>                   sha256 of an LFS file, git's blob sha1 of any other
//	    blobs/<etag>.incomplete        a partial download, resumed by the next one
//	    refs/main                      the commit that the name stood for
//	    snapshots/<commit>/config.json -> ../../blobs/<etag>
//	    .no_exist/<commit>/<file>      empty: the commit has no such file
//
// The transfer is written on net/http rather than on cavaliergopher/grab: grab
// appends whatever a resumed response carries without looking at its
// Content-Range or its length, follows redirects with the Authorization header
// that net/http keeps for subdomains, and hashes a file by reading it again.
// Here every byte is bounded by the size that the hub states, hashed as it
// arrives, and the token goes to the hub's own origin only.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DefaultEndpoint is the hub that is asked when Options names none.
const DefaultEndpoint = "https://huggingface.co"

// Options say where the hub and the cache are. FromEnvironment fills them as
// Python's tools would; only CacheDir is required.
type Options struct {
	Endpoint   string        // address of the hub; "" is DefaultEndpoint
	CacheDir   string        // the directory that holds models--owner--name
	Token      string        // sent to the endpoint's own origin only; "" sends none
	Offline    bool          // never use the network
	NoSymlinks bool          // link or move blobs into snapshots, as where symlinks do not work
	Timeout    time.Duration // longest silence of a server before its connection counts as cut; 0 is 30 s

	// Client makes the requests; nil is a client with the proxy settings of the
	// environment. Its CheckRedirect is not used: redirects are followed here.
	Client *http.Client
	// Accept, if set, sees config.json before any weight is fetched, so that a
	// model that cannot run is refused early. Its error ends Resolve. It is not
	// called for a model that is in the cache already, nor for GGUF files.
	Accept func(config []byte) error
	// Progress, if set, is told of each piece that arrives. Calls come from
	// several goroutines but never two at once; they hold up the download, so a
	// slow display drops what it cannot show.
	Progress func(Event)
	Log      *slog.Logger // nil logs nothing
}

// Event is the state of a download, in bytes.
type Event struct {
	File        string // the file that moved on, named as in the repository
	Done, Total int64  // of File; the first Done of a resumed file is what it had already
	// AllDone and AllTotal sum the files known so far: the weights join when the
	// shard index has been read.
	AllDone, AllTotal int64
}

// Errors that Resolve wraps, for errors.Is.
var (
	ErrNotFound  = errors.New("not found")
	ErrAccess    = errors.New("access denied by the hub")
	ErrNoSpace   = errors.New("disk full")
	ErrCorrupt   = errors.New("corrupt download")
	ErrNotCached = errors.New("not in the cache")
	ErrName      = errors.New("unsafe name")
)

// Resolve returns the local path of a model: the snapshot directory with its
// configuration, tokenizer and safetensors, or, for a GGUF file, that file.
// What the cache lacks is downloaded. Without a network, a complete cache is
// used and a log line says so.
//
// When ctx ends, Resolve returns its error; partial files stay and the next
// Resolve goes on from them. They also stay when the disk is full, because the
// way out of that is to make room and go on; the error names them. A partial
// file whose hash turns out wrong is deleted and fetched once more.
func Resolve(ctx context.Context, ref Ref, o Options) (path string, err error) {
	s, err := newSession(o)
	if err != nil {
		return "", err
	}
	defer s.close()
	return s.resolve(ctx, ref)
}

// session is one Resolve. Its function fields are what tests replace.
type session struct {
	Options
	endpoint *url.URL
	ownHTTP  bool // the client is ours to close

	maxTries int // of a request, or of a transfer that brings nothing
	sleep    func(ctx context.Context, d time.Duration) error
	open     func(path string) (partialFile, error)
	free     func(dir string) (bytes uint64, ok bool)
	symlink  func(target, path string) error
	hardlink func(from, to string) error
}

func newSession(o Options) (*session, error) {
	if o.CacheDir == "" {
		return nil, errors.New("hub: no cache directory is set: set HF_HOME or HF_HUB_CACHE")
	}
	if o.Endpoint == "" {
		o.Endpoint = DefaultEndpoint
	}
	o.Endpoint = strings.TrimRight(o.Endpoint, "/")
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("hub: the endpoint must be an address like https://hub.example: check HF_ENDPOINT")
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, errors.New("hub: the token holds a character that no token has: check HF_TOKEN or the token file")
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &session{
		Options:  o,
		endpoint: u,
		maxTries: 5,
		sleep:    sleep,
		open:     openPartial,
		free:     freeSpace,
		symlink:  os.Symlink,
		hardlink: os.Link,
	}
	if o.NoSymlinks {
		s.symlink = func(string, string) error { return errors.ErrUnsupported }
	}
	s.Client, s.ownHTTP = redirectless(o.Client)
	return s, nil
}

func (s *session) close() {
	if s.ownHTTP {
		s.Client.CloseIdleConnections()
	}
}

func (s *session) resolve(ctx context.Context, ref Ref) (string, error) {
	if err := ref.check(); err != nil {
		return "", err
	}
	c := newCache(s.CacheDir, ref.Repo)
	have := c.lookup(ref)
	if have.complete() {
		// A commit never changes, so nothing on the hub can be newer.
		if isCommit(ref.revision()) && len(have.unknown) == 0 {
			return have.path, nil
		}
		if s.Offline {
			s.Log.Info("offline: using the cached model", "model", ref.String(), "path", have.path)
			return have.path, nil
		}
	}
	if s.Offline {
		return "", have.missingError(ref, c)
	}

	tries := s.maxTries
	if have.complete() {
		tries = 1 // waiting out a dead network would only delay what the cache can serve
	}
	listing, err := s.list(ctx, ref, tries)
	if err != nil {
		if ctx.Err() == nil && have.complete() && !isMissingRevision(err) {
			s.Log.Warn("the hub cannot be used: using the cached model, which may be older",
				"model", ref.String(), "path", have.path, "err", err)
			return have.path, nil
		}
		return "", err
	}
	p := &pull{session: s, cache: c, ref: ref, commit: listing.commit, meter: &meter{report: s.Progress}}
	path, err := p.run(ctx, listing.names)
	if err != nil {
		return "", err
	}
	// The reference moves last: until then, a cache without network still
	// answers with the complete snapshot that it had before.
	if err := c.writeRef(ref.revision(), listing.commit); err != nil {
		s.Log.Warn("cannot note the revision in the cache", "model", ref.String(), "err", err)
	}
	return path, nil
}

// pull fetches the files of one model at one commit.
type pull struct {
	*session
	cache  cache
	ref    Ref
	commit string
	meter  *meter
}

// run fetches what the model needs among the files that the commit has.
func (p *pull) run(ctx context.Context, names []string) (string, error) {
	want, err := selectFiles(p.ref, names)
	if err != nil {
		return "", err
	}
	if want.gguf != "" {
		if err := p.fetch(ctx, []string{want.gguf}); err != nil {
			return "", err
		}
		return p.cache.pointer(p.commit, want.gguf), nil
	}

	// The index says which shards there are, and the configuration whether the
	// model can run at all: both are small and come before everything else.
	if !slices.Contains(names, "config.json") {
		return "", fmt.Errorf("hub: %s has weights but no config.json: %w", p.ref, ErrNotFound)
	}
	first := []string{"config.json"}
	if want.index {
		first = append(first, indexFile)
	}
	if err := p.fetch(ctx, first); err != nil {
		return "", err
	}
	dir := p.cache.snapshot(p.commit)
	weights := want.weights
	if want.index {
		if weights, err = readIndex(filepath.Join(dir, indexFile)); err != nil {
			return "", err
		}
		for _, w := range weights {
			if !slices.Contains(names, w) {
				return "", fmt.Errorf("hub: %s: %s names %s, which the repository does not have: %w", p.ref, indexFile, w, ErrNotFound)
			}
		}
	}
	if p.Accept != nil && len(p.cache.absent(p.commit, weights)) > 0 {
		config, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			return "", fmt.Errorf("hub: %w", err)
		}
		if err := p.Accept(config); err != nil {
			return "", fmt.Errorf("hub: %s: %w", p.ref, err)
		}
	}
	if err := p.fetch(ctx, want.small, weights); err != nil {
		return "", err
	}
	p.cache.noteAbsent(p.commit, wanted, names)
	return dir, nil
}
