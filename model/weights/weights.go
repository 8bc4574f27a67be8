// Package weights reads the tensors of a checkpoint: safetensors files, one or sharded, and GGUF files, whose writer is
// here too. Files are untrusted input. A header is checked completely before a reader is handed out: every count
// against the bytes that are left, every tensor against its shape and against the file. Errors name the file, the tensor
// and what was expected.
package weights

import "github.com/ullm/ullm/tensor"

// Info describes a stored tensor.
type Info struct {
	Name   string
	Format tensor.Format // NoFormat if Rows cannot hand it out
	Stored string        // the format in the file's own words: "BF16", "Q4_K", "I64"
	Shape  []int         // outermost first: a matrix is [rows, columns]. Not to be modified
}

// Rows is the number of rows: the product of all dimensions but the last. A vector is one row.
func (i Info) Rows() int {
	rows := 1
	for _, n := range i.Shape[:max(0, len(i.Shape)-1)] {
		rows *= n
	}
	return rows
}

// Cols is the number of values in a row.
func (i Info) Cols() int {
	if len(i.Shape) == 0 {
		return 1
	}
	return i.Shape[len(i.Shape)-1]
}

// RowBytes is the size in bytes of a stored row.
func (i Info) RowBytes() int { return i.Format.RowBytes(i.Cols()) }

// Bytes is the size in bytes of the stored tensor.
func (i Info) Bytes() int64 { return int64(i.Rows()) * int64(i.RowBytes()) }

// Reader hands out a checkpoint's tensors.
type Reader interface {
	// Tensors lists the tensors in file order. The slice is the caller's.
	Tensors() []Info
	// Lookup finds a tensor by its name in the file.
	Lookup(name string) (Info, bool)
	// Rows hands rows [first, first+n) of the named tensor to use, as stored. The slice must not be modified and is
	// valid inside use only; its memory serves the next call. So ask for a few megabytes at a time: that is fastest,
	// and n rows are what a call needs in memory. Rows returns use's error as it is. Calls may be concurrent.
	Rows(name string, first, n int, use func(rows []byte) error) error
	// Size is the number of bytes of all tensors that Rows can hand out.
	Size() int64
	// Close closes the files, and may be called at any time: a Rows call that is in use keeps its bytes, one that has
	// still to read them fails with os.ErrClosed, and so do later ones. Close is idempotent.
	Close() error
}
