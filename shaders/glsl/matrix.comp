#version 460
// Linear and LinearSwiGLU of 16-bit weights by cooperative matrices: y[t][o] = Σ_k x[t][k]·w[o][k] (+ bias[o]), where x was
// rounded to f16 (quantize.glsl) and w is f16 too, each times a power of two that scale takes off again.
//
// A subgroup multiplies tiles of M rows of the weight by N tokens, K values at a time, and adds in f32. Values of k are in
// segments of whole groups, each summed by itself in the order in which they lie in memory, and the segments' sums are added
// left to right. There are two geometries of this one arithmetic:
//
//	split  one segment to a subgroup, for so few tokens that reading the weight is what takes time: tiles are read from
//	       memory, and meet at the end
//	tiled  TALL × WIDE subgroups, each TILES_M × TILES_N tiles, go through all segments: weights and tokens come through
//	       shared memory, a step of 32 values ahead of their use
#pragma use_vulkan_memory_model
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
#include "common.glsl"
#include "half.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint THREADS = 64;
layout(constant_id = 1) const uint SHAPE = 0x080808;
layout(constant_id = 2) const uint GEOMETRY = 0x1111;
layout(constant_id = 3) const uint FLAGS = 1;
const uint M = SHAPE & 0xff, N = (SHAPE >> 8) & 0xff, K = SHAPE >> 16;
const uint TILES_M = GEOMETRY & 0xf, TILES_N = (GEOMETRY >> 4) & 0xf, TALL = (GEOMETRY >> 8) & 0xf, WIDE = (GEOMETRY >> 12) & 0xf;
const bool SPLIT = (FLAGS & 1) != 0; // TALL segments
const bool SWIGLU = (FLAGS & 2) != 0; // the second half of a subgroup's tiles of rows are the up rows of the first half
const uint HALVES = SWIGLU ? 2 : 1, RESULTS = TILES_M / HALVES; // tiles of results, by rows
const uint GROUPS = SPLIT ? 1 : TALL * WIDE; // subgroups that have results of their own

#define WEIGHTS coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define TOKENS coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define SUMS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

layout(push_constant) uniform Push {
	uint64_t y, bias, count; // y: 0 where nobody reads floats
	uint64_t halves;         // y, rounded; 0: not wanted
	uint capacity;
	uint from;    // first token of this launch
	uint stride;  // values in a row of y
	uint column;  // of y of the weight's first row
	uint rows;    // of results: the weight's, half of them for SwiGLU; at least M
	uint chunks;  // in a row of x
	uint padded;  // in a row of the weight: whole groups
	uint skip;    // units of X before token from
	uint segment; // groups in one
	float scale;
} p;

// Everything is in units of 16 bytes, eight values. A group of the weight is 16 pieces of 16 values: the first halves of
// its chunks, then the second.
layout(binding = 0, std430) restrict readonly buffer Values { uvec4 values[]; };
layout(binding = 4, std430) restrict readonly buffer X { uvec4 x[]; };

layout(buffer_reference, std430, buffer_reference_align = 2) buffer Shorts { uint16_t v[]; };

const uint PARTS = 16 / K;      // tiles of a piece
const uint AHEAD = 4 / PARTS;   // pieces that the split geometry reads before it uses them
const uint GROUP = 8, PIECES = 16, STEP = 2; // pieces
const uint STRIDE = 2 * STEP + 1;            // of a staged row: one more, so that rows lie in different banks
const uint ROWS = TALL * TILES_M * M, COLS = WIDE * TILES_N * N; // that a workgroup stages
shared float results[(SPLIT ? TALL : GROUPS) * HALVES * M * N];
shared uvec4 stagedW[SPLIT ? 1 : ROWS * STRIDE];
shared uvec4 stagedX[SPLIT ? 1 : COLS * STRIDE];

