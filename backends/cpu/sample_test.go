package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ullm/ullm/backends/cpu/internal/simd"
	"github.com/ullm/ullm/tensor"
)

// sampleBench samples single rows with a pool of threads.
type sampleBench struct {
	pool     *pool
	samplers []*sampler
	slots    *slots
}

func newSampleBench(t testing.TB, level simd.Level, threads, vocab int) *sampleBench {
	k, err := simd.For(level)
	if err != nil {
		t.Fatal(err)
	}
	p := newPool(k, threads, nil)
	t.Cleanup(p.close)
	for _, t := range p.threads {
		t.local = make([]byte, 4*vocab)
	}
	spec := tensor.SlotSpec{Slots: 1, MaxPages: 1, Vocab: vocab, Bias: 4}
	return &sampleBench{p, newSamplers(p, vocab), newSlots(make([]byte, spec.Layout().Bytes), spec)}
}

// draw samples a row: alone on a thread, or by all of them together.
func (b *sampleBench) draw(logits []float32, p tensor.Sampling, together bool) tensor.Sampled {
	b.slots.setSampling(0, p)
	s := b.samplers[len(b.samplers)-1]
	if together {
		s.together(&run{})
	} else {
		s.alone(b.pool.threads[len(b.samplers)-1])
	}
	s.work = make([]float32, len(logits))
	return s.row(logits, b.slots, tensor.HeadRow{Sample: true, Ask: -1, Position: 7})
}

// defined is the token that the definition of Sample gives, for a positive temperature and no penalties: by sorting.
func defined(logits []float32, p tensor.Sampling) int32 {
	peak := float32(math.Inf(-1))
	for _, l := range logits {
		if b := l / p.Temperature; b > peak {
			peak = b
		}
	}
	var stay []weighed
	for i, l := range logits {
		if w := tensor.SampleWeight(l/p.Temperature - peak); w > 0 && w >= tensor.MinPWeight(p.MinP) {
			stay = append(stay, weighed{w, int32(i)})
		}
	}
	slices.SortFunc(stay, before)
	if p.TopK > 0 && int(p.TopK) < len(stay) {
		stay = stay[:p.TopK]
	}
	target, running := tensor.TopPSum(p.TopP, sum(stay)), uint64(0)
	for i, t := range stay {
		if running += t.weight; running >= target {
			stay = stay[:i+1]
			break
		}
	}
	slices.SortFunc(stay, func(x, y weighed) int { return int(x.id - y.id) })
	r := tensor.Draw(p.Seed, p.Choice, 7, sum(stay))
	for _, t := range stay {
		if r < t.weight {
			return t.id
		}
		r -= t.weight
	}
	return -1
}

// shapes of rows: as models are sure, unsure, or as no model is.
var sampleShapes = map[string]func(r *rand.Rand, i int) float32{
	"flat":   func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 0.7) },
	"unsure": func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 2.5) },
	"wide":   func(r *rand.Rand, _ int) float32 { return float32(r.NormFloat64() * 9) },
	"equal":  func(*rand.Rand, int) float32 { return 1.5 },
	"steps":  func(r *rand.Rand, _ int) float32 { return float32(r.IntN(3)) },
	"sure": func(r *rand.Rand, i int) float32 {
		return float32(r.NormFloat64()) + []float32{0, 25}[btoi(i%30011 == 77)]
	},
	"comb":      func(r *rand.Rand, _ int) float32 { return -0.4 * float32(r.IntN(60)) },
	"clustered": func(r *rand.Rand, i int) float32 { return float32(r.NormFloat64()) + []float32{0, 14}[btoi(i/40 == 9)] },
	"tail":      func(r *rand.Rand, i int) float32 { return float32(-2 * math.Log(float64(1+i))) },
	"edge":      func(r *rand.Rand, i int) float32 { return []float32{-27 - 2*r.Float32(), 0}[btoi(i == 900)] },
	"holes": func(r *rand.Rand, i int) float32 {
		return []float32{float32(r.NormFloat64()), float32(math.NaN()), float32(math.Inf(-1))}[r.IntN(3)]
	},
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSampleDefinition: whatever the distribution and however many threads compute a row, the token drawn is the
// definition's.
func TestSampleDefinition(t *testing.T) {
	for _, level := range simd.Levels() {
		for _, vocab := range []int{5, 300, 5001, 20000} {
			if vocab > 10000 && level != simd.Best() {
				continue // for its time
			}
			one, three := newSampleBench(t, level, 1, vocab), newSampleBench(t, level, 3, vocab)
			for name, shape := range sampleShapes {
				r := rand.New(rand.NewPCG(uint64(vocab), 1))
				logits := make([]float32, vocab)
				for i := range logits {
					logits[i] = shape(r, i)
				}
				for _, p := range []tensor.Sampling{{TopP: 1}, {TopK: 1, TopP: 1}, {TopK: 20, TopP: 0.95}, {TopK: 250, TopP: 0.3}, {TopK: 4000, TopP: 1},
					{TopP: 0}, {TopP: 0.1}, {TopP: 0.5}, {TopP: 0.95}, {TopP: 0.999}, {MinP: 0.05, TopP: 1}, {MinP: 1e-6, TopP: 0.9}, {MinP: 1, TopP: 1}} {
					for _, p.Temperature = range []float32{1, 0.6} {
						p.Repetition = 1
						p.Seed = r.Uint64()
						want := defined(logits, p)
						for how, have := range []int32{one.draw(logits, p, false).ID, three.draw(logits, p, false).ID, three.draw(logits, p, true).ID} {
							if have != want {
								t.Errorf("%s, %d tokens, %s, %+v, way %d: drew %d, want %d", level, vocab, name, p, how, have, want)
							}
						}
					}
				}
			}
		}
	}
}

