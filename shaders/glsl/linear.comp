#version 460
// Linear and LinearSwiGLU: y[t][o] = Σ_k x[t][k]·w[o][k] (+ bias[o]).
//
// A cluster of eight invocations multiplies ROWS rows of the weight by TILE tokens; each invocation takes every eighth
// chunk of 32 values. Sums run over a chunk's values in order, over an invocation's chunks in order, and then over the
// cluster as a tree, whatever ROWS and TILE are: one token and many have the same bits.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common.glsl"
#include "cluster.glsl"
#include "weight.glsl"

layout(constant_id = 1) const uint TILE = 1;
layout(constant_id = 2) const uint ROWS = 4;
layout(constant_id = 3) const uint FLAGS = 1;
const bool ALIGNED = (FLAGS & 1) != 0; // rows of x are whole chunks, on 32 bytes
const bool SWIGLU = (FLAGS & 2) != 0;
const bool NARROW = (FLAGS & 4) != 0; // a single row of F32, which may be a bias elsewhere: its chunks are not grouped

// A workgroup is DEEP clusters of tokens, which share rows in the nearest cache, by WIDE clusters of rows: a small one, so that
// one token's rows are spread over the device, or one that reads less of what is further away.
layout(local_size_x_id = 4) in;
layout(constant_id = 4) const uint THREADS = 64;
const uint CLUSTERS = THREADS / GROUP, DEEP = THREADS == 64 ? 1 : 4, WIDE = CLUSTERS / DEEP, MOST_ROWS = 8, MOST_TILE = 4, MOST = MOST_ROWS * MOST_TILE;

layout(push_constant) uniform Push {
	uint64_t y, bias, count;
	uint capacity;
	uint from;   // first token of this launch
	uint cols;   // values in a row of x
	uint stride; // values in a row of y
	uint column; // of y of the weight's first row
	uint rows;   // of results: the weight's, half of them for SwiGLU
	uint chunks; // in a row of x
	uint padded; // in a row of the weight: whole groups
	uint skip;   // values of X before token from
} p;

#include "planes.glsl"
layout(binding = 4, std430) restrict readonly buffer X { float x[]; };
layout(binding = 4, std430) restrict readonly buffer X4 { u64vec4 x4[]; };

// input8 are values 8h … 8h+7 of chunk c of a token, counted from p.from.
void input8(uint token, uint c, uint h, out vec4 v[2]) {
	if (ALIGNED) {
		u64vec4 b = x4[p.skip / 8u + token * (p.cols / 8u) + 4u * c + h];
		v[0] = uintBitsToFloat(words(b.x, b.y));
		v[1] = uintBitsToFloat(words(b.z, b.w));
		return;
	}
	[[unroll]] for (uint i = 0; i < 8; i++) {
		uint k = 32u * c + 8u * h + i;
		v[i / 4][i % 4] = k < p.cols ? x[p.skip + token * p.cols + k] : 0.0;
	}
}

const uint ROUNDS = UNITS > 2 ? UNITS / 2 : 1, ROUND = 8 / ROUNDS; // a chunk's values come in rounds of so many fours

// loadUnit reads round u of a chunk: 32 bytes of a row, or 16 where it has no more. at is the row's chunk that begins the
// group.
void loadUnit(uint at, uint u, uint lane, out uvec4 bits[2]) {
	if (UNITS == 1) {
		u64vec2 b = values2[at + lane];
		bits[0] = bits[1] = words(b.x, b.y);
		return;
	}
	u64vec4 b = values4[NARROW ? (at + lane) * ROUNDS + u : at * ROUNDS + GROUP * u + lane];
	bits[0] = words(b.x, b.y);
	bits[1] = words(b.z, b.w);
}

