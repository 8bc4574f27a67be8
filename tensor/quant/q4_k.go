package quant

// Q4_K: 256 values in 144 bytes: binary16 d and dmin, 12 bytes of packed scales and minima of 8 sub-blocks of 32, then
// 128 bytes of q: for each pair of sub-blocks 32 bytes, the first's values in the low halves, the second's in the high.
// value = d·scale·q - dmin·minimum.
const bytesQ4_K = 144

func decodeQ4_K(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:superBlock], src[:bytesQ4_K]
		d, dmin := getF16(b), getF16(b[2:])
		sc, m := unpackScales(b[4:])
		qs := b[4+packedScales:]
		for j := 0; j < subBlocks; j += 2 {
			d1, m1 := d*float32(sc[j]), float32(dmin*float32(m[j]))
			d2, m2 := d*float32(sc[j+1]), float32(dmin*float32(m[j+1]))
			low, high := x[subBlock*j:][:subBlock], x[subBlock*(j+1):][:subBlock]
			for i, q := range qs[subBlock*j/2:][:subBlock] {
				low[i] = float32(d1*float32(q&15)) - m1
				high[i] = float32(d2*float32(q>>4)) - m2
			}
		}
		dst, src = dst[superBlock:], src[bytesQ4_K:]
	}
}

// encodeQ4_K is quantize_row_q4_K_ref.
func encodeQ4_K(dst []byte, src []float32) {
	for len(src) > 0 {
		b := dst[:bytesQ4_K]
		q := fitSuperBlock(b, (*[superBlock]float32)(src), search{levels: 15, first: -1, step: 0.1, steps: 20})
		qs := b[4+packedScales:]
		for j := 0; j < superBlock; j += 2 * subBlock {
			for i := range subBlock {
				qs[j/2+i] = q[j+i] | q[j+subBlock+i]<<4
			}
		}
		src, dst = src[superBlock:], dst[bytesQ4_K:]
	}
}
