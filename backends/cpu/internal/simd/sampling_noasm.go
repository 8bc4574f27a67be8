//go:build !amd64 || noasm

package simd

// Levels lists no level that reaches these where they have not been written.
const unwritten = "simd: sampling kernel called in a build without it"

func peaks256(x *float32, blocks int, peak, sum *float32)            { panic(unwritten) }
func peaks512(x *float32, blocks int, peak, sum *float32)            { panic(unwritten) }
func sum256(p *byte, x *float32, blocks int, totals *uint64)         { panic(unwritten) }
func sum512(p *byte, x *float32, blocks int, totals *uint64)         { panic(unwritten) }
func sums256(p *byte, x *float32, blocks int, totals, above *uint64) { panic(unwritten) }
func sums512(p *byte, x *float32, blocks int, totals, above *uint64) { panic(unwritten) }
func weigh256(p *byte, x *float32, n int, w *uint64)                 { panic(unwritten) }
func weigh512(p *byte, x *float32, n int, w *uint64)                 { panic(unwritten) }
func countAbove(x *float32, n int, limit float32) int                { panic(unwritten) }
func massAbove(x *float32, n int, limit float32) float32             { panic(unwritten) }
func between256(x *float32, n int, low, high float32, marks *uint64) { panic(unwritten) }
func between512(x *float32, n int, low, high float32, marks *uint64) { panic(unwritten) }
