//go:build !arm64

package simd

// Q8Flip is what the 8-bit integers of panels are XORed with: an offset of 128 makes them unsigned, as VPDPBUSD takes
// them.
const Q8Flip = 0x80
