package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 10
	firstWait    = 500 * time.Millisecond // before the second try; doubles
	longestWait  = 8 * time.Second
	// A hub may ask for patience (Retry-After) up to this; its rate limits are
	// counted over five minutes.
	longestRetryAfter = 5*time.Minute + 10*time.Second
)

var errStalled = errors.New("the server has gone silent")

// redirectless returns a client that leaves redirects to us: net/http would
// send the token on to subdomains of the hub, and the headers that describe a
// file are in the redirect itself.
func redirectless(c *http.Client) (client *http.Client, own bool) {
	leave := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c != nil {
		d := *c
		d.CheckRedirect = leave
		return &d, false
	}
	return &http.Client{
		CheckRedirect: leave,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: parallelDownloads,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true, // sizes and hashes are of the bytes as stored
		},
	}, true
}

// do makes one request and follows its redirects. The token goes to the
// endpoint's origin only, and no more once a redirect has left it. A HEAD stops
// at the redirect that describes the file. Any answer but 2xx, such a redirect,
// and 416 to a request for a range is an error. The body's Close releases the
// request.
func (s *session) do(ctx context.Context, method, at string, about target, header http.Header) (*http.Response, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", about, err)
	}
	trusted := true
	commit := ""
	for range maxRedirects {
		trusted = trusted && sameOrigin(u, s.endpoint)
		resp, err := s.once(ctx, method, u, header, trusted)
		if err != nil {
			return nil, err
		}
		// The commit is stated by the hub itself, which may be the first of
		// several answers.
		if c := resp.Header.Get("X-Repo-Commit"); c != "" {
			commit = c
		} else if commit != "" {
			resp.Header.Set("X-Repo-Commit", commit)
		}
		switch {
		case isRedirect(resp.StatusCode):
			if method == http.MethodHead && resp.Header.Get("X-Linked-Etag") != "" {
				return resp, nil
			}
			next, err := u.Parse(resp.Header.Get("Location"))
			resp.Body.Close()
			if err != nil || resp.Header.Get("Location") == "" {
				return nil, fmt.Errorf("hub: %s: %s redirects to nowhere", about, u.Host)
			}
			if next.Host == "" || next.Scheme != "https" && (next.Scheme != "http" || u.Scheme == "https") {
				return nil, fmt.Errorf("hub: %s: %s redirects to an address of kind %q, which is refused", about, u.Host, next.Scheme)
			}
			next.User = nil
			u = next
		case resp.StatusCode/100 == 2, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && header.Get("Range") != "":
			return resp, nil
		default:
			defer resp.Body.Close()
			return nil, s.newStatusError(resp, about, trusted)
		}
	}
	return nil, fmt.Errorf("hub: %s: more than %d redirects", about, maxRedirects)
}

func (s *session) once(ctx context.Context, method string, u *url.URL, header http.Header, trusted bool) (*http.Response, error) {
	rctx, watch := watchSilence(ctx, s.Timeout)
	req, err := http.NewRequestWithContext(rctx, method, u.String(), nil)
	if err != nil {
		watch.stop()
		return nil, fmt.Errorf("hub: %w", err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "ullm")
	req.Header.Set("Accept-Encoding", "identity")
	if trusted && s.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		stalled := context.Cause(rctx) == errStalled
		watch.stop()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("hub: %w", context.Cause(ctx))
		}
		// The wrapper's text has the whole address, and that of a storage host
		// carries a signature.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if stalled {
			err = errStalled
		}
		return nil, &cutError{err: err, host: u.Host}
	}
	watch.timer.Stop()
	resp.Body = &watchedBody{ReadCloser: resp.Body, watch: watch, ctx: rctx}
	return resp, nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// silence cancels a request whose answer, or the next piece of it, takes too
// long to come. It does not count the time that we take ourselves, on a
// slow disk for example.
type silence struct {
	timer  *time.Timer
	after  time.Duration
	cancel context.CancelCauseFunc
}

func watchSilence(ctx context.Context, after time.Duration) (context.Context, silence) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(after, func() { cancel(errStalled) })
	return ctx, silence{timer: timer, after: after, cancel: cancel}
}

func (w silence) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// watchedBody is a body that is read under watch; its Close ends the request.
type watchedBody struct {
	io.ReadCloser
	watch silence
	ctx   context.Context
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.watch.after)
	n, err := b.ReadCloser.Read(p)
	b.watch.timer.Stop()
	if err != nil && err != io.EOF {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (b *watchedBody) Close() error {
	// A short rest is read so that the connection can serve the next request.
	_, _ = io.CopyN(io.Discard, b.ReadCloser, 4<<10)
	b.watch.stop()
	return b.ReadCloser.Close()
}

// retry calls f until it succeeds, fails for good, or has been tried enough.
func (s *session) retry(ctx context.Context, tries int, about string, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil {
			return nil
		}
		if err := s.pause(ctx, try, tries, about, err); err != nil {
			return err
		}
	}
}

