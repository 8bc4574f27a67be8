#version 460
// Linear and LinearSwiGLU of quantised weights by integer dot products: y[t][o] = Σ_k x[t][k]·w[o][k] (+ bias[o]), where x was
// rounded to 8 bits (quantize.glsl).
//
// A cluster of eight invocations multiplies ROWS rows of the weight by TILE tokens; each invocation takes every eighth chunk
// of 32 values, whose products are summed as integers. Floating sums run over an invocation's chunks in order, and then over
// the cluster as a tree, whatever the geometry is: one token and many have the same bits. A workgroup is DEEP clusters of
// tokens, which share rows in the nearest cache, by clusters of rows.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_EXT_spirv_intrinsics : require
#include "common.glsl"
#include "cluster.glsl"
#include "weight.glsl"

// Four products of signed bytes, summed: OpSDotKHR on packed words. glslang 13 does not know GL_EXT_integer_dot_product.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int signedDot(uint a, uint b, spirv_literal int packed);

layout(constant_id = 1) const uint TILE = 1;
layout(constant_id = 2) const uint ROWS = 4;
layout(constant_id = 3) const uint FLAGS = 0;
#define TO_F16 ((FLAGS & 4) != 0)
#include "quantize.glsl"
const bool SWIGLU = (FLAGS & 2) != 0;
const bool HALVES = FORMAT == Q6_K; // a scale for each half of a chunk
const uint DEEP = FLAGS >> 8;

layout(local_size_x = 256) in;
const uint CLUSTERS = 256 / GROUP, MOST_ROWS = 8, MOST_TILE = 4, MOST = MOST_ROWS * MOST_TILE;
const uint WIDE = CLUSTERS / DEEP; // clusters of rows

layout(push_constant) uniform Push {
	uint64_t y, bias, count; // y: 0 where nobody reads floats
	uint64_t scales;         // of x
	uint64_t bytes2, scales2; // of y, rounded; 0: not wanted
	uint capacity;
	uint from;   // first token of this launch
	uint stride; // values in a row of y
	uint column; // of y of the weight's first row
	uint rows;   // of results: the weight's, half of them for SwiGLU
	uint chunks; // in a row of x
	uint padded; // in a row of the weight: whole groups
	uint skip;   // chunks of X before token from
} p;

#include "planes.glsl"
layout(binding = 4, std430) restrict readonly buffer X { u64vec4 x[]; };

shared float results[CLUSTERS * ROWS * TILE];

// bytesIn are the words of four values each of chunk number at of the weight.
void bytesIn(uint at, uvec2 high, out uint w[8]) {
	if (UNITS == 1) {
		u64vec2 b = values2[at];
		uvec4 unit = words(b.x, b.y);
		[[unroll]] for (uint g = 0; g < 8; g++) w[g] = bytesOf(unit, high, g);
		return;
	}
	u64vec4 b = values4[at];
	uvec4 low = words(b.x, b.y), up = words(b.z, b.w);
	[[unroll]] for (uint g = 0; g < 4; g++) {
		w[g] = low[g];
		w[g + 4] = up[g];
	}
}

const int ZERO = FORMAT == Q4_0 ? 8 : FORMAT == Q5_0 ? 16 : FORMAT == Q6_K ? 32 : 0; // that stored values are too large by

