#version 460
// Attention: a workgroup is QUERIES query heads of one KV head, of one token. Each of its clusters of eight invocations goes
// through every CLUSTERS-th block of eight absolute positions, with a maximum and a sum of its own; the clusters are merged
// at the end. So the order of sums follows from the positions alone: the same bits in decode and in prefill.
//
// An invocation holds PER fours of a head's values. A cluster takes a block's positions one by one, and then each of its
// invocations the weight of one.
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "common.glsl"
#include "cluster.glsl"
#include "cache.glsl"

layout(constant_id = 1) const uint QUERIES = 1;
layout(constant_id = 2) const uint PER = 1;
layout(constant_id = 3) const uint FLAGS = 0;
const bool EXACT = (FLAGS & 1) != 0;     // a head is 32·PER values
const bool ADDRESSED = (FLAGS & 2) != 0; // caches or queries are longer than bindings reach
const bool ALIGNED = (FLAGS & 4) != 0;   // queries begin on 16 bytes

const uint BLOCK = 8, CLUSTERS = 16, MOST_QUERIES = 4, MOST_PER = 8;
layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
	uint64_t q, tokens, k, v, pages, o, count;
	uint64_t scales; // from a cache to its plane of scales, in bytes
	uint capacity, queryHeads, kvHeads, dim;
	uint maxPages;
	uint skip; // values of Q before the first
	float scale;
} p;

layout(binding = 0, std430) restrict readonly buffer K1 { uint k1[]; };
layout(binding = 0, std430) restrict readonly buffer K2 { u64vec2 k2[]; };
layout(binding = 0, std430) restrict readonly buffer K4 { u64vec4 k4[]; };
layout(binding = 1, std430) restrict readonly buffer V1 { uint v1[]; };
layout(binding = 1, std430) restrict readonly buffer V2 { u64vec2 v2[]; };
layout(binding = 1, std430) restrict readonly buffer V4 { u64vec4 v4[]; };
layout(binding = 2, std430) restrict readonly buffer Q1 { float q1[]; };
layout(binding = 2, std430) restrict readonly buffer Q4 { vec4 q4[]; };

shared float peaks[CLUSTERS], totals[CLUSTERS];
shared vec4 parts[CLUSTERS / 2 * 8 * PER];

const uint WORDS = VALUE_BYTES * PER; // of a row that an invocation reads

void put(inout uint bits[4 * MOST_PER], uint i, uint64_t two) {
	uvec2 w = unpackUint2x32(two);
	bits[i] = w.x;
	bits[i + 1] = w.y;
}

// four is the invocation's number i of a head's fours; the last where there are fewer.
uint four(uint lane, uint i) { return EXACT ? lane * PER + i : min(lane * PER + i, p.dim / 4u - 1u); }

vec4 decode(uint bits[4 * MOST_PER], float d, uint i) {
	if (FORMAT == F32) return uintBitsToFloat(uvec4(bits[4 * i], bits[4 * i + 1], bits[4 * i + 2], bits[4 * i + 3]));
	if (FORMAT == Q8_0) {
		int q = int(bits[i]);
		return d * vec4(bitfieldExtract(q, 0, 8), bitfieldExtract(q, 8, 8), bitfieldExtract(q, 16, 8), q >> 24);
	}
	uint a = bits[2 * i], b = bits[2 * i + 1];
	if (FORMAT == F16) return vec4(unpackHalf2x16(a), unpackHalf2x16(b));
	return uintBitsToFloat(uvec4(a << 16, a & 0xffff0000u, b << 16, b & 0xffff0000u));
}

// READ makes a function that reads an invocation's fours of a row of a cache.
#define READ(n)                                                                                                            \
	void read_##n(uint row, uint lane, out vec4 x[MOST_PER]) {                                                              \
		uint bits[4 * MOST_PER];                                                                                            \
		uint at = (row * (p.dim / 4u) + lane * PER) * VALUE_BYTES;                                                          \
		if (EXACT && !ADDRESSED && WORDS % 8 == 0) {                                                                        \
			[[unroll]] for (uint i = 0; i < WORDS; i += 8) {                                                                \
				u64vec4 b = n##4[(at + i) / 8u];                                                                            \
				[[unroll]] for (uint j = 0; j < 4; j++) put(bits, i + 2 * j, b[j]);                                         \
			}                                                                                                               \
		} else if (EXACT && !ADDRESSED && WORDS % 4 == 0) {                                                                 \
			[[unroll]] for (uint i = 0; i < WORDS; i += 4) {                                                                \
				u64vec2 b = n##2[(at + i) / 4u];                                                                            \
				[[unroll]] for (uint j = 0; j < 2; j++) put(bits, i + 2 * j, b[j]);                                         \
			}                                                                                                               \
		} else {                                                                                                            \
			Words far = Words(p.n + uint64_t(row) * uint64_t(p.dim * VALUE_BYTES));                                         \
			[[unroll]] for (uint i = 0; i < WORDS; i++) {                                                                   \
				uint w = four(lane, i / VALUE_BYTES) * VALUE_BYTES + i % VALUE_BYTES;                                       \
				bits[i] = ADDRESSED ? far.v[w] : n##1[row * (p.dim / 4u) * VALUE_BYTES + w];                                \
			}                                                                                                               \
		}                                                                                                                   \
		float d = 1.0;                                                                                                      \
		[[unroll]] for (uint i = 0; i < PER; i++) {                                                                         \
			if (FORMAT == Q8_0 && (i == 0 || 8 % PER != 0)) {                                                               \
				uint block = row * (p.dim / 32u) + four(lane, i) / 8u;                                                      \
				uint w = ADDRESSED ? Words(p.n + p.scales).v[block / 2u] : n##1[uint(p.scales / 4ul) + block / 2u];         \
				d = unpackHalf2x16(w)[block & 1u];                                                                          \
			}                                                                                                               \
			x[i] = decode(bits, d, i);                                                                                      \
		}                                                                                                                   \
	}