// pause waits before the next try, or returns the error that ends them.
func (s *session) pause(ctx context.Context, try, tries int, about string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("hub: %s: %w", about, context.Cause(ctx))
	}
	again, wait := transient(err)
	if !again || try >= tries {
		return err
	}
	if wait > longestRetryAfter {
		return fmt.Errorf("%w; it asks to wait %s, so try again later", err, wait.Round(time.Second))
	}
	if wait <= 0 {
		wait = min(firstWait<<(try-1), longestWait)
		wait += rand.N(wait / 4) // so that parallel downloads do not come back together
	}
	s.Log.Warn("trying again", "what", about, "in", wait.Round(time.Millisecond), "try", try+1, "of", tries, "err", err)
	if s.sleep(ctx, wait) != nil {
		return fmt.Errorf("hub: %s: %w", about, context.Cause(ctx))
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// cutError is a connection that could not be made or did not last.
type cutError struct {
	err  error
	host string
}

func (e *cutError) Error() string {
	return fmt.Sprintf("hub: the connection to %s failed: %v", e.host, e.err)
}
func (e *cutError) Unwrap() error { return e.err }

// transient tells whether the same request may succeed later, and when, if the
// server said so.
func transient(err error) (again bool, after time.Duration) {
	var st *statusError
	if errors.As(err, &st) {
		return st.status == http.StatusRequestTimeout || st.status == http.StatusTooManyRequests || st.status >= 500, st.after
	}
	var cert *tls.CertificateVerificationError
	var cut *cutError
	return errors.As(err, &cut) && !errors.As(err, &cert), 0
}

// statusError is an answer that says no.
type statusError struct {
	status int
	code   string // X-Error-Code
	after  time.Duration
	host   bool // the answer is another host's, and not about access to the model
	text   string
}

func (e *statusError) Error() string { return "hub: " + e.text }

func (e *statusError) Is(err error) bool {
	switch {
	case e.host:
	case err == ErrNotFound:
		return e.status == http.StatusNotFound || e.status == http.StatusGone || e.code == "RepoNotFound"
	case err == ErrAccess:
		return (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden) && e.code != "RepoNotFound"
	}
	return false
}

// newStatusError says what an answer means to the one who named the model.
func (s *session) newStatusError(resp *http.Response, about target, own bool) error {
	e := &statusError{
		status: resp.StatusCode,
		code:   resp.Header.Get("X-Error-Code"),
		after:  retryAfter(resp.Header, time.Now()),
	}
	page := s.Endpoint + "/" + about.repo
	switch {
	case !own && e.code == "":
		e.host = true
		e.text = fmt.Sprintf("%s: the storage host %s answered %d", about, resp.Request.URL.Host, e.status)
	case e.code == "GatedRepo":
		e.text = fmt.Sprintf("%s is gated: accept its licence at %s and set HF_TOKEN to a token of that account", about.repo, page)
		if s.Token != "" {
			e.text += " (the account of the token in use has no access yet)"
		}
	case e.code == "RepoNotFound" && (e.status == http.StatusNotFound || e.status == http.StatusUnauthorized):
		e.text = fmt.Sprintf("there is no model %s at %s: check its name, and if it is private set HF_TOKEN to a token that may read it", about.repo, s.Endpoint)
	case e.status == http.StatusUnauthorized && s.Token != "":
		e.text = fmt.Sprintf("the hub refuses the token that was sent for %s: set HF_TOKEN to a valid one, or unset it for a public model; if the model is gated, accept its licence at %s", about.repo, page)
	case e.status == http.StatusUnauthorized:
		e.text = fmt.Sprintf("%s does not exist, or it is private or gated: check its name, accept its licence at %s if it asks for that, and set HF_TOKEN", about.repo, page)
	case e.status == http.StatusForbidden:
		e.text = fmt.Sprintf("the hub forbids access to %s: accept its licence at %s if it asks for that, and set HF_TOKEN to a token that may read it", about, page)
	case e.code == "RevisionNotFound":
		e.text = fmt.Sprintf("%s has no revision %q", about.repo, about.revision)
	case e.code == "EntryNotFound" || e.status == http.StatusNotFound && about.file != "":
		e.text = fmt.Sprintf("%s has no file %s at revision %q", about.repo, about.file, about.revision)
	case e.status == http.StatusNotFound:
		e.text = fmt.Sprintf("there is no model %s with revision %q at %s: check the name", about.repo, about.revision, s.Endpoint)
	case e.status == http.StatusTooManyRequests:
		e.text = fmt.Sprintf("%s: the hub answered 429, too many requests (HF_TOKEN raises the limit)", about)
	default:
		e.text = fmt.Sprintf("%s: %s answered %d", about, resp.Request.URL.Host, e.status)
	}
	return e
}

// rateLimit is the hub's own header: "api";r=0;t=55 means nothing left, more
// in 55 seconds.
var rateLimit = regexp.MustCompile(`;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})`)

// retryAfter reads how long a server wants to be left alone; 0 if it does not
// say.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if m := rateLimit.FindStringSubmatch(h.Get("RateLimit")); v == "" && m != nil {
		v = m[1]
	}
	if v == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}
