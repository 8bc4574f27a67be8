package tensor_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"

	"github.com/ullm/ullm/backends/ref"
	"github.com/ullm/ullm/tensor"
	"github.com/ullm/ullm/tensor/tensortest"
)

// A graph is built once, planned and compiled by a device, and then run with small blocks of bytes.
func Example() {
	ctx := context.Background()
	dev, err := ref.Open(ref.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()

	// Mathematics first: y = silu(x·gate) · (x·up). Mistakes are kept until Plan asks.
	w := tensortest.SourceOf(tensor.WeightSpec{
		Name: "gate_up", Format: tensor.F16, Cols: 2,
		Parts:   []tensor.Part{{Name: "gate", Rows: 1}, {Name: "up", Rows: 1}},
		Readers: []tensor.Op{tensor.OpLinearSwiGLU},
	}, []float32{1, 0, 0, 2})
	g := tensor.NewGraph("feed forward")
	x := g.Input(0, tensor.F32, tensor.Static(2), 2)
	y := g.Output(g.LinearSwiGLU(x, g.Weight(w.Spec)))

	// Then memory: a plan says what will be needed before anything is allocated.
	plan, err := dev.Plan(g)
	if err != nil {
		log.Fatal(err)
	}
	weight, err := dev.Upload(ctx, w.Spec, w)
	if err != nil {
		log.Fatal(err)
	}
	defer weight.Close()
	arena, err := dev.NewArena(plan.Scratch())
	if err != nil {
		log.Fatal(err)
	}
	defer arena.Close()
	program, err := dev.Compile(plan, tensor.Bindings{Weights: map[string]tensor.Weight{"gate_up": weight}, Arena: arena})
	if err != nil {
		log.Fatal(err)
	}
	defer program.Close()

	// And now as often as one likes: bytes in, bytes out.
	in := make([]byte, g.InputBytes())
	for i, v := range []float32{0, 1, 10, 3} {
		binary.LittleEndian.PutUint32(in[4*i:], math.Float32bits(v))
	}
	step, err := program.Start(in)
	if err != nil {
		log.Fatal(err)
	}
	out := make([]byte, g.OutputBytes())
	if err := step.Wait(ctx, out); err != nil {
		log.Fatal(err)
	}
	for row := range 2 {
		fmt.Printf("%.3f\n", math.Float32frombits(binary.LittleEndian.Uint32(out[y+4*row:])))
	}
	fmt.Println(dev.Stats())
	// Output:
	// 0.000
	// 59.997
	// weights 8 bytes in 1 buffers, scratch 64 bytes in 1 buffers, program 32 bytes in 1 buffers
}

// A graph prints as a list of operations with their shapes and the bytes that they move.
func ExampleGraph() {
	g := tensor.NewGraph("residual")
	rows := tensor.Rows{Cap: 8, Count: 0} // the step block's first word says how many of the eight rows are live
	x, delta := g.Input(4, tensor.F32, rows, 64), g.Input(4+8*256, tensor.F32, rows, 64)
	sum, normed := g.AddRMSNorm(x, delta, g.Weight(tensortest.Spec("norm", tensor.F32, 64, 1)), 1e-6)
	g.Output(g.Linear(normed, 0, g.Weight(tensortest.Spec("proj", tensor.Q8_0, 64, 16))))
	g.Output(sum)
	fmt.Print(g)
	// Output:
	// graph residual: 2 operations, in 4100 bytes, out 2560 bytes
	//   0 %4[≤8×64 f32], %5[≤8×64 f32] = AddRMSNorm(in[4], in[2052], norm:f32)  reads 4352 writes 4096
	//   1 %7[≤8×16 f32] = Linear(%5, proj:q8_0)  reads 3136 writes 512
}

// The first mistake is kept, so that a model reads as mathematics.
func ExampleGraph_Err() {
	g := tensor.NewGraph("mistaken")
	x := g.Input(0, tensor.F32, tensor.Static(1), 64)
	y := g.Linear(x, 0, g.Weight(tensortest.Spec("proj", tensor.BF16, 32, 16)))
	g.Output(g.SwiGLU(y))
	fmt.Println(g.Err())
	// Output:
	// tensor: graph mistaken: Linear: weight proj has 32 columns, its operand 64
}