READ(k)
READ(v)

void main() {
	uint t = gl_WorkGroupID.y, head = gl_WorkGroupID.x * QUERIES;
	if (t >= live(p.count, p.capacity)) return;
	uint lane = gl_LocalInvocationIndex % BLOCK, cluster = gl_LocalInvocationIndex / BLOCK, fours = p.dim / 4u;
	uint last = Words(p.tokens).v[4u * t + 1u], slot = Words(p.tokens).v[4u * t + 3u];
	Words pages = Words(p.pages + 4ul * uint64_t(slot) * uint64_t(p.maxPages));
	uint kvHead = head / (p.queryHeads / p.kvHeads);

	vec4 query[MOST_QUERIES * MOST_PER], acc[MOST_QUERIES * MOST_PER];
	float peak[MOST_QUERIES], total[MOST_QUERIES];
	[[unroll]] for (uint q = 0; q < QUERIES; q++) {
		peak[q] = -INF;
		total[q] = 0.0;
		[[unroll]] for (uint i = 0; i < PER; i++) {
			uint at = (t * p.queryHeads + head + q) * fours + four(lane, i);
			vec4 x;
			if (ALIGNED && !ADDRESSED) x = q4[p.skip / 4u + at];
			else [[unroll]] for (uint j = 0; j < 4; j++) x[j] = ADDRESSED ? Floats(p.q).v[4u * at + j] : q1[p.skip + 4u * at + j];
			query[q * PER + i] = lane * PER + i < fours ? x : vec4(0.0);
			acc[q * PER + i] = vec4(0.0);
		}
	}
	for (uint b = cluster; b <= last / BLOCK; b += CLUSTERS) {
		uint first = BLOCK * b, n = min(BLOCK, last + 1u - first);
		uint row = cacheRow(pages.v[first / PAGE] * PAGE + first % PAGE, kvHead, p.kvHeads);
		float e[MOST_QUERIES], weights[MOST_QUERIES][BLOCK];
		[[unroll]] for (uint q = 0; q < QUERIES; q++) e[q] = -INF;
		[[unroll]] for (uint i = 0; i < BLOCK; i++) {
			// Positions behind the last one repeat it, with no weight.
			vec4 x[MOST_PER];
			read_k(row + min(i, n - 1u), lane, x);
			[[unroll]] for (uint q = 0; q < QUERIES; q++) {
				float s = 0.0;
				[[unroll]] for (uint j = 0; j < 4 * PER; j++) s = fma(query[q * PER + j / 4][j % 4], x[j / 4][j % 4], s);
				s = clusterSum(s) * p.scale;
				e[q] = lane == i && i < n ? s : e[q];
			}
		}
		[[unroll]] for (uint q = 0; q < QUERIES; q++) {
			float both = max(peak[q], clusterMax(e[q])), old = exponential(peak[q] - both);
			e[q] = exponential(e[q] - both);
			total[q] = fma(total[q], old, clusterSum(e[q]));
			peak[q] = both;
			clusterAll(e[q], lane, weights[q]);
			[[unroll]] for (uint i = 0; i < PER; i++) acc[q * PER + i] *= old;
		}
		[[unroll]] for (uint i = 0; i < BLOCK; i++) {
			vec4 x[MOST_PER];
			read_v(row + min(i, n - 1u), lane, x);
			[[unroll]] for (uint q = 0; q < QUERIES; q++) {
				[[unroll]] for (uint j = 0; j < PER; j++) acc[q * PER + j] = fma(vec4(weights[q][i]), x[j], acc[q * PER + j]);
			}
		}
	}

	[[unroll]] for (uint q = 0; q < QUERIES; q++) {
		barrier();
		if (lane == 0u) {
			peaks[cluster] = peak[q];
			totals[cluster] = total[q];
		}
		barrier();
		float all = clusterMax(max(peaks[lane], peaks[lane + 8u]));
		precise float pair = totals[lane] * exponential(peaks[lane] - all) + totals[lane + 8u] * exponential(peaks[lane + 8u] - all);
		float sum = clusterSum(pair), mine = exponential(peak[q] - all);
		// The second half of the clusters, then all.
		uint at = cluster % (CLUSTERS / 2) * 8u * PER + lane * PER;
		if (cluster >= CLUSTERS / 2) {
			[[unroll]] for (uint i = 0; i < PER; i++) parts[at + i] = acc[q * PER + i] * mine;
		}
		barrier();
		if (cluster < CLUSTERS / 2) {
			[[unroll]] for (uint i = 0; i < PER; i++) parts[at + i] = fma(acc[q * PER + i], vec4(mine), parts[at + i]);
		}
		barrier();
		if (gl_LocalInvocationIndex < fours) {
			precise vec4 r = vec4(0.0);
			for (uint c = 0u; c < CLUSTERS / 2; c++) r = r + parts[c * 8u * PER + gl_LocalInvocationIndex];
			r = r / sum;
			uint to = ((t * p.queryHeads + head + q) * fours + gl_LocalInvocationIndex) * 4u;
			[[unroll]] for (uint j = 0; j < 4; j++) Floats(p.o).v[to + j] = r[j];
		}
	}
}
