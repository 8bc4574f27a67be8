#version 460
// Rounds rows of activations to the form in which they are multiplied, where what makes them does not.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common.glsl"
#include "cluster.glsl"
layout(constant_id = 0) const uint FORM = 0;
#define TO_F16 (FORM != 0)
#include "quantize.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	uint64_t x, bytes, scales, count;
	uint capacity, cols;
} p;

void main() {
	uint row = gl_WorkGroupID.x, lane = gl_LocalInvocationIndex % 8u, blocks = p.cols / 32u;
	if (row >= live(p.count, p.capacity)) return;
	for (uint b = gl_LocalInvocationIndex / 8u; b < blocks; b += 8u) {
		vec4 x;
		[[unroll]] for (uint j = 0; j < 4; j++) x[j] = Floats(p.x).v[row * p.cols + 32u * b + 4u * lane + j];
		quantize(x, lane, p.bytes, p.scales, row * blocks + b);
	}
}
