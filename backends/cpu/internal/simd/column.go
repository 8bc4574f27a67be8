package simd

// StoreColumn writes x into a column of a page of keys in a 16-bit format: every PageTokens-th value from dst[0] on.
func (k *Kernels) StoreColumn(dst, x []uint16) {
	if f := columnOf(k.Level); f != nil && len(x) > 0 {
		_ = dst[(len(x)-1)*PageTokens]
		f(&dst[0], &x[0], len(x))
		return
	}
	for i, v := range x {
		dst[i*PageTokens] = v
	}
}

// Prefetch asks for memory that will soon be read or written, where the level can.
func (k *Kernels) Prefetch(b []byte) {
	if f := prefetchOf(k.Level); f != nil && len(b) > 0 {
		f(&b[0], len(b))
	}
}
