// Sums and maxima over a workgroup of THREADS invocations, in a fixed order: the same bits whatever the subgroup size.
shared float reduceMemory[THREADS];

float groupSum(float x) {
	uint i = gl_LocalInvocationIndex;
	barrier();
	reduceMemory[i] = x;
	for (uint n = THREADS / 2; n > 0; n /= 2) {
		barrier();
		if (i < n) {
			precise float s = reduceMemory[i] + reduceMemory[i + n];
			reduceMemory[i] = s;
		}
	}
	barrier();
	return reduceMemory[0];
}

float groupMax(float x) {
	uint i = gl_LocalInvocationIndex;
	barrier();
	reduceMemory[i] = x;
	for (uint n = THREADS / 2; n > 0; n /= 2) {
		barrier();
		if (i < n) reduceMemory[i] = max(reduceMemory[i], reduceMemory[i + n]);
	}
	barrier();
	return reduceMemory[0];
}
