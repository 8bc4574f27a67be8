package cpu_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestConformance runs every path that the machine has, at more threads than it may have cores.
func TestConformance(t *testing.T) {
	for _, level := range cpu.Levels() {
		t.Run(level.String(), func(t *testing.T) {
			tensortest.Run(t, func(t testing.TB, fault tensortest.Fault) tensor.Device {
				d, err := cpu.Open(cpu.Options{Level: level, Threads: 3, Guard: true, Fault: fault})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}, tensortest.Config{Guards: cpu.CheckGuards})
		})
	}
}
