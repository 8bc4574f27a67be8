package vulkan

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ullm/ullm/tensor/quant"
)

// halfExponent is what bf16 weights are multiplied by, as a power of two, when they become f16: those between 3·10⁻⁸ and 256 keep
// all their bits. A weight that has a larger one is stored with a smaller exponent.
const halfExponent = 8

// tooLarge says that a value is beyond f16, and which exponent would do for it.
type tooLarge struct{ exponent int }

func (e *tooLarge) Error() string {
	return fmt.Sprintf("a weight is too large for f16 times 2^%d", e.exponent)
}

// halves rewrites values in bf16 as f16 times a power of two.
func halves(dst, src []byte, exponent int) error {
	scale := math.Ldexp(1, exponent)
	for i := 0; i+1 < len(src); i += 2 {
		v := binary.LittleEndian.Uint16(src[i:])
		h := v & 0x8000
		// Biased by 127 in bf16 and by 15 in f16.
		if e := int(v>>7&0xff) - 127 + 15 + exponent; e > 0 && e < 31 {
			h |= uint16(e)<<10 | v&0x7f<<3
		} else if f := quant.BF16ToF32(v); e >= 31 && !math.IsInf(float64(f), 0) && f == f {
			_, at := math.Frexp(float64(f)) // below 2^at
			return &tooLarge{16 - at}
		} else {
			h = quant.F32ToF16(float32(float64(f) * scale))
		}
		binary.LittleEndian.PutUint16(dst[i:], h)
	}
	return nil
}
