package simd

// Q8Flip is what the 8-bit integers of panels are XORed with: nothing, SDOT takes them signed.
const Q8Flip = 0
