// What eight invocations that follow each other do together. Steps are written out: RADV leaves a loop that halves its counter a
// loop, and then keeps arrays that are indexed around it in memory. Shuffles by a constant are moves on most hardware; those
// by a variable may be a loop over the subgroup.

// clusterSum is the sum over a cluster, as a tree, and clusterMax its maximum.
float clusterSum(float x) {
	precise float a = x + subgroupShuffleXor(x, 4);
	precise float b = a + subgroupShuffleXor(a, 2);
	precise float c = b + subgroupShuffleXor(b, 1);
	return c;
}

float clusterMax(float x) {
	x = max(x, subgroupShuffleXor(x, 4));
	x = max(x, subgroupShuffleXor(x, 2));
	return max(x, subgroupShuffleXor(x, 1));
}

// clusterAll are the values of a cluster's invocations, in their order; lane is the caller's place among them.
void clusterAll(float x, uint lane, out float all[8]) {
	bool b1 = (lane & 1u) != 0u, b2 = (lane & 2u) != 0u, b4 = (lane & 4u) != 0u;
	float y = subgroupShuffleXor(x, 1);
	float two[2] = float[2](b1 ? y : x, b1 ? x : y), fours[4];
	[[unroll]] for (uint i = 0; i < 2; i++) {
		y = subgroupShuffleXor(two[i], 2);
		fours[i] = b2 ? y : two[i];
		fours[i + 2] = b2 ? two[i] : y;
	}
	[[unroll]] for (uint i = 0; i < 4; i++) {
		y = subgroupShuffleXor(fours[i], 4);
		all[i] = b4 ? y : fours[i];
		all[i + 4] = b4 ? fours[i] : y;
	}
}
