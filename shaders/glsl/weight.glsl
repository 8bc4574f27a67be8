// How a weight lies in memory: see package vulkan's layout. Values stand in chunks of 32, chunks in groups of GROUP, rows
// in panels of PANEL; a format has up to four planes:
//
//	values  [row][group][unit][chunk in group], units of 16 bytes: F32 8, F16 and BF16 4, Q8_0 2, others 1 of nibbles. In
//	        a word of nibbles, byte j holds value 8w+j low and 8w+4+j high.
//	high    [panel][chunk][row in panel]: Q5: a word of fifth bits, byte j that of value 4g+j at bit g; Q6_K: two words of
//	        two bits, byte j of word g/4 those of value 4g+j at bit 2(g mod 4)
//	scale   the same: Q8_0, Q4_0, Q5_0: f16 d. Q4_1, Q5_1: f16 d and m. K: two bytes, scale and minimum (Q6_K: two scales)
//	super   [panel][group][row in panel]: Q4_K and Q5_K f16 d and dmin, Q6_K f16 d
layout(constant_id = 0) const uint FORMAT = 1;

const uint GROUP = 8, PANEL = 8;
const uint UNITS = FORMAT == F32 ? 8 : FORMAT == F16 || FORMAT == BF16 ? 4 : FORMAT == Q8_0 ? 2 : 1;
const bool FIFTH = FORMAT == Q5_0 || FORMAT == Q5_1 || FORMAT == Q5_K;
const bool MINIMUM = FORMAT == Q4_1 || FORMAT == Q5_1 || FORMAT == Q4_K || FORMAT == Q5_K;
const bool SUPER = FORMAT == Q4_K || FORMAT == Q5_K || FORMAT == Q6_K;
const bool SCALED = FORMAT >= Q8_0;
const uint HIGH_BYTES = FIFTH ? 4 : FORMAT == Q6_K ? 8 : 0;
const uint SCALE_BYTES = FORMAT == Q4_1 || FORMAT == Q5_1 ? 4 : 2;
const uint SUPER_BYTES = FORMAT == Q6_K ? 2 : 4;

// Scales are what the two halves of a chunk, of 16 values each, are multiplied by, and the chunk's minimum.
struct Scales {
	float scale[2];
	float minimum;
};

// scalesOf decodes what planes scale and super hold for a chunk.
Scales scalesOf(uint s, uint u) {
	Scales r;
	vec2 v = unpackHalf2x16(SUPER ? u : s);
	r.scale[0] = r.scale[1] = v.x;
	r.minimum = 0.0;
	if (FORMAT == Q4_1 || FORMAT == Q5_1) r.minimum = v.y;
	if (FORMAT == Q6_K) {
		r.scale[0] = v.x * float(bitfieldExtract(int(s), 0, 8));
		r.scale[1] = v.x * float(bitfieldExtract(int(s), 8, 8));
	} else if (SUPER) {
		r.scale[0] = r.scale[1] = v.x * float(s & 0xffu);
		r.minimum = -(v.y * float((s >> 8) & 0xffu));
	}
	return r;
}

// bytesOf are values 4g … 4g+3 of a chunk as the bytes of a word, without their zero: the nibbles of group g and the bits
// above them.
uint bytesOf(uvec4 unit, uvec2 high, uint g) {
	uint q = (unit[g / 2] >> (4 * (g & 1))) & 0x0f0f0f0fu;
	if (FIFTH) q |= (g < 4 ? high.x << (4 - g) : high.x >> (g - 4)) & 0x10101010u;
	if (FORMAT == Q6_K) {
		uint h = high[g / 4], f = g & 3;
		q |= (f < 3 ? h << (4 - 2 * f) : h >> 2) & 0x30303030u;
	}
	return q;
}

// unitOf is the unit that holds values 4g … 4g+3.
uint unitOf(uint g) { return g * UNITS / 8; }

// valuesOf are values 4g … 4g+3 of a chunk, before scale and minimum, of the unit that holds them.
vec4 valuesOf(uvec4 unit, uvec2 high, uint g) {
	if (FORMAT == F32) return uintBitsToFloat(unit);
	if (FORMAT == F16) return vec4(unpackHalf2x16(unit[2 * (g & 1)]), unpackHalf2x16(unit[2 * (g & 1) + 1]));
	if (FORMAT == BF16) {
		uint a = unit[2 * (g & 1)], b = unit[2 * (g & 1) + 1];
		return uintBitsToFloat(uvec4(a << 16, a & 0xffff0000u, b << 16, b & 0xffff0000u));
	}
	if (FORMAT == Q8_0) {
		int q = int(unit[g & 3]);
		return vec4(bitfieldExtract(q, 0, 8), bitfieldExtract(q, 8, 8), bitfieldExtract(q, 16, 8), q >> 24);
	}
	uint q = bytesOf(unit, high, g);
	const float zero = FORMAT == Q4_0 ? 8.0 : FORMAT == Q5_0 ? 16.0 : FORMAT == Q6_K ? 32.0 : 0.0;
	return vec4(q & 0xffu, (q >> 8) & 0xffu, (q >> 16) & 0xffu, q >> 24) - zero;
}
