package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

const (
	lockPoll     = 100 * time.Millisecond
	lockLogEvery = 10 * time.Second
)

// lockFile takes a lock between processes; it is the one that huggingface_hub's
// filelock takes, so Python waits for us and we for it. The lock file stays, as
// removing it would let two holders in. Where the file system has no locks the
// download goes on without: two of them then write the same bytes.
func (s *session) lockFile(ctx context.Context, path, name string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("hub: making the cache: %w", err)
	}
	// Group-writable, so that the users of a shared cache can wait for each other.
	l := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR), flock.SetPermissions(0o664))
	var lastLog time.Time
	for start := time.Now(); ; {
		ok, err := l.TryLock()
		if ok {
			return func() { _ = l.Close() }, nil
		}
		if err != nil {
			if isDiskFull(err) || os.IsPermission(err) || os.IsNotExist(err) {
				return nil, fmt.Errorf("hub: locking %s: %w", name, s.diskError(err, name, 0, ""))
			}
			s.Log.Warn("the cache cannot be locked: going on without", "path", path, "err", err)
			return func() {}, nil
		}
		if time.Since(lastLog) >= lockLogEvery {
			lastLog = time.Now()
			s.Log.Info("waiting for another download of the same file", "file", name, "lock", path,
				"waited", time.Since(start).Round(time.Second))
		}
		if sleep(ctx, lockPoll) != nil {
			return nil, fmt.Errorf("hub: waiting for another download of %s: %w", name, context.Cause(ctx))
		}
	}
}
