package tensortest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, fault tensortest.Fault) tensor.Device {
	d, err := ref.Open(ref.Options{Poison: true, Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReference(t *testing.T) { tensortest.Run(t, open, tensortest.Config{}) }

func BenchmarkReference(b *testing.B) { tensortest.Bench(b, open) }
