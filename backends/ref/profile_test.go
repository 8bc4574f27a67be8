package ref_test

import (
	"testing"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestProfile(t *testing.T) {
	tensortest.Profiled(t, func(t testing.TB, p tensor.Profile) tensor.Device {
		d, err := ref.Open(ref.Options{Profile: p})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
