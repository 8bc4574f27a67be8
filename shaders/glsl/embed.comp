#version 460
// Embed: row t of x is the table's row of token t's id, decoded. An id outside the table reads row 0.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weight.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	Planes w;
	uint64_t tokens, x, count;
	uint capacity, cols, rows, chunks, shift;
} p;

void main() {
	uint t = gl_WorkGroupID.x;
	if (t >= live(p.count, p.capacity)) return;
	uint row = Words(p.tokens).v[t * 4u];
	if (row >= p.rows) row = 0u;
	for (uint c = gl_LocalInvocationIndex; c < p.chunks; c += 64u) {
		Chunk b = chunkBits(p.w, row, p.shift, p.chunks, c);
		Scales s = chunkScales(p.w, row, p.shift, p.chunks, c);
		[[unroll]] for (uint i = 0; i < 32; i++) {
			float v = value(b, i);
			// The product is exact: at most 24 bits. So one rounding is left, with or without contraction.
			if (SCALED) v = v * s.scale[i / 16];
			if (MINIMUM) v = v + s.minimum;
			if (32u * c + i < p.cols) Floats(p.x).v[t * p.cols + 32u * c + i] = v;
		}
	}
}
