#version 460
// Sample: a workgroup is one row of logits. The definition is that of tensor.Graph.Sample; weights are integers of up to
// 41 bits and their sums are exact, so the order in which invocations add is free.
//
// Which tokens stay is a threshold on the weight, and how many of those that equal it stay, lower ids first. Both TopK and
// TopP look for it in the same way: digit by digit of the weight, from the highest, by counts and sums of each digit.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#define THREADS 256
#include "reduce.glsl"

layout(local_size_x = 256) in;

layout(push_constant) uniform Push {
	uint64_t logits, head, slots, out_, count;
	uint64_t work; // [rows][vocab] f32: logits as they are adjusted
	// Word offsets of the slots' arrays.
	uint slotLast, slotParams, slotBias, slotBiases, slotCounts, slotPrompt;
	uint capacity, vocab, mostBias, promptWords;
} p;

const uint PARAMS = 16, TOP = 20, OUT = 48;

// quiet is l, or -∞ where l is not a number.
float quiet(float l) { return isNaN(l) ? -INF : l; }

shared uint bestID[THREADS];

// likeliest is the first by id among the largest x of the workgroup.
uint likeliest(float x, uint id) {
	uint me = gl_LocalInvocationIndex;
	barrier();
	reduceMemory[me] = x;
	bestID[me] = id;
	for (uint n = THREADS / 2; n > 0; n /= 2) {
		barrier();
		if (me < n) {
			float a = reduceMemory[me], b = reduceMemory[me + n];
			if (b > a || b == a && bestID[me + n] < bestID[me]) {
				reduceMemory[me] = b;
				bestID[me] = bestID[me + n];
			}
		}
	}
	barrier();
	uint r = bestID[0];
	barrier();
	return r;
}

shared uint countMemory[THREADS];

uint groupCount(uint n) {
	uint me = gl_LocalInvocationIndex;
	barrier();
	countMemory[me] = n;
	for (uint k = THREADS / 2; k > 0; k /= 2) {
		barrier();
		if (me < k) countMemory[me] += countMemory[me + k];
	}
	barrier();
	return countMemory[0];
}

shared uint64_t sumMemory[THREADS];

uint64_t groupSum64(uint64_t n) {
	uint me = gl_LocalInvocationIndex;
	barrier();
	sumMemory[me] = n;
	for (uint k = THREADS / 2; k > 0; k /= 2) {
		barrier();
		if (me < k) sumMemory[me] += sumMemory[me + k];
	}
	barrier();
	return sumMemory[0];
}

// sampleWeight is tensor.SampleWeight: every operation rounded by itself.
uint64_t sampleWeight(float x) {
	precise float t = x * 1.44269504;
	if (isNaN(t) || t <= -41.0) return 0ul;
	precise float shifted = t + 0.5;
	precise float n = floor(shifted);
	precise float f = t - n;
	precise float w = 0.00015403530;
	w = w * f;
	w = w + 0.0013333558;
	w = w * f;
	w = w + 0.0096181291;
	w = w * f;
	w = w + 0.055504109;
	w = w * f;
	w = w + 0.24022651;
	w = w * f;
	w = w + 0.69314718;
	w = w * f;
	w = w + 1.0;
	// w is in [0.70, 1.42] with a 24-bit significand.
	uint b = floatBitsToUint(w);
	uint64_t v = uint64_t((b & 0x7fffffu) | 0x800000u) << (17u - 127u + (b >> 23));
	const uint64_t one = 1ul << 40;
	if (n >= 0.0) return min(v, one);
	uint s = uint(-n);
	return min((v + (1ul << (s - 1u))) >> s, one);
}

// minPWeight is tensor.MinPWeight: ⌈p·2⁴⁰⌉.
uint64_t minPWeight(float x) {
	if (isNaN(x) || x <= 0.0) return 0ul;
	uint b = floatBitsToUint(min(x, 1.0));
	uint e = b >> 23;
	uint64_t m = uint64_t((b & 0x7fffffu) | (e == 0u ? 0u : 0x800000u));
	int shift = int(max(e, 1u)) - 150 + 40; // m · 2^shift
	if (shift >= 0) return m << shift;
	if (shift <= -25) return m == 0ul ? 0ul : 1ul;
	return (m + (1ul << -shift) - 1ul) >> -shift;
}

// product is the 128-bit product of a and b.
void product(uint64_t a, uint64_t b, out uint64_t high, out uint64_t low) {
	uint64_t a0 = a & 0xfffffffful, a1 = a >> 32, b0 = b & 0xfffffffful, b1 = b >> 32;
	uint64_t mid = a1 * b0 + ((a0 * b0) >> 32);
	uint64_t mid2 = a0 * b1 + (mid & 0xfffffffful);
	high = a1 * b1 + (mid >> 32) + (mid2 >> 32);
	low = a * b;
}

