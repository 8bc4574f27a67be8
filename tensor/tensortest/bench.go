package tensortest

import (
	"context"
	"fmt"
	"testing"

	"github.com/ullm/ullm/tensor"
)

// Bench times the operations that a model's time goes to, in the shapes of a model with a hidden size of 1,024, as Go
// benchmarks: one row and many, in every format. It reports products per second (GMAC/s) and the bytes of the weight or
// the cache that pass (MB/s).
func Bench(b *testing.B, open Open) {
	dut := open(b, nil)
	defer func() {
		if err := dut.Close(); err != nil {
			b.Error(err)
		}
	}()
	i := dut.Info()
	for _, f := range i.Formats {
		for _, rows := range []int{1, 8, 64, 512} {
			bench(b, dut, fmt.Sprintf("Linear/%s/%d", f, rows), func() *opCase { return linearCase(f, 1024, rows, rows, false, 3072) })
		}
		for _, rows := range []int{1, 512} {
			bench(b, dut, fmt.Sprintf("LinearSwiGLU/%s/%d", f, rows), func() *opCase { return swigluCase(f, 1024, rows, rows, 3072) })
		}
	}
	shape := [2]int{2, 8} // Qwen3-0.6B's
	for _, f := range i.KVFormats {
		for name, spans := range map[string][]span{"1x1at1023": {{1023, 1}}, "4x1at1023": {{1023, 1}, {1023, 1}, {1023, 1}, {1023, 1}}, "256at256": {{256, 256}}} {
			bench(b, dut, fmt.Sprintf("Attention/%s/%s", f, name), func() *opCase { return attentionCase(f, shape, 128, spans, 1) })
		}
		bench(b, dut, fmt.Sprintf("QKNormRopeStore/%s/256", f), func() *opCase { return ropeCase(f, shape, 128, []span{{0, 256}}) })
	}
	for _, rows := range []int{1, 512} {
		bench(b, dut, fmt.Sprintf("AddRMSNorm/%d", rows), func() *opCase { return normCase(1024, rows, true, 1) })
	}
	bench(b, dut, "Sample/151936x8", func() *opCase { return sampleCase(151936, 8, "smooth", 1) })
}

func bench(b *testing.B, d tensor.Device, name string, build func() *opCase) {
	b.Run(name, func(b *testing.B) {
		c := build()
		r, err := NewRig(d, c.setup, false, c.graph)
		if err != nil {
			b.Skip(err)
		}
		defer closeRig(b, r)
		bytes := int64(0)
		for _, w := range c.setup.Weights {
			bytes += w.Spec.Bytes()
		}
		for _, s := range c.setup.States {
			if s.Spec.KV != nil {
				bytes += s.Spec.Bytes()
			}
		}
		b.SetBytes(bytes)
		out := make([]byte, c.graph.OutputBytes())
		for b.Loop() {
			step, err := r.Programs[0].Start(c.in)
			if err != nil {
				b.Fatal(err)
			}
			if err := step.Wait(context.Background(), out); err != nil {
				b.Fatal(err)
			}
		}
		if c.macs > 0 {
			b.ReportMetric(float64(c.macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		}
	})
}
