#version 460
// AddRMSNorm, and KeepRows, which reads the tokens that kept names: sum = x + delta, normed = sum/√(mean(sum²)+eps)·weight.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#define THREADS 256
#include "reduce.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t x, delta, weight, sum, normed, kept, count; // 0: none
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
	uint from = (p.kept != 0ul ? Words(p.kept).v[row] : row) * p.cols;
	precise float squares = 0.0;
	for (uint c = gl_LocalInvocationIndex; c < p.cols; c += THREADS) {
		float v = term(from + c);
		squares = fma(v, v, squares);
	}
	float scale = inverseRoot(groupSum(squares) / float(p.cols) + p.eps);
	for (uint c = gl_LocalInvocationIndex; c < p.cols; c += THREADS) {
		float v = term(from + c);
		if (p.sum != 0ul) Floats(p.sum).v[from + c] = v;
		precise float y = v * scale * Floats(p.weight).v[c];
		Floats(p.normed).v[row * p.cols + c] = y;
	}
}
