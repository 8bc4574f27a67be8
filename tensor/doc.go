// Package tensor is ullm's engine room: a static graph of coarse operations, and the interface through which a backend
// plans, compiles and replays it.
//
// A [Graph] is built once by a model (or by anyone: see the examples). A [Device] plans it without allocating anything,
// then compiles it against weights, states and an arena into a [Program], an immutable thing that is replayed with
// small blocks of input bytes. Nothing is decided, hashed or looked up on the way.
//
// Fusion is named in the set of operations and never discovered: the graph says LinearSwiGLU where a kernel should do
// both. Each operation stands in a file op_*.go with its meaning, shapes and formula; package backends/ref is its
// executable definition.
//
// The package imports the standard library only.
package tensor
