// A KV cache: [page][KV head][token][dim]; of Q8_0 the integers come first and then a plane of f16 scales.
layout(constant_id = 0) const uint FORMAT = 1;
const uint PAGE = 16;

// cacheRow is the index of a cell's row of dim values.
uint cacheRow(uint cell, uint head, uint heads) { return (cell / PAGE * heads + head) * PAGE + cell % PAGE; }

const uint VALUE_BYTES = FORMAT == F32 ? 4 : FORMAT == Q8_0 ? 1 : 2;

// cacheLoad reads values 4i … 4i+3 of a row.
vec4 cacheLoad(uint64_t base, uint64_t scales, uint row, uint dim, uint i) {
	uint64_t at = base + uint64_t(row) * uint64_t(dim * VALUE_BYTES) + uint64_t(4u * VALUE_BYTES * i);
	if (FORMAT == F32) return uintBitsToFloat(unit(at));
	if (FORMAT == Q8_0) {
		uint block = row * (dim / 32u) + i / 8u;
		float d = unpackHalf2x16(Words(scales).v[block >> 1])[block & 1u];
		int q = Ints(at).v[0];
		return d * vec4(bitfieldExtract(q, 0, 8), bitfieldExtract(q, 8, 8), bitfieldExtract(q, 16, 8), q >> 24);
	}
	uvec2 v = unpackUint2x32(Longs(at).v[0]);
	if (FORMAT == F16) return vec4(unpackHalf2x16(v.x), unpackHalf2x16(v.y));
	return uintBitsToFloat(uvec4(v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u));
}
