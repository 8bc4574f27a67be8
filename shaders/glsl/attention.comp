#version 460
// Attention: a workgroup is QUERIES query heads of one KV head, of one token. It goes through the sequence in chunks of 256
// absolute positions, and joins each to those before it. In a chunk, each of its clusters of eight invocations takes every
// CLUSTERS-th block of eight positions, with a maximum and a sum of its own, and the clusters are merged at the chunk's end.
// So the order of sums follows from the positions alone: the same bits in decode and in prefill.
//
// Where the grid is several workgroups deep, these share the chunks of a long sequence, and the last one to be done joins
// what all have left in memory, in the same order.
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
#define TO_F16 ((FLAGS & 8) != 0)
#include "quantize.glsl"
const bool EXACT = (FLAGS & 1) != 0;     // a head is 32·PER values
const bool ADDRESSED = (FLAGS & 2) != 0; // caches or queries are longer than bindings reach
const bool ALIGNED = (FLAGS & 4) != 0;   // queries begin on 16 bytes

const uint CHUNK = 256, BLOCK = 8, CLUSTERS = 16, MOST_QUERIES = 4, MOST_PER = 8, MOST = 16; // QUERIES·PER ≤ MOST
layout(local_size_x = 128) in;

layout(push_constant) uniform Push {
	uint64_t q, tokens, k, v, pages, o, count;
	uint64_t scales;   // from a cache to its plane of scales, in bytes
	uint64_t parts;    // [token][query head][chunk], where chunks are shared
	uint64_t arrivals; // [token][workgroup of it]: how many of those that share chunks are done; 0 before and after
	uint64_t bytes, byteScales; // of o, rounded; 0: not wanted, and o where nobody reads floats
	uint capacity, queryHeads, kvHeads, dim;
	uint maxPages;
	uint skip; // values of Q before the first
	uint mostChunks;
	float scale;
} p;