// topPSum is tensor.TopPSum: ⌈x·sum⌉.
uint64_t topPSum(float x, uint64_t sum) {
	if (isNaN(x) || x >= 1.0) return sum;
	if (x <= 0.0) return 0ul;
	uint b = floatBitsToUint(x), e = b >> 23;
	if (e < 127u - 39u) return min(sum, 1ul); // under 2⁻³⁹ the likeliest token alone has enough
	uint64_t high, low;
	product(uint64_t((b & 0x7fffffu) | 0x800000u), sum, high, low);
	uint shift = 150u - e; // 24 … 62
	uint64_t q = (high << (64u - shift)) | (low >> shift);
	if ((low & ((1ul << shift) - 1ul)) != 0ul) q++;
	return q;
}

// drawBits is tensor.DrawBits: Philox4x32-10.
uint64_t drawBits(uint k0, uint k1, uint choice, uint position) {
	uvec4 c = uvec4(position, choice, 0u, 0u);
	for (uint i = 0u; i < 10u; i++) {
		uint h0, l0, h1, l1;
		umulExtended(0xD2511F53u, c.x, h0, l0);
		umulExtended(0xCD9E8D57u, c.z, h1, l1);
		c = uvec4(h1 ^ c.y ^ k0, l1, h0 ^ c.w ^ k1, l0);
		k0 += 0x9E3779B9u;
		k1 += 0xBB67AE85u;
	}
	return packUint2x32(c.xy);
}

// What stays: weights above least, and the first ties of those equal to it.
struct Stay {
	uint64_t least;
	uint64_t ties;
	uint64_t sum;
};

layout(buffer_reference, std430, buffer_reference_align = 4) coherent buffer SharedFloats { float v[]; };
SharedFloats row; // of the work space: logits as they are adjusted, later divided by the temperature

shared float rowPeak;
shared uint64_t rowLeast; // MinP

// weightOf is the weight of token i, 0 where MinP took it away.
uint64_t weightOf(uint i) {
	uint64_t w = sampleWeight(row.v[i] - rowPeak);
	return w < rowLeast ? 0ul : w;
}

// A weight as a key of six digits that sorts as it does: the place of its highest bit, then 40 bits below it.
uint digit(uint64_t w, uint n) {
	uvec2 v = unpackUint2x32(w);
	uint top = v.y != 0u ? 32u + findMSB(v.y) : findMSB(v.x);
	if (n == 0u) return top;
	return uint(w << (40u - top) >> (40u - 8u * n)) & 0xffu;
}

shared uint digitCount[256];
shared uint digitSum[3][256]; // 14 bits of the weights each, which 2¹⁸ of them cannot overflow
shared uint foundDigit;
shared uint64_t aboveCount, aboveSum;

uint64_t sumOf(uint d) {
	return uint64_t(digitSum[0][d]) + (uint64_t(digitSum[1][d]) << 14) + (uint64_t(digitSum[2][d]) << 28);
}

// find is the threshold at which, in order of falling weight, count tokens are there (byCount) or their sum reaches goal.
// Goal is at least 1 and is reached.
Stay find(bool byCount, uint64_t goal) {
	uint me = gl_LocalInvocationIndex;
	uint path[6];
	uint64_t found = 0ul; // the weight whose digits were found
	if (me == 0u) aboveCount = aboveSum = 0ul;
	for (uint n = 0u; n < 6u; n++) {
		barrier();
		digitCount[me] = digitSum[0][me] = digitSum[1][me] = digitSum[2][me] = 0u;
		barrier();
		for (uint i = me; i < p.vocab; i += THREADS) {
			uint64_t w = weightOf(i);
			if (w == 0ul) continue;
			bool same = true;
			for (uint k = 0u; k < n; k++) same = same && digit(w, k) == path[k];
			if (!same) continue;
			uint d = digit(w, n);
			atomicAdd(digitCount[d], 1u);
			atomicAdd(digitSum[0][d], uint(w) & 0x3fffu);
			atomicAdd(digitSum[1][d], uint(w >> 14) & 0x3fffu);
			atomicAdd(digitSum[2][d], uint(w >> 28));
		}
		barrier();
		if (me == 0u) {
			uint d = 255u;
			for (;; d--) {
				uint64_t c = aboveCount + uint64_t(digitCount[d]), s = aboveSum + sumOf(d);
				if ((byCount ? c : s) >= goal || d == 0u) break;
				aboveCount = c;
				aboveSum = s;
			}
			foundDigit = d;
		}
		barrier();
		path[n] = foundDigit;
	}
	uint top = path[0];
	uint64_t key = 0ul;
	for (uint n = 1u; n < 6u; n++) key = key << 8 | uint64_t(path[n]);
	Stay s;
	s.least = key >> (40u - top); // the highest bit is the key's bit 40 …
	s.least |= 1ul << top;        // … which its five digits leave out
	s.ties = byCount ? goal - aboveCount : max((goal - aboveSum + s.least - 1ul) / s.least, 1ul);
	s.sum = aboveSum + s.ties * s.least;
	barrier();
	return s;
}

