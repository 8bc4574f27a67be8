package quant

// Q5_K: 256 values in 176 bytes: d, dmin and packed scales as in Q4_K, 32 bytes of fifth bits (bit j of byte i belongs
// to value i of sub-block j), then the low four bits as in Q4_K. value = d·scale·q - dmin·minimum.
const (
	bytesQ5_K = 176
	fifthBits = superBlock / 8
)

func decodeQ5_K(dst []float32, src []byte) {
	for len(dst) > 0 {
		x, b := dst[:superBlock], src[:bytesQ5_K]
		d, dmin := getF16(b), getF16(b[2:])
		sc, m := unpackScales(b[4:])
		qh := b[4+packedScales:][:fifthBits]
		qs := b[4+packedScales+fifthBits:]
		for j := 0; j < subBlocks; j += 2 {
			d1, m1 := d*float32(sc[j]), float32(dmin*float32(m[j]))
			d2, m2 := d*float32(sc[j+1]), float32(dmin*float32(m[j+1]))
			low, high := x[subBlock*j:][:subBlock], x[subBlock*(j+1):][:subBlock]
			for i, q := range qs[subBlock*j/2:][:subBlock] {
				low[i] = float32(d1*float32(q&15|qh[i]>>j&1<<4)) - m1
				high[i] = float32(d2*float32(q>>4|qh[i]>>(j+1)&1<<4)) - m2
			}
		}
		dst, src = dst[superBlock:], src[bytesQ5_K:]
	}
}

// encodeQ5_K is quantize_row_q5_K_ref.
func encodeQ5_K(dst []byte, src []float32) {
	for len(src) > 0 {
		b := dst[:bytesQ5_K]
		q := fitSuperBlock(b, (*[superBlock]float32)(src), search{levels: 31, first: -0.5, step: 0.1, steps: 15})
		qh := b[4+packedScales:][:fifthBits]
		qs := b[4+packedScales+fifthBits:]
		clear(qh)
		for j := 0; j < subBlocks; j += 2 {
			for i := range subBlock {
				low, high := q[subBlock*j+i], q[subBlock*(j+1)+i]
				qs[subBlock*j/2+i] = low&15 | high<<4
				qh[i] |= low>>4<<j | high>>4<<(j+1)
			}
		}
		src, dst = src[superBlock:], dst[bytesQ5_K:]
	}
}
