#version 460
// Attention: a workgroup is one query head of one token. It goes through the sequence in chunks of 256 absolute positions,
// each with its own maximum and sum, merged from left to right: one order for decode and prefill.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "cache.glsl"
#define THREADS 256
#include "reduce.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t q, tokens, k, v, pages, o, count, scales;
	uint capacity, queryHeads, kvHeads, dim;
	uint maxPages;
	float scale;
} p;

const uint CHUNK = 256, MOST = 256;
shared float query[MOST];
shared float weights[CHUNK];
shared uint rows[CHUNK];
shared vec4 parts[THREADS];

void main() {
	uint t = gl_WorkGroupID.y, h = gl_WorkGroupID.x, me = gl_LocalInvocationIndex;
	if (t >= live(p.count, p.capacity)) return;
	uint at = (t * p.queryHeads + h) * p.dim;
	for (uint i = me; i < p.dim; i += THREADS) query[i] = Floats(p.q).v[at + i];
	barrier();
	uint last = Words(p.tokens).v[4u * t + 1u], slot = Words(p.tokens).v[4u * t + 3u];
	Words pages = Words(p.pages + 4ul * uint64_t(slot) * uint64_t(p.maxPages));
	uint kvHead = h / (p.queryHeads / p.kvHeads);
	// Four values of the result for each invocation; as many invocations again share a chunk's positions.
	uint quads = p.dim / 4u, quad = me % quads, share = me / quads, shares = THREADS / quads;
	float peak = -INF, total = 0.0;
	vec4 acc = vec4(0.0);
	for (uint first = 0u; first <= last; first += CHUNK) {
		uint n = min(CHUNK, last + 1u - first);
		float score = -INF;
		if (me < n) {
			uint position = first + me;
			uint row = cacheRow(pages.v[position / PAGE] * PAGE + position % PAGE, kvHead, p.kvHeads);
			rows[me] = row;
			precise float s = 0.0;
			for (uint i = 0u; i < quads; i++) {
				vec4 x = cacheLoad(p.k, p.k + p.scales, row, p.dim, i);
				[[unroll]] for (uint j = 0; j < 4; j++) s = fma(query[4u * i + j], x[j], s);
			}
			score = s * p.scale;
		}
		float chunkPeak = groupMax(score);
		float e = me < n ? exponential(score - chunkPeak) : 0.0;
		weights[me] = e;
		float chunkTotal = groupSum(e); // its barriers publish weights and rows
		vec4 part = vec4(0.0);
		if (share < shares) {
			for (uint j = share; j < n; j += shares) part = fma(vec4(weights[j]), cacheLoad(p.v, p.v + p.scales, rows[j], p.dim, quad), part);
		}
		parts[me] = part;
		barrier();
		if (share == 0u) {
			for (uint j = 1u; j < shares; j++) {
				precise vec4 sum = part + parts[j * quads + quad];
				part = sum;
			}
			float both = max(peak, chunkPeak);
			float old = exponential(peak - both), now = exponential(chunkPeak - both);
			acc = fma(part, vec4(now), acc * old);
			total = fma(chunkTotal, now, total * old);
			peak = both;
		}
	}
	if (share == 0u) {
		vec4 r = acc / total;
		[[unroll]] for (uint j = 0; j < 4; j++) Floats(p.o).v[at + 4u * quad + j] = r[j];
	}
}