layout(buffer_reference, std430, buffer_reference_align = 16) coherent buffer Parts { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Arrivals { uint v[]; };

layout(binding = 0, std430) restrict readonly buffer K1 { uint k1[]; };
layout(binding = 0, std430) restrict readonly buffer K2 { u64vec2 k2[]; };
layout(binding = 0, std430) restrict readonly buffer K4 { u64vec4 k4[]; };
layout(binding = 1, std430) restrict readonly buffer V1 { uint v1[]; };
layout(binding = 1, std430) restrict readonly buffer V2 { u64vec2 v2[]; };
layout(binding = 1, std430) restrict readonly buffer V4 { u64vec4 v4[]; };
layout(binding = 2, std430) restrict readonly buffer Q1 { float q1[]; };
layout(binding = 2, std430) restrict readonly buffer Q4 { vec4 q4[]; };

const uint HEAD = 8 * PER; // fours that the invocations of a cluster hold of a head
shared float peaks[QUERIES * CLUSTERS], totals[QUERIES * CLUSTERS];
shared vec4 parts[CLUSTERS / 2 * QUERIES * HEAD];
shared uint arrived;

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

// Sum is Σ e^(score-peak)·value of four values of a head, and Σ e^(score-peak).
struct Sum {
	float peak, total;
	vec4 values;
};

// join adds the next chunk to those before it.
void join(inout Sum s, Sum next) {
	float both = max(s.peak, next.peak), old = exponential(s.peak - both), new = exponential(next.peak - both);
	precise float total = next.total * new;
	precise vec4 values = next.values * new;
	s = Sum(both, fma(s.total, old, total), fma(s.values, vec4(old), values));
}

// partOf is where the Sum of a chunk is handed over: peak and total first, then values.
Parts partOf(uint t, uint head, uint chunk) {
	return Parts(p.parts + 16ul * uint64_t((t * p.queryHeads + head) * p.mostChunks + chunk) * uint64_t(p.dim / 4u + 1u));
}

void main() {
	uint t = gl_WorkGroupID.y, head = gl_WorkGroupID.x * QUERIES, me = gl_LocalInvocationIndex;
	if (t >= live(p.count, p.capacity)) return;
	uint last = Words(p.tokens).v[4u * t + 1u], slot = Words(p.tokens).v[4u * t + 3u], chunks = last / CHUNK + 1u;
	uint workers = min(gl_NumWorkGroups.z, chunks); // that share the chunks
	if (gl_WorkGroupID.z >= workers) return;
	uint lane = me % BLOCK, cluster = me / BLOCK, fours = p.dim / 4u;
	Words pages = Words(p.pages + 4ul * uint64_t(slot) * uint64_t(p.maxPages));
	uint kvHead = head / (p.queryHeads / p.kvHeads), neighbour = gl_SubgroupInvocationID / BLOCK * BLOCK;

	vec4 query[MOST];
	[[unroll]] for (uint q = 0; q < QUERIES; q++) {
		[[unroll]] for (uint i = 0; i < PER; i++) {
			uint at = (t * p.queryHeads + head + q) * fours + four(lane, i);
			vec4 x;
			if (ALIGNED && !ADDRESSED) x = q4[p.skip / 4u + at];
			else [[unroll]] for (uint j = 0; j < 4; j++) x[j] = ADDRESSED ? Floats(p.q).v[4u * at + j] : q1[p.skip + 4u * at + j];
			query[q * PER + i] = lane * PER + i < fours ? x : vec4(0.0);
		}
	}
	// In the end an invocation has one four of one head.
	uint mine = min(me / HEAD, QUERIES - 1u), f = me % HEAD;
	Sum sum = Sum(-INF, 0.0, vec4(0.0));

	[[dont_unroll]] for (uint c = gl_WorkGroupID.z; c < chunks; c += workers) {
		vec4 acc[MOST];
		float peak[MOST_QUERIES], total[MOST_QUERIES];
		[[unroll]] for (uint q = 0; q < QUERIES; q++) {
			peak[q] = -INF;
			total[q] = 0.0;
			[[unroll]] for (uint i = 0; i < PER; i++) acc[q * PER + i] = vec4(0.0);
		}
		uint blocks = min(last / BLOCK, (c + 1u) * (CHUNK / BLOCK) - 1u);
		[[dont_unroll]] for (uint b = c * (CHUNK / BLOCK) + cluster; b <= blocks; b += CLUSTERS) {
			uint first = BLOCK * b, n = min(BLOCK, last + 1u - first);
			uint row = cacheRow(pages.v[first / PAGE] * PAGE + first % PAGE, kvHead, p.kvHeads);
			float e[MOST_QUERIES], weights[MOST_QUERIES][BLOCK];
			[[unroll]] for (uint q = 0; q < QUERIES; q++) e[q] = -INF;
			// Half a block at a time: more would not stay in registers.
			[[dont_unroll]] for (uint h = 0; h < n; h += 4) {
				[[unroll]] for (uint i = 0; i < 4; i++) {
					// Positions behind the last one repeat it, with no weight.
					vec4 x[MOST_PER];
					read_k(row + min(h + i, n - 1u), lane, x);
					[[unroll]] for (uint q = 0; q < QUERIES; q++) {
						float s = 0.0;
						[[unroll]] for (uint j = 0; j < 4 * PER; j++) s = fma(query[q * PER + j / 4][j % 4], x[j / 4][j % 4], s);
						s = clusterSum(s) * p.scale;
						e[q] = lane == h + i && h + i < n ? s : e[q];
					}
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
			[[dont_unroll]] for (uint h = 0; h < n; h += 4) {
				[[unroll]] for (uint i = 0; i < 4; i++) {
					vec4 x[MOST_PER];
					read_v(row + min(h + i, n - 1u), lane, x);
					[[unroll]] for (uint q = 0; q < QUERIES; q++) {
						float w = h == 0u ? weights[q][i] : weights[q][i + 4];
						[[unroll]] for (uint j = 0; j < PER; j++) acc[q * PER + j] = fma(vec4(w), x[j], acc[q * PER + j]);
					}
				}
			}
		}

		[[unroll]] for (uint q = 0; q < QUERIES; q++) {
			if (lane == 0u) {
				peaks[q * CLUSTERS + cluster] = peak[q];
				totals[q * CLUSTERS + cluster] = total[q];
			}
		}
		barrier();
		Sum part;
		float first = peaks[mine * CLUSTERS + lane], second = peaks[mine * CLUSTERS + 8u + lane];
		part.peak = clusterMax(max(first, second));
		precise float pair = totals[mine * CLUSTERS + 8u + lane] * exponential(second - part.peak);
		part.total = clusterSum(fma(totals[mine * CLUSTERS + lane], exponential(first - part.peak), pair));
		// The second half of the clusters, then all.
		[[unroll]] for (uint q = 0; q < QUERIES; q++) {
			peak[q] = exponential(peak[q] - clusterMax(max(peaks[q * CLUSTERS + lane], peaks[q * CLUSTERS + 8u + lane])));
		}
		uint at = cluster % (CLUSTERS / 2) * QUERIES * HEAD + lane * PER, some = blocks + 1u - c * (CHUNK / BLOCK); // clusters with blocks
		if (cluster >= CLUSTERS / 2 && cluster < some) {
			[[unroll]] for (uint q = 0; q < QUERIES; q++) {
				[[unroll]] for (uint i = 0; i < PER; i++) parts[at + q * HEAD + i] = acc[q * PER + i] * peak[q];
			}
		}
		barrier();
		if (cluster < CLUSTERS / 2 && cluster < some) {
			bool second = cluster + CLUSTERS / 2 < some;
			[[unroll]] for (uint q = 0; q < QUERIES; q++) {
				[[unroll]] for (uint i = 0; i < PER; i++) {
					vec4 other = vec4(0.0);
					if (second) other = parts[at + q * HEAD + i];
					parts[at + q * HEAD + i] = fma(acc[q * PER + i], vec4(peak[q]), other);
				}
			}
		}
		barrier();
		precise vec4 values = vec4(0.0);
		if (me < QUERIES * HEAD) {
			[[dont_unroll]] for (uint i = 0; i < min(some, CLUSTERS / 2); i++) values = values + parts[(i * QUERIES + mine) * HEAD + f];
		}
		part.values = values;
		if (workers == 1u) join(sum, part);
		else if (me < QUERIES * HEAD && f < fours) {
			Parts left = partOf(t, head + mine, c);
			if (f == 0u) left.v[0] = vec4(part.peak, part.total, 0.0, 0.0);
			left.v[1u + f] = part.values;
		}
	}

	if (workers > 1u) {
		memoryBarrierBuffer();
		barrier();
		if (me == 0u) {
			Arrivals a = Arrivals(p.arrivals + 4ul * uint64_t(t * gl_NumWorkGroups.x + gl_WorkGroupID.x));
			arrived = atomicAdd(a.v[0], 1u) + 1u;
			if (arrived == workers) a.v[0] = 0u;
		}
		barrier();
		if (arrived < workers) return;
		memoryBarrierBuffer();
		[[dont_unroll]] for (uint c = 0u; c < chunks; c++) {
			Parts left = partOf(t, head + mine, c);
			vec4 m = left.v[0];
			join(sum, Sum(m.x, m.y, left.v[1u + min(f, fours - 1u)]));
		}
	}
	if (me < QUERIES * HEAD && f < fours) {
		vec4 r = sum.values / sum.total;
		uint to = ((t * p.queryHeads + head + mine) * fours + f) * 4u;
		if (p.o != 0ul) {
			[[unroll]] for (uint j = 0; j < 4; j++) Floats(p.o).v[to + j] = r[j];
		}
		if (p.bytes != 0ul) quantize(r, lane, p.bytes, p.byteScales, to / 32u);
	}
}