// TestSampleTemperatures: top_p holds where the temperature's inverse does not fit a float32, or nearly so.
func TestSampleTemperatures(t *testing.T) {
	const vocab = 20000
	b := newSampleBench(t, simd.Best(), 1, vocab)
	for _, temperature := range []float32{1e-43, 1e-40, 3e-39, 1e-37, 1e-20, 1e20, 3e38} {
		for name, shape := range sampleShapes {
			r := rand.New(rand.NewPCG(3, 3))
			logits := make([]float32, vocab)
			for i := range logits {
				logits[i] = shape(r, i) * temperature
				if math.Abs(float64(logits[i])) > math.MaxFloat32 {
					logits[i] = 0
				}
			}
			p := tensor.Sampling{Temperature: temperature, TopP: 0.9, Repetition: 1, Seed: r.Uint64()}
			if have, want := b.draw(logits, p, false).ID, defined(logits, p); have != want {
				t.Errorf("temperature %g, %s: drew %d, want %d", temperature, name, have, want)
			}
		}
	}
}

// TestSampleTogether: threads that share a row report the same as one, to the bit.
func TestSampleTogether(t *testing.T) {
	const vocab = 30011
	r := rand.New(rand.NewPCG(4, 4))
	logits := make([]float32, vocab)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	for _, level := range simd.Levels() {
		one, three := newSampleBench(t, level, 1, vocab), newSampleBench(t, level, 3, vocab)
		for _, b := range []*sampleBench{one, three} {
			for id := range 500 {
				b.slots.note(0, int32(id*17), id%2 == 0)
			}
		}
		for _, p := range []tensor.Sampling{{}, {Temperature: 1, TopP: 0.9}, {Temperature: 0.7, TopP: 1, Presence: 0.5, Frequency: 0.2}} {
			p.Repetition = 1.2
			if a, b := one.draw(logits, p, false), three.draw(logits, p, true); a != b {
				t.Errorf("%s: one thread reports %+v, three %+v", level, a, b)
			}
		}
	}
}

// TestTopPGuess: what the guesses are for: the list that has the last token that stays comes soon and is short.
func TestTopPGuess(t *testing.T) {
	const vocab = 151936
	b := newSampleBench(t, simd.Best(), 1, vocab)
	for _, name := range []string{"flat", "unsure", "wide", "sure", "tail"} {
		r := rand.New(rand.NewPCG(9, 9))
		logits := make([]float32, vocab)
		for i := range logits {
			logits[i] = sampleShapes[name](r, i)
		}
		for _, p := range []float32{0.5, 0.9, 0.95} {
			lists := 0
			s := b.samplers[0]
			s.markPass = func(t *thread, r *run, lo, hi int) { lists++; s.markBlocks(t, r, lo, hi) }
			b.draw(logits, tensor.Sampling{Temperature: 0.6, TopP: p, Repetition: 1}, false)
			if lists > 3 || len(s.list) > vocab/64 {
				t.Errorf("%s, top_p %g: %d lists, %d tokens in the last", name, p, lists, len(s.list))
			}
		}
	}
}

func BenchmarkSample(b *testing.B) {
	const vocab, rows = 151936, 16
	for _, shape := range []string{"flat", "unsure", "wide", "sure"} {
		bench := newSampleBench(b, simd.Best(), 1, vocab)
		var logits [rows][]float32
		for i := range logits {
			r := rand.New(rand.NewPCG(9, uint64(i)))
			logits[i] = make([]float32, vocab)
			for j := range logits[i] {
				logits[i][j] = sampleShapes[shape](r, j)
			}
		}
		for id := range 400 {
			bench.slots.note(0, int32(id*317), id%2 == 0)
		}
		for _, c := range []struct {
			name string
			p    tensor.Sampling
			top  int32
		}{{"greedy", tensor.Sampling{}, 0}, {"temperature", tensor.Sampling{Temperature: 1, TopP: 1}, 0}, {"cool", tensor.Sampling{Temperature: 0.6, TopP: 1}, 0},
			{"top_k", tensor.Sampling{Temperature: 0.6, TopK: 20, TopP: 0.95}, 0}, {"top_p", tensor.Sampling{Temperature: 0.6, TopP: 0.95}, 0},
			{"min_p", tensor.Sampling{Temperature: 1, MinP: 0.05, TopP: 1}, 0}, {"penalties", tensor.Sampling{Presence: 0.5, Frequency: 0.1}, 0},
			{"logprobs", tensor.Sampling{Temperature: 1, TopP: 1}, 5}} {
			c.p.Repetition = 1
			b.Run(fmt.Sprintf("%s/%s", shape, c.name), func(b *testing.B) {
				bench.slots.setSampling(0, c.p)
				s := bench.samplers[0]
				s.alone(bench.pool.threads[0])
				s.work = view[float32](bench.pool.threads[0].local, 0, vocab)
				for i := range b.N {
					s.row(logits[i%rows], bench.slots, tensor.HeadRow{Sample: true, Ask: -1, Position: int32(i), Top: c.top})
				}
			})
		}
	}
}
