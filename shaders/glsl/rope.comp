#version 460
// QKNormRopeStore: a workgroup is one head of one token: query heads, then key heads, then value heads.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "cache.glsl"
#define THREADS 64
#include "reduce.glsl"

layout(local_size_x = 64) in;

layout(push_constant) uniform Push {
	uint64_t qkv, qNorm, kNorm, rope, tokens, k, v, queries, count;
	uint64_t scales; // from a cache to its plane of scales, in bytes
	uint capacity, queryHeads, kvHeads, dim;
	uint stride; // values in a row of the rope table
	float eps;
} p;

const uint MOST = 256; // values in a head
shared float head[MOST];

// rounded is x·id to the nearest integer, halves away from zero.
int rounded(float x, float id) {
	precise float y = x * id;
	// Adding a half to y could round; so compare what is cut off instead.
	float whole = trunc(y);
	if (abs(y - whole) >= 0.5) whole += sign(y);
	return int(clamp(whole, -128.0, 127.0));
}

void store(uint64_t cache, uint row) {
	uint64_t at = cache + uint64_t(row) * uint64_t(p.dim * VALUE_BYTES);
	for (uint i = gl_LocalInvocationIndex; i < p.dim / 4u; i += THREADS) {
		vec4 x = vec4(head[4u * i], head[4u * i + 1u], head[4u * i + 2u], head[4u * i + 3u]);
		if (FORMAT == F32) {
			[[unroll]] for (uint j = 0; j < 4; j++) Floats(at).v[4u * i + j] = x[j];
		} else if (FORMAT == F16) {
			Words(at).v[2u * i] = toF16(x[0]) | toF16(x[1]) << 16;
			Words(at).v[2u * i + 1u] = toF16(x[2]) | toF16(x[3]) << 16;
		} else if (FORMAT == BF16) {
			Words(at).v[2u * i] = toBF16(x[0]) | toBF16(x[1]) << 16;
			Words(at).v[2u * i + 1u] = toBF16(x[2]) | toBF16(x[3]) << 16;
		} else {
			float most = 0.0;
			uint first = i / 8u * 32u;
			for (uint j = 0; j < 32u; j++) most = max(most, abs(head[first + j]));
			float d = divide(most, 127.0);
			float id = d == 0.0 ? 0.0 : divide(1.0, d);
			uint q = 0;
			[[unroll]] for (uint j = 0; j < 4; j++) q |= (uint(rounded(x[j], id)) & 0xffu) << (8 * j);
			Words(at).v[i] = q;
			if (i % 8u == 0u) {
				// Two blocks share a word, and another workgroup may be at the other: each sets its own bits.
				uint block = row * (p.dim / 32u) + i / 8u, shift = 16u * (block & 1u);
				Words w = Words(cache + p.scales);
				atomicAnd(w.v[block >> 1], ~(0xffffu << shift));
				atomicOr(w.v[block >> 1], toF16(d) << shift);
			}
		}
	}
}

void main() {
	uint t = gl_WorkGroupID.y, h = gl_WorkGroupID.x;
	if (t >= live(p.count, p.capacity)) return;
	uint heads = p.queryHeads + 2u * p.kvHeads, half_ = p.dim / 2u;
	uint from = (t * heads + h) * p.dim;
	if (h >= p.queryHeads + p.kvHeads) { // a value
		for (uint i = gl_LocalInvocationIndex; i < p.dim; i += THREADS) head[i] = Floats(p.qkv).v[from + i];
		barrier();
		store(p.v, cacheRow(Words(p.tokens).v[4u * t + 2u], h - p.queryHeads - p.kvHeads, p.kvHeads));
		return;
	}
	bool query = h < p.queryHeads;
	float squares = 0.0;
	for (uint i = gl_LocalInvocationIndex; i < p.dim; i += THREADS) {
		float v = Floats(p.qkv).v[from + i];
		squares = fma(v, v, squares);
	}
	float scale = inverseRoot(groupSum(squares) / float(p.dim) + p.eps);
	uint position = Words(p.tokens).v[4u * t + 1u];
	Floats weight = Floats(query ? p.qNorm : p.kNorm);
	Floats turn = Floats(p.rope + 4ul * uint64_t(position) * uint64_t(p.stride));
	for (uint i = gl_LocalInvocationIndex; i < half_; i += THREADS) {
		precise float lo = Floats(p.qkv).v[from + i] * scale * weight.v[i];
		precise float hi = Floats(p.qkv).v[from + half_ + i] * scale * weight.v[half_ + i];
		float c = turn.v[i], s = turn.v[half_ + i];
		precise float a = lo * c - hi * s;
		precise float b = hi * c + lo * s;
		if (query) {
			uint to = (t * p.queryHeads + h) * p.dim;
			Floats(p.queries).v[to + i] = a;
			Floats(p.queries).v[to + half_ + i] = b;
		} else {
			head[i] = a;
			head[half_ + i] = b;
		}
	}
	if (query) return;
	barrier();
	store(p.k, cacheRow(Words(p.tokens).v[4u * t + 2u], h - p.queryHeads, p.kvHeads));
}