// resultOf is the first row of results of a subgroup's tile i, of all tiles that lie across a workgroup; rowOf the row of
// the weight of which this tile is read: tiles that would reach beyond the end are moved to it.
uint resultOf(uint tall, uint i) {
	return ((gl_WorkGroupID.x * (SPLIT ? 1 : TALL) + tall) * RESULTS + i % RESULTS) * M;
}
uint rowOf(uint tall, uint i) {
	return (i < RESULTS ? 0 : p.rows) + min(resultOf(tall, i), p.rows - M);
}

// unitX is where piece j of group g of a token is, counted in its row.
uint unitX(uint g, uint j) {
	// Beyond the row's end the weight is zero.
	return 4u * min(g * GROUP + j % GROUP, p.chunks - 1u) + 2u * (j / GROUP);
}

// finish stores a result.
void finish(uint row, uint token, float first, float second) {
	precise float y = first * p.scale;
	if (SWIGLU) {
		precise float up = second * p.scale;
		y = y / (1.0 + exponential(-y)) * up;
	}
	if (p.bias != 0ul) y += Floats(p.bias).v[row];
	uint at = (p.from + token) * p.stride + p.column + row;
	if (p.y != 0ul) Floats(p.y).v[at] = y;
	if (p.halves != 0ul) Shorts(p.halves).v[at] = uint16_t(toHalf(y));
}

