//go:build !noasm

package simd

// pagesOf are the kernels of a level that read a KV cache's pages, nil where it has none.
func pagesOf(l Level) (keys, values *pageKernels) {
	switch l {
	case AVX2:
		return &keys256Pages, &values256Pages
	case AVX512, AVX512BF16:
		return &keys512Pages, &values512Pages
	}
	return nil, nil
}

// softmaxOf is a level's softmax of a row of n scores, padded to a multiple of 16; nil where it has none.
func softmaxOf(l Level) func(x *float32, n, padded int) (peak, total float32) {
	if l == AVX512 || l == AVX512BF16 {
		return softmax512
	}
	return nil
}

// widenOf widens pages of a level's 16-bit format; nil where elementwise kernels do it.
func widenOf(l Level, f CacheFormat) func(dst *float32, src, next *uint16, n int) {
	switch {
	case l != AVX512 && l != AVX512BF16:
		return nil
	case f == CacheF16:
		return widen512F16
	case f == CacheBF16:
		return widen512BF16
	}
	return nil
}

// columnOf writes columns of pages in the 16-bit formats, prefetchOf asks for memory; nil on levels that have neither.
func columnOf(l Level) func(dst, src *uint16, n int) {
	if l == Portable {
		return nil
	}
	return storeColumn
}

func prefetchOf(l Level) func(at *byte, n int) {
	if l == Portable {
		return nil
	}
	return prefetch
}
