// Command gen compiles the shaders of package shaders to SPIR-V and writes their sums. It wants glslangValidator 13 or
// later; spirv-val, where it is found, checks the results.
//
//	cd shaders && go run ./gen [-glslang path]
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ullm/ullm/shaders"
)

func main() {
	log.SetFlags(0)
	glslang := flag.String("glslang", "glslangValidator", "the compiler")
	flag.Parse()
	for _, name := range shaders.SPIRV {
		if err := compile(*glslang, name); err != nil {
			log.Fatalf("gen: %s: %v", name, err)
		}
	}
	sums, err := shaders.Sums(os.DirFS("."))
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("glsl.sum", []byte(sums), 0o644); err != nil {
		log.Fatal(err)
	}
}

// validator finds spirv-val, beside the compiler first: one that is older does not know what the compiler makes.
func validator(glslang string) (string, error) {
	if path, err := exec.LookPath(glslang); err == nil {
		if val, err := exec.LookPath(filepath.Join(filepath.Dir(path), "spirv-val")); err == nil {
			return val, nil
		}
	}
	return exec.LookPath("spirv-val")
}

func compile(glslang, name string) error {
	out := filepath.Join("spv", name+".spv")
	text, err := exec.Command(glslang, "--target-env", "vulkan1.1", "-V", "-Iglsl", "-o", out, filepath.Join("glsl", name+".comp")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	val, err := validator(glslang)
	if err != nil {
		return nil
	}
	if text, err := exec.Command(val, "--target-env", "vulkan1.1", out).CombinedOutput(); err != nil {
		return fmt.Errorf("spirv-val: %w\n%s", err, text)
	}
	return nil
}
