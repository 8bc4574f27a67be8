#version 460
// AddRMSNorm, and KeepRows, which reads the tokens that kept names: sum = x + delta, normed = sum/√(mean(sum²)+eps)·weight.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common.glsl"
#include "cluster.glsl"
layout(constant_id = 0) const uint FORM = 0;
#define TO_F16 (FORM != 0)
#include "quantize.glsl"
#define THREADS 256
#include "reduce.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t x, delta, weight, sum, normed, kept, count; // 0: none
	uint64_t bytes, scales;                              // of normed, rounded
	uint capacity, cols;
	float eps;
} p;

// term is x + delta.
float term(uint at) {
	float v = Floats(p.x).v[at];
	if (p.delta != 0ul) v += Floats(p.delta).v[at];
	return v;
}

void main() {
	uint row = gl_WorkGroupID.x;
	if (row >= live(p.count, p.capacity)) return;
	uint kept = Words(p.kept != 0ul ? p.kept + 4ul * row : p.weight).v[0]; // see live
	uint from = (p.kept != 0ul ? kept : row) * p.cols;
	precise float squares = 0.0;
	for (uint c = gl_LocalInvocationIndex; c < p.cols; c += THREADS) {
		float v = term(from + c);
		squares = fma(v, v, squares);
	}
	float scale = inverseRoot(groupSum(squares) / float(p.cols) + p.eps);
	// Four neighbouring values an invocation, which are an eighth of a block that is rounded.
	for (uint c = 4u * gl_LocalInvocationIndex; c < p.cols; c += 4u * THREADS) {
		precise vec4 y;
		[[unroll]] for (uint j = 0; j < 4; j++) {
			y[j] = 0.0;
			if (c + j >= p.cols) break;
			float v = term(from + c + j);
			if (p.sum != 0ul) Floats(p.sum).v[from + c + j] = v;
			y[j] = v * scale * Floats(p.weight).v[c + j];
			if (p.normed != 0ul) Floats(p.normed).v[row * p.cols + c + j] = y[j];
		}
		if (p.bytes != 0ul) quantize(y, gl_LocalInvocationIndex % 8u, p.bytes, p.scales, (row * p.cols + c) / 32u);
	}
}
