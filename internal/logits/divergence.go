package logits

import "math"

// Divergence is the Kullback-Leibler divergence of the distribution that the logits have from the one that want are the
// logits or logarithms of: Σ p·(ln p − ln q), in float64.
func Divergence(want, have []float32) float64 {
	p, q := normalizer(want), normalizer(have)
	sum := 0.0
	for i, w := range want {
		lnP := float64(w) - p
		sum += math.Exp(lnP) * (lnP - (float64(have[i]) - q))
	}
	return max(sum, 0) // rounding may leave less where the distributions are the same
}

// normalizer is ln Σ eˣ.
func normalizer(x []float32) float64 {
	most := math.Inf(-1)
	for _, v := range x {
		most = max(most, float64(v))
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}
