#version 460
// TakeRows: row i of x is the kept row that row i of the head block names.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	uint64_t hidden, head, x, count;
	uint capacity, cols, rows;
} p;

void main() {
	uint i = gl_WorkGroupID.x;
	if (i >= live(p.count, p.capacity)) return;
	uint row = min(Words(p.head).v[8u * i], p.rows - 1u);
	for (uint c = gl_LocalInvocationIndex; c < p.cols; c += 64u) Floats(p.x).v[i * p.cols + c] = Floats(p.hidden).v[row * p.cols + c];
}
