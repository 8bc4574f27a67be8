// Package shaders holds the compute shaders of the GPU backends, compiled. Sources are in glsl, their SPIR-V in spv, both
// committed, so that nobody needs a shader compiler to build or to test; glsl.sum says which source each binary was made
// from, and a test fails when they no longer match. Package gen makes them anew.
package shaders

import (
	"embed"
	"fmt"
)

// SPIRV names the compute shaders; each is glsl/NAME.comp and spv/NAME.spv, with the entry point main. Variants are made
// of one binary by specialization constants.
var SPIRV = []string{
	"attention", // constant 0: format of the cache
	"dot",       // 0: format of the weight; 1: tokens and 2: rows of a cluster; 3: flags
	"embed",     // 0: format of the table
	"linear",    // 0: format of the weight; 1: tokens and 2: rows of a cluster; 3: flags; 4: invocations
	"matrix",    // 0: invocations; 1: M, N and K of a tile; 2: tiles of a subgroup, and subgroups; 3: flags
	"norm",
	"prepare",
	"quantize",
	"rope", // 0: format of the cache
	"rows",
	"sample",
	"swiglu",
}

//go:embed spv/*.spv
var files embed.FS

// LoadSPIRV returns the binary of a shader in SPIRV.
func LoadSPIRV(name string) ([]byte, error) {
	b, err := files.ReadFile("spv/" + name + ".spv")
	if err != nil {
		return nil, fmt.Errorf("shaders: there is no shader %q", name)
	}
	return b, nil
}
