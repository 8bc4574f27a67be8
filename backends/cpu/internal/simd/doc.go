// Package simd holds the CPU backend's kernels: tiles of matrix multiplication over weights packed in panels, and the
// elementwise operations between them.
//
// A panel is 16 consecutive output rows of a weight, stored so that one step along k is one vector load. A tile is a few
// panels times a few tokens; each of its outputs has an accumulator lane of its own, which sums over k in one fixed
// order. So an output's bits depend on its own row and token alone: never on the tile's geometry, on the other tokens, or
// on how panels are shared out among threads. That holds within a [Level]; different levels round differently.
//
// The assembly is written by the generator in gen (go generate) and committed; a test compares hashes, so that nobody
// needs the generator to build or to test.
package simd
