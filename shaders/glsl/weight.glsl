// How a weight lies in memory: see package vulkan's layout. Rows stand in panels of 2^shift, values in chunks of 32; a
// format has up to four planes, each [panel][chunk][…][row in panel], so that neighbouring rows are neighbours in memory.
//
//	values  16-byte units: F32 8, F16 and BF16 4, Q8_0 2, others 1 of nibbles. In a word of nibbles, byte j holds value
//	        8w+j low and 8w+4+j high.
//	high    Q5: a word of fifth bits; Q6_K: two words of two bits
//	scale   Q8_0, Q4_0, Q5_0: f16 d. Q4_1, Q5_1: f16 d and m. K: two bytes, scale and minimum (Q6_K: two scales)
//	super   K: for each 8 chunks f16 d, and for Q4_K and Q5_K dmin after it
layout(constant_id = 0) const uint FORMAT = 1;

struct Planes {
	uint64_t values, high, scale, super;
};

const uint UNITS = FORMAT == F32 ? 8 : FORMAT == F16 || FORMAT == BF16 ? 4 : FORMAT == Q8_0 ? 2 : 1;
const bool NIBBLES = FORMAT >= Q4_0;
const bool FIFTH = FORMAT == Q5_0 || FORMAT == Q5_1 || FORMAT == Q5_K;
const bool MINIMUM = FORMAT == Q4_1 || FORMAT == Q5_1 || FORMAT == Q4_K || FORMAT == Q5_K;
const bool SUPER = FORMAT == Q4_K || FORMAT == Q5_K || FORMAT == Q6_K;
const bool SCALED = FORMAT >= Q8_0;


// index is the number of chunk c of a row in a plane with chunks of them, as if each took one place.
uint chunkIndex(uint row, uint shift, uint chunks, uint c) {
	return (((row >> shift) * chunks + c) << shift) + (row & ((1u << shift) - 1u));
}

uint halfWord(uint64_t address, uint index) {
	return (Words(address).v[index >> 1] >> (16u * (index & 1u))) & 0xffffu;
}

float half16(uint v) { return unpackHalf2x16(v)[0]; }

// Scales are what the two halves of a chunk, of 16 values each, are multiplied by, and its minimum.
struct Scales {
	float scale[2];
	float minimum;
};

Scales chunkScales(Planes w, uint row, uint shift, uint chunks, uint c) {
	Scales s;
	s.minimum = 0.0;
	s.scale[0] = s.scale[1] = 1.0;
	uint i = chunkIndex(row, shift, chunks, c);
	if (FORMAT == Q8_0 || FORMAT == Q4_0 || FORMAT == Q5_0) {
		s.scale[0] = s.scale[1] = half16(halfWord(w.scale, i));
	} else if (FORMAT == Q4_1 || FORMAT == Q5_1) {
		vec2 v = unpackHalf2x16(Words(w.scale).v[i]);
		s.scale[0] = s.scale[1] = v.x;
		s.minimum = v.y;
	} else if (SUPER) {
		uint v = halfWord(w.scale, i), j = chunkIndex(row, shift, chunks / 8u, c / 8u);
		if (FORMAT == Q6_K) {
			float d = half16(halfWord(w.super, j));
			s.scale[0] = d * float(bitfieldExtract(int(v), 0, 8));
			s.scale[1] = d * float(bitfieldExtract(int(v), 8, 8));
		} else {
			vec2 d = unpackHalf2x16(Words(w.super).v[j]);
			s.scale[0] = s.scale[1] = d.x * float(v & 0xffu);
			s.minimum = -(d.y * float(v >> 8));
		}
	}
	return s;
}

// Chunk holds the stored bits of one chunk of a row.
struct Chunk {
	uvec4 unit[8]; // UNITS of them
	uvec2 high;
};

Chunk chunkBits(Planes w, uint row, uint shift, uint chunks, uint c) {
	Chunk b;
	uint lane = row & ((1u << shift) - 1u), i = chunkIndex(row, shift, chunks, c);
	uint64_t at = w.values + 16ul * uint64_t(UNITS * (i - lane) + lane);
	[[unroll]] for (uint u = 0; u < UNITS; u++) b.unit[u] = unit(at + uint64_t((16u * u) << shift));
	b.high = uvec2(0);
	if (FIFTH) b.high.x = Words(w.high).v[i];
	if (FORMAT == Q6_K) b.high = unpackUint2x32(Longs(w.high).v[i]);
	return b;
}

// value is value i of 32, before scale and minimum.
float value(Chunk b, uint i) {
	if (FORMAT == F32) return uintBitsToFloat(b.unit[i / 4][i % 4]);
	if (FORMAT == F16) return unpackHalf2x16(b.unit[i / 8][(i / 2) % 4] >> (16 * (i & 1)))[0];
	if (FORMAT == BF16) return uintBitsToFloat((i & 1) == 0 ? b.unit[i / 8][(i / 2) % 4] << 16 : b.unit[i / 8][(i / 2) % 4] & 0xffff0000u);
	if (FORMAT == Q8_0) return float(bitfieldExtract(int(b.unit[i / 16][(i / 4) % 4]), int(8 * (i % 4)), 8));
	uint q = bitfieldExtract(b.unit[0][i / 8], int(8 * (i % 4) + (i % 8) / 4 * 4), 4);
	if (FIFTH) q |= bitfieldExtract(b.high.x, int(i), 1) << 4;
	if (FORMAT == Q6_K) q |= bitfieldExtract(b.high[i / 16], int(2 * (i % 16)), 2) << 4;
	int zero = FORMAT == Q4_0 ? 8 : FORMAT == Q5_0 ? 16 : FORMAT == Q6_K ? 32 : 0;
	return float(int(q) - zero);
}
