package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
)

// sparseGGUF is a file of zeros with matrices a and b of rows × 1024 float32 values, and their last bytes set. It takes
// up no room on the disk.
func sparseGGUF(t *testing.T, rows int64) string {
	t.Helper()
	size := rows * 4096
	header := ggufTensor(ggufHeader(3, 2, 0), "a", 0, 0, 1024, uint64(rows))
	header = ggufTensor(header, "b", 0, uint64(size), 1024, uint64(rows))
	path := writeFile(t, filepath.Join(t.TempDir(), "sparse.gguf"), header)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	start := alignUp(int64(len(header)), 32)
	if _, err := file.WriteAt([]byte{1}, start+size-1); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte{2}, start+2*size-1); err != nil {
		t.Fatal(err)
	}
	return path
}

// residentMB is the resident memory of this process.
func residentMB(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(text), &total, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize()) >> 20
}

// Two goroutines that read 256 MB each in pieces of 4 MB hold no more than a few such pieces.
func TestRowsLetGo(t *testing.T) {
	const rows, piece = 1 << 16, 1 << 10
	g, err := OpenGGUF(sparseGGUF(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	debug.FreeOSMemory()
	before := residentMB(t)
	var mu sync.Mutex
	var most int64
	var group sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		group.Go(func() {
			for first := 0; first < rows; first += piece {
				err := g.Rows(name, first, piece, func(b []byte) error {
					var sum int
					for i := 63; i < len(b); i += 64 {
						sum += int(b[i])
					}
					if last := first+piece == rows; last != (sum != 0) {
						return fmt.Errorf("the bytes from row %d of %s show %d", first, name, sum)
					}
					mu.Lock()
					defer mu.Unlock()
					most = max(most, residentMB(t))
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if grown := most - before; grown > 128 { // usually 20; the race detector's shadow comes on top
		t.Errorf("reading 512 MB made resident memory grow by %d MB", grown)
	}
}

// Offsets beyond 4 GiB are as good as others.
func TestLargeFile(t *testing.T) {
	const rows = 5 << 18 // 5 GiB each
	g, err := OpenGGUF(sparseGGUF(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Size() != 10<<30 {
		t.Errorf("size %d", g.Size())
	}
	for i, name := range []string{"a", "b"} {
		err := g.Rows(name, rows-1, 1, func(b []byte) error {
			if b[4095] != byte(i+1) {
				t.Errorf("%s ends with %d", name, b[4095])
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// Close while Rows calls are running: each gives its rows or os.ErrClosed.
func TestCloseWhileReading(t *testing.T) {
	g, err := OpenGGUF(sparseGGUF(t, 1<<10))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		group.Go(func() {
			started <- struct{}{}
			for {
				err := g.Rows("b", 1023, 1, func(b []byte) error {
					if b[4095] != 2 {
						t.Error("wrong bytes")
					}
					return nil
				})
				if errors.Is(err, os.ErrClosed) {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
}