// dot multiplies ROWS rows from row by TILE tokens from first, where those beyond last repeat it: the sums of all.
void dotRows(uint lane, uint row, uint first, uint last, out float acc[MOST]) {
	[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) acc[i] = 0.0;
	uint mine = (max(p.chunks, lane) - lane + GROUP - 1u) / GROUP;
	for (uint k = 0; k < mine * ROUNDS; k++) {
		uint c = lane + GROUP * (k / ROUNDS), u = k % ROUNDS;
		Side s;
		if (SCALED) s = side(panelAt(row, c, p.padded), panelAt(row, c / GROUP, p.padded / GROUP));
		float part[MOST], total[MOST_TILE];
		[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) part[i] = 0.0;
		[[unroll]] for (uint t = 0; t < TILE; t++) total[t] = 0.0;
		uvec4 bits[MOST_ROWS][2];
		[[unroll]] for (uint r = 0; r < ROWS; r++) loadUnit((row + r) * p.padded + (c - lane), u, lane, bits[r]);
		[[unroll]] for (uint g = 0; g < ROUND; g += 2) {
			vec4 w[MOST_ROWS][2];
			[[unroll]] for (uint r = 0; r < ROWS; r++) {
				[[unroll]] for (uint h = 0; h < 2; h++) w[r][h] = valuesOf(bits[r][UNITS == 1 ? 0 : unitOf(g + h)], s.high[r], g + h);
			}
			[[unroll]] for (uint t = 0; t < TILE; t++) {
				vec4 v[2];
				input8(min(first + t, last), c, u * ROUND / 2 + g / 2, v);
				[[unroll]] for (uint i = 0; i < 8; i++) {
					[[unroll]] for (uint r = 0; r < ROWS; r++) {
						part[t * ROWS + r] = fma(w[r][i / 4][i % 4], v[i / 4][i % 4], part[t * ROWS + r]);
					}
					if (MINIMUM) {
						precise float n = total[t] + v[i / 4][i % 4];
						total[t] = n;
					}
				}
			}
			if (g == ROUND - 2 || FORMAT == Q6_K && g == 2) {
				[[unroll]] for (uint t = 0; t < TILE; t++) {
					[[unroll]] for (uint r = 0; r < ROWS; r++) {
						acc[t * ROWS + r] = fma(SCALED ? s.scales[r].scale[g / 4] : 1.0, part[t * ROWS + r], acc[t * ROWS + r]);
						part[t * ROWS + r] = 0.0;
						if (MINIMUM) acc[t * ROWS + r] = fma(s.scales[r].minimum, total[t], acc[t * ROWS + r]);
					}
				}
			}
		}
	}
	[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) acc[i] = clusterSum(acc[i]);
}

void main() {
	uint n = live(p.count, p.capacity), cluster = gl_LocalInvocationIndex / GROUP;
	if (p.from + gl_WorkGroupID.y * DEEP * TILE >= n) return;
	n -= p.from;
	// Where all clusters have the same tokens, their addresses are scalars.
	uint lane = gl_LocalInvocationIndex % GROUP, deep = DEEP == 1 ? 0 : cluster / WIDE;
	uint first = (gl_WorkGroupID.y * DEEP + deep) * TILE, o = (gl_WorkGroupID.x * WIDE + cluster - deep * WIDE) * ROWS;
	uint row = min(o, (p.rows - 1u) / ROWS * ROWS);
	float sums[MOST];
	// The up rows after the gate's, through the same code: written twice it would take twice as long to compile.
	[[dont_unroll]] for (uint part = 0; part < (SWIGLU ? 2 : 1); part++) {
		float acc[MOST];
		dotRows(lane, part * p.rows + row, first, n - 1u, acc);
		[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) sums[i] = part == 0 ? acc[i] : sums[i] / (1.0 + exponential(-sums[i])) * acc[i];
	}
	// Invocation i of a cluster stores results i, i+8, …
	[[unroll]] for (uint k = 0; k < ROWS * TILE; k += GROUP) {
		float sum = sums[k];
		[[unroll]] for (uint i = 1; i < min(GROUP, ROWS * TILE - k); i++) sum = lane == i ? sums[k + i] : sum;
		uint i = k + lane, t = first + i / ROWS, r = i % ROWS;
		if (i < ROWS * TILE && t < n && o + r < p.rows) {
			if (p.bias != 0ul) sum += Floats(p.bias).v[o + r];
			Floats(p.y).v[(p.from + t) * p.stride + p.column + o + r] = sum;
		}
	}
}