// dotRows multiplies ROWS rows from row by TILE tokens from first, where those beyond last repeat it: the sums of all.
void dotRows(uint lane, uint row, uint first, uint last, out float acc[MOST]) {
	[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) acc[i] = 0.0;
	// What a step adds to is kept, and nothing computed anew: products are few.
	uint chunks = p.chunks, padded = p.padded, chunk = panelAt(row, lane, padded), group = panelAt(row, 0, padded / GROUP), value[MOST_ROWS], at[MOST_TILE];
	[[unroll]] for (uint r = 0; r < ROWS; r++) value[r] = (row + r) * padded + lane;
	[[unroll]] for (uint t = 0; t < TILE; t++) at[t] = p.skip + min(first + t, last) * chunks + lane;
	Pairs scales = Pairs(p.scales + 8ul * (uint64_t(p.from) * uint64_t(chunks) - uint64_t(p.skip)));
	for (uint c = lane; c < chunks; c += GROUP) {
		Side s = side(chunk, group);
		chunk += GROUP * PANEL;
		group += PANEL;
		uint w[MOST_ROWS][8];
		[[unroll]] for (uint r = 0; r < ROWS; r++) {
			bytesIn(value[r], s.high[r], w[r]);
			value[r] += GROUP;
		}
		[[unroll]] for (uint t = 0; t < TILE; t++) {
			u64vec4 b = x[at[t]];
			uvec4 low = words(b.x, b.y), up = words(b.z, b.w);
			uvec2 about = scales.v[at[t]];
			at[t] += GROUP;
			float scale = uintBitsToFloat(about.x);
			int sums[2] = int[2](bitfieldExtract(int(about.y), 0, 16), int(about.y) >> 16);
			int start = HALVES ? sums[0] : sums[0] + sums[1];
			[[unroll]] for (uint r = 0; r < ROWS; r++) {
				int n = -ZERO * start, m = -ZERO * sums[1];
				[[unroll]] for (uint g = 0; g < 4; g++) n += signedDot(w[r][g], low[g], 0);
				[[unroll]] for (uint g = 0; g < 4; g++) {
					if (HALVES) m += signedDot(w[r][g + 4], up[g], 0);
					else n += signedDot(w[r][g + 4], up[g], 0);
				}
				precise float d = s.scales[r].scale[0] * scale, e = s.scales[r].scale[1] * scale, f = s.scales[r].minimum * scale;
				float a = fma(float(n), d, acc[t * ROWS + r]);
				if (HALVES) a = fma(float(m), e, a);
				if (MINIMUM) a = fma(float(start), f, a);
				acc[t * ROWS + r] = a;
			}
		}
	}
	[[unroll]] for (uint i = 0; i < ROWS * TILE; i++) acc[i] = clusterSum(acc[i]);
}

void main() {
	uint n = live(p.count, p.capacity);
	if (p.from + gl_WorkGroupID.y * DEEP * TILE >= n) return;
	n -= p.from;
	uint lane = gl_LocalInvocationIndex % GROUP, cluster = gl_LocalInvocationIndex / GROUP;
	uint first = (gl_WorkGroupID.y * DEEP + cluster / WIDE) * TILE;
	uint o = (gl_WorkGroupID.x * WIDE + cluster % WIDE) * ROWS;
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
		if (i >= ROWS * TILE) continue;
		if (SWIGLU) results[((cluster / WIDE) * TILE + i / ROWS) * (WIDE * ROWS) + cluster % WIDE * ROWS + r] = sum;
		if (t < n && o + r < p.rows && p.y != 0ul) {
			if (p.bias != 0ul) sum += Floats(p.bias).v[o + r];
			Floats(p.y).v[(p.from + t) * p.stride + p.column + o + r] = sum;
		}
	}
	if (!SWIGLU || p.bytes2 == 0ul) return;
	// A workgroup has whole blocks of 32 results: a cluster rounds one.
	barrier();
	const uint BLOCKS = WIDE * ROWS / 32;
	for (uint b = cluster; b < BLOCKS * DEEP * TILE; b += CLUSTERS) {
		uint t = gl_WorkGroupID.y * DEEP * TILE + b / BLOCKS, block = gl_WorkGroupID.x * BLOCKS + b % BLOCKS;
		if (t >= n || 32u * block >= p.rows) continue;
		vec4 v;
		[[unroll]] for (uint j = 0; j < 4; j++) v[j] = results[32u * b + 4u * lane + j];
		quantize(v, lane, p.bytes2, p.scales2, (p.from + t) * (p.rows / 32u) + block);
	}
}
