#version 460
// Prepare: one workgroup takes the step block apart. Its phases are divided by barriers: resets, writes to the slots,
// then history and tokens, which only count.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

#define THREADS 256
layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t block, slots, tokens, kept;
	// Word offsets of the block's sections.
	uint ids, seqs, pages, params, history, bias;
	// Word offsets of the slots' arrays.
	uint slotLast, slotParams, slotPages, slotBias, slotBiases, slotCounts, slotPrompt;
	uint maxPages, mostBias, vocab, promptWords;
} p;

const uint SEQ = 8, PAGE_WRITE = 3, PARAMS = 16, HISTORY = 3, BIAS = 5, PAGE = 16;

layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer Shared { uint v[]; };

// note counts a token for penalties; ids outside the vocabulary are not counted.
void note(uint slot, uint id, bool generated) {
	if (id >= p.vocab) return;
	Shared s = Shared(p.slots);
	if (!generated) {
		atomicOr(s.v[p.slotPrompt + slot * p.promptWords + id / 32u], 1u << (id % 32u));
		return;
	}
	uint i = slot * p.vocab + id, word = p.slotCounts + i / 2u, shift = 16u * (i & 1u);
	uint old = s.v[word];
	for (;;) {
		if (((old >> shift) & 0xffffu) == 0xffffu) return;
		uint seen = atomicCompSwap(s.v[word], old, old + (1u << shift));
		if (seen == old) return;
		old = seen;
	}
}

// settle waits until all invocations have written, and sees what they wrote.
void settle() {
	memoryBarrierBuffer();
	barrier();
}

void main() {
	uint me = gl_LocalInvocationIndex;
	Words b = Words(p.block);
	Shared s = Shared(p.slots);
	uint seqs = b.v[1], pages = b.v[3], params = b.v[4], history = b.v[5], biases = b.v[6];

	for (uint i = 0u; i < seqs; i++) {
		uint at = p.seqs + i * SEQ, slot = b.v[at];
		if (b.v[at + 7u] == 0u) continue;
		// Counts are halves of words; where the vocabulary is odd, a word at either end belongs to another slot too.
		uint from = slot * p.vocab, to = from + p.vocab;
		for (uint w = from / 2u + me; w < (to + 1u) / 2u; w += THREADS) {
			uint mask = (2u * w < from ? 0xffffu : 0u) | (2u * w + 1u >= to ? 0xffff0000u : 0u);
			if (mask == 0u) s.v[p.slotCounts + w] = 0u;
			else atomicAnd(s.v[p.slotCounts + w], mask);
		}
		for (uint w = me; w < p.promptWords; w += THREADS) s.v[p.slotPrompt + slot * p.promptWords + w] = 0u;
		if (me == 0u) s.v[p.slotBiases + slot] = 0u;
	}
	for (uint i = me; i < params * PARAMS; i += THREADS) {
		uint at = p.params + i / PARAMS * (PARAMS + 1u);
		s.v[p.slotParams + b.v[at] * PARAMS + i % PARAMS] = b.v[at + 1u + i % PARAMS];
	}
	for (uint i = me; i < pages; i += THREADS) {
		uint at = p.pages + i * PAGE_WRITE;
		s.v[p.slotPages + b.v[at] * p.maxPages + b.v[at + 1u]] = b.v[at + 2u];
	}
	settle();

	if (me == 0u) { // in order
		for (uint i = 0u; i < biases; i++) {
			uint at = p.bias + i * BIAS, slot = b.v[at], n = s.v[p.slotBiases + slot];
			if (n >= p.mostBias) continue;
			uint to = p.slotBias + (slot * p.mostBias + n) * 3u;
			s.v[to] = b.v[at + 1u];
			s.v[to + 1u] = b.v[at + 2u];
			s.v[to + 2u] = b.v[at + 3u];
			s.v[p.slotBiases + slot] = n + 1u;
		}
	}
	for (uint i = me; i < history; i += THREADS) {
		uint at = p.history + i * HISTORY;
		note(b.v[at], b.v[at + 1u], b.v[at + 2u] != 0u);
	}
	Words tokens = Words(p.tokens), kept = Words(p.kept);
	for (uint i = 0u; i < seqs; i++) {
		uint at = p.seqs + i * SEQ;
		uint slot = b.v[at], start = b.v[at + 1u], count = b.v[at + 2u], first = b.v[at + 3u], keep = b.v[at + 4u], row = b.v[at + 5u];
		int prompt = int(b.v[at + 6u]);
		for (uint j = me; j < count; j += THREADS) {
			uint id = b.v[p.ids + first + j], position = start + j;
			if (id == 0xffffffffu) id = s.v[p.slotLast + slot];
			note(slot, id, int(position) >= prompt);
			uint page = s.v[p.slotPages + slot * p.maxPages + position / PAGE];
			uint to = 4u * (first + j);
			tokens.v[to] = id;
			tokens.v[to + 1u] = position;
			tokens.v[to + 2u] = page * PAGE + position % PAGE;
			tokens.v[to + 3u] = slot;
		}
		for (uint j = me; j < keep; j += THREADS) kept.v[row + j] = first + count - keep + j;
	}
}
