// Activations rounded to f16 for cooperative matrices, as 1/32 of what they are: what a product of the hidden state's norm may
// have (SwiGLU's rare, large values) goes beyond f16's 65,504 by far less than that, and values of which f16 would then have no
// more than bf16's eight bits are below 0.0005.
const float HALF_SCALE = 1.0 / 32.0;

// toHalf rounds to nearest even. What is too large, 2 million, becomes the largest; only infinity is infinite.
uint toHalf(float x) {
	uint h = toF16(x * HALF_SCALE);
	return (h & 0x7fffu) == 0x7c00u && (floatBitsToUint(x) & 0x7fffffffu) != 0x7f800000u ? h - 1u : h;
}
