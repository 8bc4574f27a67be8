// Activations in the form in which they are multiplied.
//
// For integer dot products they are rounded to 8 bits: blocks of 32 values with the scale max|x|/127, ties to even. In
// memory they are a plane of bytes, [row][value], and a plane of two words for each block, [row][block]: the scale, and the sums
// of the bytes of its two halves, 16 bits each, from which formats with an offset or a minimum derive what these add.
// For cooperative matrices they are rounded to f16, one plane, [row][value]: where TO_F16, which a shader defines, says so.
#include "half.glsl"

layout(buffer_reference, std430, buffer_reference_align = 8) buffer Pairs { uvec2 v[]; };

// quantize rounds a block, of which the invocations of a cluster have four values each, and stores it as number block of the
// two planes.
void quantize(vec4 x, uint lane, uint64_t bytes, uint64_t scales, uint block) {
	if (TO_F16) {
		Pairs(bytes).v[block * 8u + lane] = uvec2(toHalf(x.x) | toHalf(x.y) << 16, toHalf(x.z) | toHalf(x.w) << 16);
		return;
	}
	vec4 a = abs(x);
	float top = clusterMax(max(max(a.x, a.y), max(a.z, a.w)));
	float inverse = top >= 1e-30 ? 127.0 / top : 0.0;
	precise vec4 y = x * inverse;
	ivec4 q = ivec4(roundEven(y));
	Words(bytes).v[block * 8u + lane] = uint(q.x & 0xff) | uint(q.y & 0xff) << 8 | uint(q.z & 0xff) << 16 | uint(q.w) << 24;
	int sum = q.x + q.y + q.z + q.w;
	sum += subgroupShuffleXor(sum, 1);
	sum += subgroupShuffleXor(sum, 2);
	int other = subgroupShuffleXor(sum, 4);
	if (lane == 0u) Pairs(scales).v[block] = uvec2(floatBitsToUint(top / 127.0), uint(sum & 0xffff) | uint(other) << 16);
}
