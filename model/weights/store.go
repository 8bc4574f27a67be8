package weights

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ullm/ullm/tensor"
)

// A source holds the bytes of one file.
//
// Files are read with pread into reused buffers, not mapped. Reading and summing 1.2 GB from the page cache, best of 5:
//
//	pieces of          1 MB    4 MB    16 MB   64 MB
//	1 thread  pread    0.25    0.24    0.24    0.41 s
//	          mmap     0.22    0.24    0.22    0.26 s (and madvise DONTNEED)
//	2 threads pread    0.16    0.13    0.16    0.22 s
//	          mmap     0.13    0.13    0.11    0.11 s
//
// The difference is small in pieces of a few megabytes and nothing beside repacking them; for that, a file that another
// process cuts short is an error and not a SIGBUS, resident memory is the buffers alone, an antivirus or a network
// file system cannot stall a page fault inside a kernel's loop, and all systems share one implementation.
type source interface {
	// bytes hands size bytes from offset to use; what it hands out is valid inside use only.
	bytes(offset, size int64, use func([]byte) error) error
	io.Closer
}

// fileSource reads an open file.
type fileSource struct {
	file    *os.File
	buffers sync.Pool // of *[]byte
}

// keepBuffer is the size up to which a buffer is kept for the next call: larger ones go back to the collector.
const keepBuffer = 32 << 20

func (s *fileSource) bytes(offset, size int64, use func([]byte) error) error {
	buffer, _ := s.buffers.Get().(*[]byte)
	if buffer == nil || int64(cap(*buffer)) < size {
		b := make([]byte, size)
		buffer = &b
	}
	if size <= keepBuffer {
		defer s.buffers.Put(buffer)
	}
	b := (*buffer)[:size]
	if n, err := s.file.ReadAt(b, offset); n < len(b) {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the file was cut short while it was open: %w", io.ErrUnexpectedEOF)
		}
		return err
	}
	return use(b)
}

func (s *fileSource) Close() error {
	if err := s.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// memorySource is a file that is part of the binary.
type memorySource struct {
	data   []byte
	closed atomic.Bool
}

func (s *memorySource) bytes(offset, size int64, use func([]byte) error) error {
	if s.closed.Load() {
		return os.ErrClosed
	}
	return use(s.data[offset : offset+size : offset+size])
}

func (s *memorySource) Close() error {
	s.closed.Store(true)
	return nil
}

// openFile opens a regular file and tells its size.
func openFile(path string) (*os.File, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("weights: %w", err)
	}
	stat, err := file.Stat()
	if err == nil && !stat.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		file.Close()
		return nil, 0, fmt.Errorf("weights: %w", err)
	}
	return file, stat.Size(), nil
}

// store is the part of a Reader that all kinds of files share: named, checked pieces of sources.
type store struct {
	sources []source
	order   []string
	tensors map[string]entry
}

// entry is a tensor and where it lies.
type entry struct {
	Info
	path   string // for messages
	source source
	offset int64 // in the source
	size   int64 // in bytes
}

func (s *store) Tensors() []Info {
	infos := make([]Info, len(s.order))
	for i, name := range s.order {
		infos[i] = s.tensors[name].Info
	}
	return infos
}

func (s *store) Lookup(name string) (Info, bool) {
	e, ok := s.tensors[name]
	return e.Info, ok
}

func (s *store) Size() int64 {
	var size int64
	for _, e := range s.tensors {
		size += e.Bytes()
	}
	return size
}

func (s *store) Rows(name string, first, n int, use func(rows []byte) error) error {
	e, ok := s.tensors[name]
	if !ok {
		return fmt.Errorf("weights: there is no tensor %q", name)
	}
	if e.Format == tensor.NoFormat {
		return e.errorf("is stored as %s; supported: %v", e.Stored, tensor.WeightFormats())
	}
	if rows := e.Rows(); first < 0 || n < 0 || first > rows-n {
		return e.errorf("rows %d to %d were asked for, it has %d", first, int64(first)+int64(n), rows)
	}
	rowBytes := int64(e.RowBytes())
	var inUse bool
	err := e.source.bytes(e.offset+int64(first)*rowBytes, int64(n)*rowBytes, func(rows []byte) error {
		inUse = true
		return use(rows)
	})
	if err != nil && !inUse {
		return e.errorf("rows %d to %d: %w", first, first+n, err)
	}
	return err
}

func (s *store) Close() error {
	var errs []error
	for _, source := range s.sources {
		errs = append(errs, source.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

func (e *entry) errorf(format string, args ...any) error {
	return fmt.Errorf("weights: %s: tensor %q: "+format, append([]any{e.path, e.Name}, args...)...)
}

// add takes in the tensors of one source, in file order. Two must not have the same name.
func (s *store) add(source source, entries []entry) error {
	s.sources = append(s.sources, source)
	if s.tensors == nil {
		s.tensors = make(map[string]entry, len(entries))
	}
	for _, e := range entries {
		if other, ok := s.tensors[e.Name]; ok {
			return e.errorf("is in %s, too; every tensor must be there once", other.path)
		}
		e.source = source
		s.tensors[e.Name] = e
		s.order = append(s.order, e.Name)
	}
	return nil
}

// sortByOffset puts entries in file order, an empty tensor before one that begins at the same byte.
func sortByOffset(entries []entry) {
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size))
	})
}

// product multiplies the dimensions of a shape. ok is false if one is negative or the product of those that are not 0
// is so large that a size in bytes might overflow an int.
func product(shape []int) (n int, ok bool) {
	n = 1
	empty := false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			empty = true
		case n > math.MaxInt/8/d:
			return 0, false
		default:
			n *= d
		}
	}
	if empty {
		n = 0
	}
	return n, true
}