void main() {
	uint n = live(p.count, p.capacity), first = gl_WorkGroupID.y * COLS;
	if (p.from + first >= n) return;
	n -= p.from;
	uint sub = gl_SubgroupID, tall = SPLIT ? 0 : sub % TALL, wide = SPLIT ? 0 : sub / TALL;
	uint groups = p.padded / GROUP;
	SUMS total[TILES_M * TILES_N];
	SUMS acc[TILES_M * TILES_N];
	[[unroll]] for (uint i = 0; i < TILES_M * TILES_N; i++) acc[i] = SUMS(0.0);

	if (SPLIT) {
		uint row[TILES_M];
		[[unroll]] for (uint i = 0; i < TILES_M; i++) row[i] = rowOf(0, i) * p.padded * 4u;
		// One token stands in all columns: what is read is the same for each.
		uint width = n == 1u ? 0u : p.chunks * 4u, from = p.skip + first * p.chunks * 4u;
		for (uint g = sub * p.segment; g < min((sub + 1u) * p.segment, groups); g++) {
			[[dont_unroll]] for (uint j = 0; j < PIECES; j += AHEAD) {
				WEIGHTS w[TILES_M * AHEAD * PARTS];
				[[unroll]] for (uint h = 0; h < AHEAD * PARTS; h++) {
					[[unroll]] for (uint i = 0; i < TILES_M; i++)
						coopMatLoad(w[h * TILES_M + i], values, row[i] + (g * PIECES + j) * 2u + h * K / 8u, p.padded * 4u, gl_CooperativeMatrixLayoutRowMajor);
				}
				[[unroll]] for (uint h = 0; h < AHEAD * PARTS; h++) {
					[[unroll]] for (uint t = 0; t < TILES_N; t++) {
						TOKENS v;
						coopMatLoad(v, x, from + t * N * p.chunks * 4u + unitX(g, j + h / PARTS) + h % PARTS, width, gl_CooperativeMatrixLayoutColumnMajor);
						[[unroll]] for (uint i = 0; i < TILES_M; i++) acc[t * TILES_M + i] = coopMatMulAdd(w[h * TILES_M + i], v, acc[t * TILES_M + i]);
					}
				}
			}
		}
		[[unroll]] for (uint i = 0; i < TILES_M * TILES_N; i++) total[i] = acc[i];
	} else {
		[[unroll]] for (uint i = 0; i < TILES_M * TILES_N; i++) total[i] = SUMS(0.0);
		// Each invocation brings some units of each step.
		const uint UNITS = 2 * STEP, MINE_W = (ROWS * UNITS + THREADS - 1) / THREADS, MINE_X = (COLS * UNITS + THREADS - 1) / THREADS;
		uint me = gl_LocalInvocationIndex, unit = me % UNITS;
		uint fromW[MINE_W], fromX[MINE_X];
		[[unroll]] for (uint i = 0; i < MINE_W; i++) {
			uint r = min((me + i * THREADS) / UNITS, ROWS - 1), tile = r / M;
			fromW[i] = (rowOf(tile / TILES_M, tile % TILES_M) + r % M) * p.padded * 4u + unit;
		}
		[[unroll]] for (uint i = 0; i < MINE_X; i++)
			fromX[i] = p.skip + min(first + (me + i * THREADS) / UNITS, n - 1u) * p.chunks * 4u + unit % 2u;
		uvec4 nextW[MINE_W], nextX[MINE_X];
		uint steps = groups * (PIECES / STEP), whole = p.segment * (PIECES / STEP);
		for (uint s = 0; s <= steps; s++) {
			if (s > 0u) {
				barrier();
				[[unroll]] for (uint i = 0; i < MINE_W; i++)
					if ((i + 1) * THREADS <= ROWS * UNITS || me + i * THREADS < ROWS * UNITS) stagedW[(me + i * THREADS) / UNITS * STRIDE + unit] = nextW[i];
				[[unroll]] for (uint i = 0; i < MINE_X; i++)
					if ((i + 1) * THREADS <= COLS * UNITS || me + i * THREADS < COLS * UNITS) stagedX[(me + i * THREADS) / UNITS * STRIDE + unit] = nextX[i];
				barrier();
			}
			if (s < steps) {
				uint g = s / (PIECES / STEP), j = s % (PIECES / STEP) * STEP;
				[[unroll]] for (uint i = 0; i < MINE_W; i++) nextW[i] = values[fromW[i] + s * UNITS];
				[[unroll]] for (uint i = 0; i < MINE_X; i++) nextX[i] = x[fromX[i] + unitX(g, j + unit / 2u)];
			}
			if (s == 0u) continue;
			[[unroll]] for (uint h = 0; h < STEP * PARTS; h++) {
				WEIGHTS w[TILES_M];
				[[unroll]] for (uint i = 0; i < TILES_M; i++)
					coopMatLoad(w[i], stagedW, (tall * TILES_M + i) * M * STRIDE + h * K / 8u, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
				[[unroll]] for (uint t = 0; t < TILES_N; t++) {
					TOKENS v;
					coopMatLoad(v, stagedX, (wide * TILES_N + t) * N * STRIDE + h * K / 8u, STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
					[[unroll]] for (uint i = 0; i < TILES_M; i++) acc[t * TILES_M + i] = coopMatMulAdd(w[i], v, acc[t * TILES_M + i]);
				}
			}
			if (s % whole == 0u || s == steps) {
				[[unroll]] for (uint i = 0; i < TILES_M * TILES_N; i++) {
					total[i] = total[i] + acc[i];
					acc[i] = SUMS(0.0);
				}
			}
		}
	}

	// A tile at a time, a token's rows one after the other.
	const uint AREA = M * N, LANES = THREADS / GROUPS;
	uint lane = gl_LocalInvocationIndex % LANES, mine = (SPLIT ? 0 : gl_LocalInvocationIndex / LANES) * HALVES * AREA;
	[[unroll]] for (uint t = 0; t < TILES_N; t++) {
		[[unroll]] for (uint i = 0; i < RESULTS; i++) {
			[[unroll]] for (uint h = 0; h < HALVES; h++)
				coopMatStore(total[t * TILES_M + h * RESULTS + i], results, (sub * HALVES + h) * AREA, M, gl_CooperativeMatrixLayoutColumnMajor);
			barrier();
			for (uint e = lane; e < AREA; e += LANES) {
				float sums[2];
				[[unroll]] for (uint h = 0; h < HALVES; h++) {
					precise float s = 0.0;
					[[unroll]] for (uint k = 0; k < (SPLIT ? TALL : 1); k++) s = s + results[mine + (k * HALVES + h) * AREA + e];
					sums[h] = s;
				}
				uint row = rowOf(tall, i) + e % M, token = first + (wide * TILES_N + t) * N + e / M;
				if (token < n && row >= resultOf(tall, i)) finish(row, token, sums[0], SWIGLU ? sums[1] : 0.0);
			}
			barrier();
		}
	}
}