shared uint64_t laneSum[THREADS];
shared uint laneTies[THREADS];
shared uint drawn;

// draw is the first token, by id, at which the running sum of the weights that stay exceeds r.
uint draw(Stay s, uint64_t r) {
	uint me = gl_LocalInvocationIndex;
	uint each = (p.vocab + THREADS - 1u) / THREADS, from = min(me * each, p.vocab), to = min(from + each, p.vocab);
	uint64_t sum = 0ul;
	uint ties = 0u;
	for (uint i = from; i < to; i++) {
		uint64_t w = weightOf(i);
		if (w == 0ul) continue;
		if (w > s.least) sum += w;
		else if (w == s.least) ties++;
	}
	laneSum[me] = sum;
	laneTies[me] = ties;
	barrier();
	// Every invocation sums what stands before it; the one in whose range r falls walks through it.
	uint64_t before = 0ul, left = s.ties;
	for (uint i = 0u; i < me; i++) {
		uint64_t n = min(left, uint64_t(laneTies[i]));
		left -= n;
		before += laneSum[i] + n * s.least;
	}
	uint64_t mine = sum + min(left, uint64_t(ties)) * s.least;
	if (before <= r && r < before + mine) {
		for (uint i = from; i < to; i++) {
			uint64_t w = weightOf(i);
			if (w == 0ul || w < s.least) continue;
			if (w == s.least) {
				if (left == 0ul) continue;
				left--;
			}
			before += w;
			if (before > r) {
				drawn = i;
				break;
			}
		}
	}
	barrier();
	return drawn;
}

// logprob is -∞ where infinite logits leave no number.
float logprob(float l, float peak, float logSum) {
	return quiet(quiet(l) - peak - logSum);
}

uint rankOf(Floats logits, uint id) {
	float own = quiet(logits.v[id]);
	uint n = 0u;
	for (uint i = gl_LocalInvocationIndex; i < p.vocab; i += THREADS) n += quiet(logits.v[i]) > own ? 1u : 0u;
	return groupCount(n) + 1u;
}

// adjust writes the row's logits with penalties and biases to the work space.
void adjust(Floats logits, uint slot, uint position) {
	uint me = gl_LocalInvocationIndex;
	Words s = Words(p.slots);
	uint params = p.slotParams + slot * PARAMS;
	float repetition = uintBitsToFloat(s.v[params + 4u]), presence = uintBitsToFloat(s.v[params + 5u]), frequency = uintBitsToFloat(s.v[params + 6u]);
	bool penalized = repetition != 1.0 || presence != 0.0 || frequency != 0.0;
	for (uint i = me; i < p.vocab; i += THREADS) {
		float a = logits.v[i];
		if (penalized) {
			uint c = slot * p.vocab + i;
			uint count = (s.v[p.slotCounts + c / 2u] >> (16u * (c & 1u))) & 0xffffu;
			bool prompted = ((s.v[p.slotPrompt + slot * p.promptWords + i / 32u] >> (i % 32u)) & 1u) != 0u;
			if (count > 0u || prompted) {
				precise float times = a * repetition;
				a = a > 0.0 ? divide(a, repetition) : times;
			}
			precise float f = frequency * float(count);
			precise float less = a - f;
			if (count > 0u) less = less - presence;
			a = less;
		}
		row.v[i] = a;
	}
	memoryBarrierBuffer();
	barrier();
	uint n = s.v[p.slotBiases + slot];
	if (me == 0u) { // in order
		for (uint i = 0u; i < n; i++) {
			uint at = p.slotBias + (slot * p.mostBias + i) * 3u, id = s.v[at];
			if (int(position) < int(s.v[at + 2u]) && id < p.vocab) {
				precise float a = row.v[id] + uintBitsToFloat(s.v[at + 1u]);
				row.v[id] = a;
			}
		}
	}
	memoryBarrierBuffer();
	barrier();
}

