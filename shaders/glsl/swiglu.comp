#version 460
// SwiGLU: y[t][o] = silu(x[t][o])·x[t][cols+o].
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t x, y, count;
	uint capacity, cols;
} p;

void main() {
	uint n = live(p.count, p.capacity) * p.cols;
	for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * 256u) {
		uint t = i / p.cols, o = i % p.cols;
		float gate = Floats(p.x).v[2u * t * p.cols + o], up = Floats(p.x).v[(2u * t + 1u) * p.cols + o];
		Floats(p.y).v[i] = gate / (1.0 + exponential(-gate)) * up;
	}
}
