//go:build (!amd64 && !arm64) || noasm

package simd

// Without assembly Levels lists Portable alone, and none of these is reached.
const unreachable = "simd: assembly kernel called in a build without assembly"

func addSumSquares(dst, a, b *float32, n int) float32          { panic(unreachable) }
func sumSquares(a *float32, n int) float32                     { panic(unreachable) }
func scaleMul(dst, x, w *float32, s float32, n int)            { panic(unreachable) }
func rotate(x1, x2, cos, sin *float32, n int)                  { panic(unreachable) }
func siluMul(dst, gate, up *float32, n int)                    { panic(unreachable) }
func maxOf(x *float32, n int) float32                          { panic(unreachable) }
func expSum(x *float32, n int, m float32) float32              { panic(unreachable) }
func scaleAdd(dst, src *float32, a, b float32, n int)          { panic(unreachable) }
func scale(dst, src *float32, s float32, n int)                { panic(unreachable) }
func toBF16(dst *uint16, src *float32, n int)                  { panic(unreachable) }
func toF16(dst *uint16, src *float32, n int)                   { panic(unreachable) }
func fromBF16(dst *float32, src *uint16, n int)                { panic(unreachable) }
func fromF16(dst *float32, src *uint16, n int)                 { panic(unreachable) }
func fromI8(dst *float32, src *int8, s float32, n int)         { panic(unreachable) }
func fromI8Columns(dst *float32, src *int8, s *float32, n int) { panic(unreachable) }
func transpose16(dst, src *float32, stride, n int)             { panic(unreachable) }
func quantizeQ8(dst *byte, src *float32, blocks int)           { panic(unreachable) }
func nextAbove(x *float32, from, n int, limit float32) int     { panic(unreachable) }
func pause(n int)                                              { panic(unreachable) }
