package hub

import (
	"fmt"
	"math"
	"path/filepath"

	"github.com/dustin/go-humanize"
)

// checkSpace refuses a download that the disk has no room for, before any of it
// is written, where the system tells how much is free.
func (p *pull) checkSpace(names []string, remotes map[string]remote) error {
	dir := filepath.Join(p.cache.dir, "blobs")
	var need uint64
	counted := map[string]bool{}
	for _, n := range names {
		r := remotes[n]
		blob := p.cache.blob(r.etag)
		if counted[r.etag] || blobSize(blob) == r.size {
			continue
		}
		counted[r.etag] = true
		partial := max(blobSize(blob+".incomplete"), 0)
		if partial > r.size {
			partial = 0
		}
		// The sizes are the server's word; a sum beyond any disk stays one.
		need += min(uint64(r.size-partial), math.MaxUint64-need)
		p.meter.add(n, partial, r.size)
	}
	free, ok := p.free(dir)
	if !ok || need <= free {
		return nil
	}
	return fmt.Errorf("hub: %s needs %s more in %s, where %s are free: make room or set HF_HOME: %w",
		p.ref, humanize.IBytes(need), dir, humanize.IBytes(free), ErrNoSpace)
}

// diskError adds to an error what a full disk calls for. need is how much was
// still to be written; partial the file that stays, if any. Other errors pass.
func (s *session) diskError(err error, name string, need int64, partial string) error {
	if !isDiskFull(err) {
		return err
	}
	text := fmt.Sprintf("hub: no room for %s", name)
	if need > 0 {
		text += ", which needs " + humanize.IBytes(uint64(need)) + " more"
	}
	if free, ok := s.free(s.CacheDir); ok {
		text += ": " + humanize.IBytes(free) + " are free"
	}
	text += " in " + s.CacheDir + ": make room and run again, or set HF_HOME"
	if partial != "" {
		text += " (what has arrived stays in " + partial + " and is resumed)"
	}
	return fmt.Errorf("%s: %w: %w", text, ErrNoSpace, err)
}
