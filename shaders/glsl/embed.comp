#version 460
// Embed: row t of x is the table's row of token t's id, decoded. An id outside the table reads row 0.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weight.glsl"

layout(constant_id = 1) const uint WIDE = 0; // 1: in groups and panels, 0: row by row

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	uint64_t values, high, scale, super;
	uint64_t tokens, x, count;
	uint capacity, cols, rows, chunks, padded;
	float factor; // what values are stored too small by, a power of two
} p;

// beside is where a plane beside the values has element c of a row with n of them.
uint64_t beside(uint row, uint c, uint n) {
	uint panel = WIDE != 0 ? PANEL : 1;
	return uint64_t(row / panel) * uint64_t(n * panel) + uint64_t(c * panel + row % panel);
}

// part is 16 bytes of values: number u of chunk c of a row.
uvec4 part(uint row, uint c, uint u) {
	uint at = UNITS * c + u;
	if (WIDE != 0 && UNITS > 1) at = c / GROUP * GROUP * UNITS + (u / 2 * GROUP + c % GROUP) * 2 + u % 2;
	return unit(p.values + 16ul * (uint64_t(row) * uint64_t(p.padded * UNITS) + uint64_t(at)));
}

uint word(uint64_t plane, uint64_t i, uint bytes) {
	if (bytes == 4) return Words(plane + 4ul * i).v[0];
	return (Words(plane + (2ul * i & ~3ul)).v[0] >> (16u * uint(i & 1ul))) & 0xffffu;
}

void main() {
	uint t = gl_WorkGroupID.x;
	if (t >= live(p.count, p.capacity)) return;
	uint row = Words(p.tokens).v[t * 4u];
	if (row >= p.rows) row = 0u;
	// An invocation takes four values at a time.
	for (uint q = gl_LocalInvocationIndex; q < 8u * p.chunks; q += 64u) {
		uint c = q / 8u, g = q % 8u;
		uint64_t i = beside(row, c, p.padded);
		uvec2 high = uvec2(0);
		if (HIGH_BYTES == 4) high.x = word(p.high, i, 4);
		if (HIGH_BYTES == 8) high = uvec2(word(p.high, 2ul * i, 4), word(p.high, 2ul * i + 1ul, 4));
		Scales s = scalesOf(SCALED ? word(p.scale, i, SCALE_BYTES) : 0, SUPER ? word(p.super, beside(row, c / GROUP, p.padded / GROUP), SUPER_BYTES) : 0);
		vec4 v = valuesOf(part(row, c, unitOf(g)), high, g);
		// The product is exact: at most 24 bits. So one rounding is left, with or without contraction.
		if (SCALED) v *= s.scale[g / 4u];
		if (MINIMUM) v += s.minimum;
		if (FORMAT == F16) v *= p.factor;
		uint k = 4u * q;
		[[unroll]] for (uint j = 0; j < 4; j++) {
			if (k + j < p.cols) Floats(p.x).v[t * p.cols + k + j] = v[j];
		}
	}
}
