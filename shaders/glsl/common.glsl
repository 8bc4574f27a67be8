// What every shader shares. Memory is reached by device addresses that arrive in push constants, so nothing is bound.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Ints { int v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Longs { uint64_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Units { u64vec2 v[]; };

// live is the number of live rows: the word at address count, or all of capacity, where its highest bit says so. The word is
// read either way: lavapipe of Mesa 26.1 reads what has one address for all invocations even where a branch goes around it.
uint live(uint64_t count, uint capacity) {
	uint n = Words(count).v[0];
	return (capacity & 0x80000000u) != 0u ? capacity & 0x7fffffffu : n;
}

// unit reads 16 bytes as four words. 64-bit lanes halve the number of loads where the hardware has no wider ones.
uvec4 unit(uint64_t address) {
	u64vec2 v = Units(address).v[0];
	return uvec4(unpackUint2x32(v.x), unpackUint2x32(v.y));
}

#define INF uintBitsToFloat(0x7f800000u)

bool isNaN(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// exponential is eˣ to about one last place; results below 2⁻¹²⁶ are 0. Drivers' own exp may be off by hundreds.
// x = n·ln2 + r with |r| ≤ ln2/2, and eʳ by its Taylor series to r⁷.
float exponential(float x) {
	precise float n = floor(x * 1.44269504 + 0.5);
	n = clamp(n, -200.0, 200.0);
	precise float r = x - n * 0.693359375;
	r = r + n * 2.12194440e-4;
	precise float p = 1.9841270e-4;
	p = p * r + 1.3888889e-3;
	p = p * r + 8.3333333e-3;
	p = p * r + 4.1666667e-2;
	p = p * r + 1.6666667e-1;
	p = p * r + 0.5;
	p = p * (r * r) + r;
	p = p + 1.0;
	if (isNaN(x)) return x;
	if (x > 88.72283) return INF;
	if (x < -87.33654) return 0.0;
	// n is -126 … 128; two factors, since 2¹²⁸ is no float.
	int e = int(n);
	int half_ = e / 2;
	return p * uintBitsToFloat(uint(half_ + 127) << 23) * uintBitsToFloat(uint(e - half_ + 127) << 23);
}

// logarithm is ln x for normal x > 0, and NaN for NaN: x = 2ᵉ·m with m in [√½, √2), and ln m = 2·artanh((m-1)/(m+1)).
float logarithm(float x) {
	if (isNaN(x)) return x;
	uint b = floatBitsToUint(x);
	int e = int(b >> 23) - 127;
	float m = uintBitsToFloat((b & 0x7fffffu) | 0x3f800000u);
	if (m > 1.41421356) {
		m *= 0.5;
		e++;
	}
	precise float s = (m - 1.0) / (m + 1.0);
	precise float z = s * s;
	precise float p = 0.1538461538;
	p = p * z + 0.1818181818;
	p = p * z + 0.2222222222;
	p = p * z + 0.2857142857;
	p = p * z + 0.4;
	p = p * z + 0.6666666667;
	precise float r = s * z * p + 2.0 * s;
	return float(e) * 0.693359375 + (r - float(e) * 2.12194440e-4);
}

// inverseRoot is 1/√x, with one Newton step on the driver's, which may be off by two last places.
float inverseRoot(float x) {
	float y = inversesqrt(x);
	precise float e = 1.0 - (x * y) * y;
	return y + y * (0.5 * e);
}

// divide is a/b rounded to nearest, which Vulkan does not promise of its division: the quotient is corrected by its exact
// remainder. Where a, b or the quotient is zero, subnormal or not finite, the driver's quotient stands.
float divide(float a, float b) {
	float q = a / b;
	uint ua = floatBitsToUint(a) & 0x7fffffffu, ub = floatBitsToUint(b) & 0x7fffffffu;
	for (int i = 0; i < 3; i++) {
		uint uq = floatBitsToUint(q) & 0x7fffffffu;
		int ea = int(ua >> 23), eb = int(ub >> 23), eq = int(uq >> 23);
		if (ea == 0 || eb == 0 || eq == 0 || ea == 255 || eb == 255 || eq == 255) return q;
		int64_t ma = int64_t((ua & 0x7fffffu) | 0x800000u), mb = int64_t((ub & 0x7fffffu) | 0x800000u), mq = int64_t((uq & 0x7fffffu) | 0x800000u);
		int shift = ea - eq - eb + 127 + 23; // a = ma·2^(ea-150), q·b = mq·mb·2^(eq+eb-300)
		if (shift < 0 || shift > 39) return q;
		int64_t rest = (ma << shift) - mq * mb;
		int64_t down = mq == 0x800000l ? mb / 2l : mb; // twice the distance at which the next lower float is nearer
		if (2l * rest > mb) q = uintBitsToFloat(floatBitsToUint(q) + 1u);
		else if (-2l * rest > down) q = uintBitsToFloat(floatBitsToUint(q) - 1u);
		else return q;
	}
	return q;
}

// toF16 and toBF16 round to nearest even; NaN stays NaN.
uint toF16(float f) {
	uint b = floatBitsToUint(f), sign = (b >> 16) & 0x8000u;
	b &= 0x7fffffffu;
	if (b > 0x7f800000u) return sign | 0x7e00u;
	if (b >= 0x477ff000u) return sign | 0x7c00u;
	if (b < 0x38800000u) { // below 2⁻¹⁴: multiples of 2⁻²⁴
		precise float s = uintBitsToFloat(b) + 0.5;
		return sign | (floatBitsToUint(s) - 0x3f000000u);
	}
	b -= 112u << 23;
	return sign | ((b + 0xfffu + ((b >> 13) & 1u)) >> 13);
}

uint toBF16(float f) {
	uint b = floatBitsToUint(f);
	if ((b & 0x7fffffffu) > 0x7f800000u) return (b >> 16) | 0x40u;
	return (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
}

// Formats, as package tensor numbers them.
const uint F32 = 1, F16 = 2, BF16 = 3, Q8_0 = 4, Q4_0 = 5, Q4_1 = 6, Q5_0 = 7, Q5_1 = 8, Q4_K = 9, Q5_K = 10, Q6_K = 11;
