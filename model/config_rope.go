package model

import (
	"fmt"
	"math"
)

// RopeType names a way of stretching rotary frequencies, as transformers' rope_type does.
type RopeType string

// The supported ways. transformers knows more; they are refused by name. "dynamic" is among those because its
// frequencies depend on the length of the sequence, which contradicts cached keys.
const (
	RopeDefault RopeType = ""
	RopeLinear  RopeType = "linear"
	RopeYaRN    RopeType = "yarn"
	RopeLlama3  RopeType = "llama3"
)

// RopeScaling says how the rotary frequencies differ from theta^(-2i/HeadDim). The zero value: they do not.
type RopeScaling struct {
	Type   RopeType
	Factor float64 // how many times longer than the original context; at least 1

	// YaRN and llama3: the context of the pretrained model.
	OriginalMaxPositions int

	// YaRN. Zero means the default.
	AttentionFactor      float64 // of cos and sin; default: from MScale and MScaleAllDim if both, else 0.1·ln(Factor)+1
	BetaFast, BetaSlow   float64 // rotations over the original context above which a pair is kept, below which it is interpolated; 32, 1
	MScale, MScaleAllDim float64
	NoTruncate           bool // do not round the borders of the ramp to whole pairs

	// llama3.
	LowFreqFactor, HighFreqFactor float64
}

func (r RopeScaling) validate() error {
	switch r.Type {
	case RopeDefault:
		return nil
	case RopeLinear, RopeYaRN, RopeLlama3:
	default:
		return unsupportedRope(string(r.Type))
	}
	if !(r.Factor >= 1 && r.Factor <= 1e6) {
		return fmt.Errorf("model: rope scaling factor is %g; it must be from 1 to 1e6", r.Factor)
	}
	if r.Type == RopeLinear {
		return nil
	}
	if r.OriginalMaxPositions < 1 || r.OriginalMaxPositions > maxPositions {
		return fmt.Errorf("model: rope scaling's original positions are %d; they must be from 1 to %d", r.OriginalMaxPositions, maxPositions)
	}
	for _, v := range []struct {
		name  string
		value float64
	}{
		{"attention factor", r.AttentionFactor}, {"beta_fast", r.BetaFast}, {"beta_slow", r.BetaSlow},
		{"mscale", r.MScale}, {"mscale_all_dim", r.MScaleAllDim},
		{"low frequency factor", r.LowFreqFactor}, {"high frequency factor", r.HighFreqFactor},
	} {
		if !(v.value >= 0 && v.value <= 1e6) {
			return fmt.Errorf("model: rope scaling's %s is %g; it must be from 0 to 1e6", v.name, v.value)
		}
	}
	if r.Type == RopeLlama3 && !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor) {
		return fmt.Errorf("model: rope scaling's high frequency factor %g must be above its low one %g, and both above 0",
			r.HighFreqFactor, r.LowFreqFactor)
	}
	return nil
}

func unsupportedRope(name string) error {
	return fmt.Errorf("model: rope type %q is not supported; supported: default, linear, yarn, llama3", name)
}

// InvFreq returns the HeadDim/2 rotary frequencies in radians per position (pair i turns by position·inv[i]; it is
// made of the values i and i+HeadDim/2 of a head) and the factor that multiplies every cosine and sine.
//
// The formulas are those of transformers 5: Qwen3RotaryEmbedding.compute_default_rope_parameters and
// ROPE_INIT_FUNCTIONS in modeling_rope_utils.py. transformers computes in float32; each step is rounded to float32
// here too, because at position 100,000 the last bit of a frequency is worth a hundredth of a radian.
// So every inv[i] is a float32 value.
func (c Config) InvFreq() (inv []float64, attentionFactor float64) {
	half := c.HeadDim / 2
	inv = make([]float64, half)
	attentionFactor = 1
	if c.Rope.Type == RopeYaRN {
		attentionFactor = c.Rope.yarnAttentionFactor()
	}
	low, high := c.yarnBorders()
	for i := range half {
		period := float32(math.Pow(float64(float32(c.RopeTheta)), float64(float32(2*i)/float32(c.HeadDim))))
		f := 1 / period
		switch c.Rope.Type {
		case RopeLinear:
			f /= float32(c.Rope.Factor)
		case RopeYaRN:
			f = yarnFrequency(i, period, float32(c.Rope.Factor), low, high)
		case RopeLlama3:
			f = c.Rope.llama3Frequency(f)
		}
		inv[i] = float64(f)
	}
	return inv, attentionFactor
}

// yarnAttentionFactor is the temperature of attention, applied to cos and sin (YaRN, equation 22).
func (r RopeScaling) yarnAttentionFactor() float64 {
	mscale := func(m float64) float64 {
		if r.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(r.Factor) + 1
	}
	switch {
	case r.AttentionFactor != 0:
		return r.AttentionFactor
	case r.MScale != 0 && r.MScaleAllDim != 0:
		return mscale(r.MScale) / mscale(r.MScaleAllDim)
	}
	return mscale(1)
}

// yarnBorders are the pairs between which YaRN ramps from the original to the interpolated frequencies.
func (c Config) yarnBorders() (low, high float64) {
	if c.Rope.Type != RopeYaRN {
		return 0, 0
	}
	fast, slow := c.Rope.BetaFast, c.Rope.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	dim := float64(c.HeadDim)
	// The pair that makes the given number of rotations over the original context.
	pair := func(rotations float64) float64 {
		return dim * math.Log(float64(c.Rope.OriginalMaxPositions)/(rotations*2*math.Pi)) / (2 * math.Log(c.RopeTheta))
	}
	low, high = pair(fast), pair(slow)
	if !c.Rope.NoTruncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, dim-1)
	if low == high {
		high += 0.001 // as transformers: no division by zero
	}
	return low, high
}

func yarnFrequency(i int, period, factor float32, low, high float64) float32 {
	extrapolated := 1 / period
	interpolated := 1 / float32(factor*period)
	ramp := float32(float32(i)-float32(low)) / float32(high-low)
	keep := 1 - min(max(ramp, 0), 1)
	// The conversions keep the compiler from fusing the products into the sum.
	return float32(interpolated*(1-keep)) + float32(extrapolated*keep)
}

func (r RopeScaling) llama3Frequency(f float32) float32 {
	original := float64(r.OriginalMaxPositions)
	wavelength := float32(2*math.Pi) / f
	factor := float32(r.Factor)
	switch {
	case wavelength > float32(original/r.LowFreqFactor):
		return f / factor
	case wavelength < float32(original/r.HighFreqFactor):
		return f
	}
	smooth := float32(float32(original)/wavelength-float32(r.LowFreqFactor)) / float32(r.HighFreqFactor-r.LowFreqFactor)
	return float32(float32((1-smooth)*f)/factor) + float32(smooth*f)
}
