// Command loads runs the operations whose instructions are counted, on one thread, and calls mark before and after each,
// so that a simulator can tell them apart. It prints their names, in order.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ullm/ullm/backends/cpu"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

func main() {
	d, err := cpu.Open(cpu.Options{Threads: 1, Level: cpu.AVX2})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range tensortest.Loads(d.Info()) {
		if err := run(d, l); err != nil {
			log.Fatalf("%s: %v", l.Name, err)
		}
		fmt.Println(l.Name)
	}
	if err := d.Close(); err != nil {
		log.Fatal(err)
	}
}

// run runs a load once to warm it up, and once between marks.
func run(d tensor.Device, l tensortest.Load) (err error) {
	r, err := tensortest.NewRig(d, l.Setup, false, l.Graph)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	out := make([]byte, l.Graph.OutputBytes())
	for i := range 2 {
		if i > 0 {
			mark()
		}
		step, err := r.Programs[0].Start(l.In)
		if err != nil {
			return err
		}
		if err := step.Wait(context.Background(), out); err != nil {
			return err
		}
	}
	mark()
	return nil
}

// mark is where the simulator starts a new count.
//
//go:noinline
func mark() {}
