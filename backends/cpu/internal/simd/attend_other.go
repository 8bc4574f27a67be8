//go:build !amd64 || noasm

package simd

// pagesOf has no kernels that read a KV cache's pages: tiles of weights do it.
func pagesOf(Level) (keys, values *pageKernels) { return nil, nil }

// softmaxOf has none: elementwise kernels do it.
func softmaxOf(Level) func(x *float32, n, padded int) (peak, total float32) { return nil }

// widenOf has none either.
func widenOf(Level, CacheFormat) func(dst *float32, src, next *uint16, n int) { return nil }

// columnOf and prefetchOf have none.
func columnOf(Level) func(dst, src *uint16, n int) { return nil }

func prefetchOf(Level) func(at *byte, n int) { return nil }
