#version 460
// TakeRows: row i of x is the kept row that row i of the head block names.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common.glsl"
#include "cluster.glsl"
layout(constant_id = 0) const uint FORM = 0;
#define TO_F16 (FORM != 0)
#include "quantize.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	uint64_t hidden, head, x, count;
	uint64_t bytes, scales; // of x, rounded; 0: not wanted
	uint capacity, cols, rows;
} p;

void main() {
	uint i = gl_WorkGroupID.x;
	if (i >= live(p.count, p.capacity)) return;
	uint row = min(Words(p.head).v[8u * i], p.rows - 1u);
	if (p.x != 0ul) {
		for (uint c = gl_LocalInvocationIndex; c < p.cols; c += 64u) Floats(p.x).v[i * p.cols + c] = Floats(p.hidden).v[row * p.cols + c];
	}
	if (p.bytes == 0ul) return;
	for (uint c = 4u * gl_LocalInvocationIndex; c < p.cols; c += 256u) {
		vec4 x;
		[[unroll]] for (uint j = 0; j < 4; j++) x[j] = Floats(p.hidden).v[row * p.cols + c + j];
		quantize(x, gl_LocalInvocationIndex % 8u, p.bytes, p.scales, (i * p.cols + c) / 32u);
	}
}
