package shaders

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"sort"
	"strings"
)

// Sums is the content of glsl.sum for a tree with the folders glsl and spv: a line for each shader with the hash of its
// source and of all shared headers, and the hash of its binary.
func Sums(tree fs.FS) (string, error) {
	headers, err := fs.Glob(tree, "glsl/*.glsl")
	if err != nil {
		return "", err
	}
	sort.Strings(headers)
	var b strings.Builder
	for _, name := range SPIRV {
		source := sha256.New()
		for _, path := range append([]string{"glsl/" + name + ".comp"}, headers...) {
			text, err := fs.ReadFile(tree, path)
			if err != nil {
				return "", fmt.Errorf("shaders: %w", err)
			}
			fmt.Fprintf(source, "%s %d\n", path, len(text))
			source.Write(text)
		}
		binary, err := fs.ReadFile(tree, "spv/"+name+".spv")
		if err != nil {
			return "", fmt.Errorf("shaders: %w", err)
		}
		fmt.Fprintf(&b, "%s %x %x\n", name, source.Sum(nil), sha256.Sum256(binary))
	}
	return b.String(), nil
}
