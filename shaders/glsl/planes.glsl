// A weight's planes as bindings 0 to 3, read for ROWS neighbouring rows at once; ROWS and MOST_ROWS are the shader's.
layout(binding = 0, std430) restrict readonly buffer Values2 { u64vec2 values2[]; };
layout(binding = 0, std430) restrict readonly buffer Values4 { u64vec4 values4[]; };
layout(binding = 1, std430) restrict readonly buffer High { uint high[]; };
layout(binding = 1, std430) restrict readonly buffer High2 { uvec2 high2[]; };
layout(binding = 1, std430) restrict readonly buffer High4 { uvec4 high4[]; };
layout(binding = 2, std430) restrict readonly buffer Scale { uint scale[]; };
layout(binding = 2, std430) restrict readonly buffer Scale2 { uvec2 scale2[]; };
layout(binding = 2, std430) restrict readonly buffer Scale4 { uvec4 scale4[]; };
layout(binding = 3, std430) restrict readonly buffer Super { uint super[]; };
layout(binding = 3, std430) restrict readonly buffer Super2 { uvec2 super2[]; };
layout(binding = 3, std430) restrict readonly buffer Super4 { uvec4 super4[]; };

uvec4 words(uint64_t a, uint64_t b) { return uvec4(unpackUint2x32(a), unpackUint2x32(b)); }

// A plane beside the values, of BYTES a row, holds ROWS neighbouring rows in WORDS words: they are read at once. i counts
// rows.
#define READ(name, BYTES)                                                                                                   \
	void read_##name(uint i, out uint words[2 * MOST_ROWS]) {                                                               \
		const uint WORDS = max(ROWS * (BYTES) / 4, 1);                                                                      \
		uint at = i * (BYTES) / 4;                                                                                          \
		if (WORDS == 1) words[0] = name[at];                                                                                \
		if (WORDS == 2) {                                                                                                   \
			uvec2 v = name##2[at / 2];                                                                                      \
			words[0] = v.x;                                                                                                 \
			words[1] = v.y;                                                                                                 \
		}                                                                                                                   \
		[[unroll]] for (uint w = 0; w < WORDS / 4 * 4; w += 4) {                                                            \
			uvec4 v = name##4[at / 4 + w / 4];                                                                              \
			[[unroll]] for (uint j = 0; j < 4; j++) words[w + j] = v[j];                                                    \
		}                                                                                                                   \
	}
READ(high, HIGH_BYTES)
READ(scale, SCALE_BYTES)
READ(super, SUPER_BYTES)

// element is row i+r of what was read from i on.
uint element(uint words[2 * MOST_ROWS], uint bytes, uint i, uint r) {
	if (bytes == 4) return words[r];
	if (ROWS == 1) return (words[0] >> (16 * (i & 1))) & 0xffffu;
	return (words[r / 2] >> (16 * (r & 1))) & 0xffffu;
}

// Side is what stands beside the values of a chunk of ROWS rows.
struct Side {
	Scales scales[MOST_ROWS];
	uvec2 high[MOST_ROWS];
};

// panelAt is where a plane beside the values has element c of a row with n of them, counted in rows.
uint panelAt(uint row, uint c, uint n) { return (row / PANEL * n + c) * PANEL + row % PANEL; }

// side reads it from where the rows' chunk and group are.
Side side(uint chunk, uint group) {
	Side s;
	uint h[2 * MOST_ROWS], a[2 * MOST_ROWS], b[2 * MOST_ROWS];
	if (SCALED) read_scale(chunk, a);
	if (SUPER) read_super(group, b);
	if (HIGH_BYTES > 0) read_high(chunk, h);
	[[unroll]] for (uint r = 0; r < ROWS; r++) {
		s.scales[r] = scalesOf(SCALED ? element(a, SCALE_BYTES, chunk, r) : 0, SUPER ? element(b, SUPER_BYTES, group, r) : 0);
		s.high[r] = uvec2(0);
		if (HIGH_BYTES == 4) s.high[r].x = h[r];
		if (HIGH_BYTES == 8) s.high[r] = uvec2(h[2 * r], h[2 * r + 1]);
	}
	return s;
}