// pick draws a token of the adjusted row.
uint pick(uint slot, uint position) {
	uint me = gl_LocalInvocationIndex;
	Words s = Words(p.slots);
	uint params = p.slotParams + slot * PARAMS;
	float temperature = uintBitsToFloat(s.v[params]);
	float best = -INF, peak = -INF;
	uint bestAt = 0xffffffffu;
	for (uint i = me; i < p.vocab; i += THREADS) {
		float a = quiet(row.v[i]);
		if (a > best || bestAt == 0xffffffffu) {
			best = a;
			bestAt = i;
		}
		if (temperature != 0.0) {
			float b = temperature == 1.0 ? a : quiet(divide(a, temperature));
			row.v[i] = b;
			peak = max(peak, b);
		}
	}
	uint greedy = likeliest(best, bestAt);
	if (temperature == 0.0) return greedy;
	peak = groupMax(peak);
	if (me == 0u) {
		rowPeak = peak;
		rowLeast = minPWeight(uintBitsToFloat(s.v[params + 3u]));
	}
	memoryBarrierBuffer();
	barrier();
	uint n = 0u;
	uint64_t sum = 0ul;
	for (uint i = me; i < p.vocab; i += THREADS) {
		uint64_t w = weightOf(i);
		if (w != 0ul) n++;
		sum += w;
	}
	n = groupCount(n);
	sum = groupSum64(sum);
	if (sum == 0ul) return greedy; // the largest is infinite
	Stay stay = Stay(0ul, 0ul, sum);
	int k = int(s.v[params + 1u]);
	if (k > 0 && uint(k) < n) stay = find(true, uint64_t(k));
	uint64_t goal = topPSum(uintBitsToFloat(s.v[params + 2u]), stay.sum);
	if (goal < stay.sum) stay = find(false, max(goal, 1ul));
	uint64_t high, low;
	product(drawBits(s.v[params + 7u], s.v[params + 8u], s.v[params + 9u], position), stay.sum, high, low);
	return draw(stay, high);
}

void main() {
	uint i = gl_WorkGroupID.x, me = gl_LocalInvocationIndex;
	if (i >= live(p.count, p.capacity)) return;
	Words h = Words(p.head + 32ul * uint64_t(i)), result = Words(p.out_ + 4ul * uint64_t(OUT * i));
	uint slot = h.v[1], position = h.v[2], ask = h.v[4], top = min(h.v[5], TOP);
	bool wanted = h.v[3] != 0u;
	Floats logits = Floats(p.logits + 4ul * uint64_t(i) * uint64_t(p.vocab));
	row = SharedFloats(p.work + 4ul * uint64_t(i) * uint64_t(p.vocab));
	if (me == 0u) {
		result.v[0] = 0xffffffffu;
		for (uint j = 1u; j < OUT; j++) result.v[j] = 0u;
	}

	float peak = -INF;
	for (uint j = me; j < p.vocab; j += THREADS) peak = max(peak, quiet(logits.v[j]));
	peak = groupMax(peak);
	// Kahan's sum: hundreds of terms in a row would lose a digit otherwise.
	precise float sum = 0.0, lost = 0.0;
	for (uint j = me; j < p.vocab; j += THREADS) {
		precise float term = exponential(quiet(logits.v[j]) - peak) - lost;
		precise float next = sum + term;
		lost = (next - sum) - term;
		sum = next;
	}
	float logSum = logarithm(groupSum(sum));

	if (wanted) {
		adjust(logits, slot, position);
		uint id = pick(slot, position);
		uint rank = top > 0u ? rankOf(logits, id) : 0u;
		if (me == 0u) {
			result.v[0] = id;
			result.v[1] = floatBitsToUint(logprob(logits.v[id], peak, logSum));
			result.v[2] = rank;
			Words(p.slots).v[p.slotLast + slot] = id;
		}
	}
	if (ask < p.vocab) {
		uint rank = rankOf(logits, ask);
		if (me == 0u) {
			result.v[3] = floatBitsToUint(logprob(logits.v[ask], peak, logSum));
			result.v[4] = rank;
		}
	}
	float above = INF;
	uint aboveID = 0xffffffffu; // none yet
	for (uint n = 0u; n < min(top, p.vocab); n++) {
		float best = -INF;
		uint id = 0xffffffffu;
		for (uint j = me; j < p.vocab; j += THREADS) {
			float l = quiet(logits.v[j]);
			bool below = aboveID == 0xffffffffu || l < above || l == above && j > aboveID;
			if (below && (id == 0xffffffffu || l > best)) {
				best = l;
				id = j;
			}
		}
		id = likeliest(best, id);
		above = quiet(logits.v[id]);
		aboveID = id;
		if (me == 0u) {
			result.v[8u + n] = id;
			result.v[8u + TOP + n] = floatBitsToUint(logprob(above, peak, logSum));
		}
	}
}
