#version 460
// Linear and LinearSwiGLU: y[t][o] = Σ_k x[t][k]·w[o][k] (+ bias[o]).
//
// An invocation is a row of the weight and one of SEGMENTS segments of k, which takes every SEGMENTS-th chunk of 32 values;
// it holds TILE tokens. Sums run over a chunk's values in order, over a segment's chunks in order, and over segments in
// order, whatever TILE is: one token and many have the same bits.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "weight.glsl"

layout(constant_id = 1) const uint TILE = 1;
layout(constant_id = 2) const bool SWIGLU = false;
layout(constant_id = 3) const bool ALIGNED = true; // rows of x are whole chunks, on 16 bytes
const uint LANES = 32, SEGMENTS = 8, MOST = 8; // MOST: tokens in a tile

layout(local_size_x = 32, local_size_y = 8) in;

layout(push_constant) uniform Push {
	Planes w;
	uint64_t x, y, bias, count;
	uint capacity;
	uint cols;   // values in a row of x
	uint stride; // values in a row of y
	uint first;  // column of y of the weight's first row
	uint rows;   // of results: the weight's, half of them for SwiGLU
	uint chunks;
	uint shift; // rows in a panel, as a power of two
} p;

shared float sums[TILE * SEGMENTS * LANES];

// dotRow multiplies tokens first … first+TILE-1, of which those up to last are live, by a segment of a row.
void dotRow(uint row, uint first, uint last, out float acc[MOST]) {
	[[unroll]] for (uint t = 0; t < TILE; t++) acc[t] = 0.0;
	for (uint c = gl_LocalInvocationID.y; c < p.chunks; c += SEGMENTS) {
		Chunk b = chunkBits(p.w, row, p.shift, p.chunks, c);
		Scales s = chunkScales(p.w, row, p.shift, p.chunks, c);
		float w[32];
		[[unroll]] for (uint i = 0; i < 32; i++) w[i] = value(b, i);
		[[unroll]] for (uint t = 0; t < TILE; t++) {
			uint token = first + t;
			if (token > last) break;
			float part[2] = float[2](0.0, 0.0), total = 0.0;
			[[unroll]] for (uint g = 0; g < 8; g++) {
				vec4 x;
				if (ALIGNED) {
					x = uintBitsToFloat(unit(p.x + uint64_t(token) * uint64_t(p.cols) * 4ul + uint64_t(128u * c + 16u * g)));
				} else {
					[[unroll]] for (uint i = 0; i < 4; i++) {
						uint k = 32u * c + 4u * g + i;
						x[i] = k < p.cols ? Floats(p.x).v[token * p.cols + k] : 0.0;
					}
				}
				[[unroll]] for (uint i = 0; i < 4; i++) {
					if (SCALED) {
						part[g / 4] = fma(w[4 * g + i], x[i], part[g / 4]);
						if (MINIMUM) {
							precise float n = total + x[i];
							total = n;
						}
					} else {
						acc[t] = fma(w[4 * g + i], x[i], acc[t]);
					}
				}
			}
			if (SCALED) {
				acc[t] = fma(s.scale[0], part[0], acc[t]);
				acc[t] = fma(s.scale[1], part[1], acc[t]);
				if (MINIMUM) acc[t] = fma(s.minimum, total, acc[t]);
			}
		}
	}
}

// merge adds the segments; the invocation of segment t gets token t's sum.
float merge(float acc[MOST]) {
	uint lane = gl_LocalInvocationID.x, segment = gl_LocalInvocationID.y;
	barrier();
	[[unroll]] for (uint t = 0; t < TILE; t++) sums[(t * SEGMENTS + segment) * LANES + lane] = acc[t];
	barrier();
	precise float sum = 0.0;
	if (segment < TILE) {
		for (uint s = 0; s < SEGMENTS; s++) sum = sum + sums[(segment * SEGMENTS + s) * LANES + lane];
	}
	return sum;
}

void main() {
	uint n = live(p.count, p.capacity), first = gl_WorkGroupID.y * TILE;
	if (first >= n) return;
	uint o = gl_WorkGroupID.x * LANES + gl_LocalInvocationID.x;
	uint row = min(o, p.rows - 1u);
	uint t = first + gl_LocalInvocationID.y;
	float sum = 0.0;
	// The up row after the gate's, through the same code: written twice it would take twice as long to compile.
	[[dont_unroll]] for (uint part = 0; part < (SWIGLU ? 2 : 1); part++) {
		float acc[MOST];
		dotRow(part * p.rows + row, first, n - 1u, acc);
		float s = merge(acc);
		sum = part == 0 ? s : sum / (1.0 + exponential(-sum)) * s;
	}
	if (p.bias != 0ul) sum += Floats(p.bias).v[row];
	if (gl_LocalInvocationID.y < TILE && t < n && o < p.rows) Floats(p.y).v[t * p.stride + p.first + o] = sum;
}
