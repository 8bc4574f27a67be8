package ullm

import (
	"testing"

	"github.com/ullm/ullm/model"
	"github.com/ullm/ullm/tensor"
)

func TestHostCache(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		size    string
		options model.Options
		want    int64
	}{
		{"0.6b", model.Options{}, 40976 * 2 * 28 * 8 * 128 * 2}, // one sequence of 40,960 tokens is 4.4 GiB of BF16
		{"0.6b", model.Options{KV: tensor.Q8_0}, 4 * gib},
		{"0.6b", model.Options{Context: 4096}, 4 * gib},
		{"32b", model.Options{}, 40976 * 2 * 64 * 8 * 128 * 2},
		{"32b", model.Options{KV: tensor.F32, Context: 32768}, 32784 * 2 * 64 * 8 * 128 * 4},
	} {
		config, ok := model.Published(c.size)
		if !ok {
			t.Fatal(c.size)
		}
		if have := hostCache(config, c.options, tensor.BF16); have != c.want {
			t.Errorf("%s, %+v: %d bytes, want %d", c.size, c.options, have, c.want)
		}
	}
}
