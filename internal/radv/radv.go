// Package radv is for tests: it asks Mesa's compiler for AMD GPUs what it makes of pipelines, on machines without such a GPU.
// With RADV_FORCE_FAMILY in the environment the driver RADV offers a device that has nothing behind it but can compile, and
// VK_KHR_pipeline_executable_properties says what came out.
package radv

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ullm/ullm/internal/vklayer"
)

// Families are the GPUs that are compiled for: RDNA 2 as in the RX 6000 series, RDNA 3 as in the RX 7000 series.
var Families = []string{"NAVI21", "GFX1100"}

// Compiler is RADV behind a layer that listens to its compiler.
type Compiler struct {
	layer vklayer.Layer
	icd   string
}

// New finds the driver and builds the layer; the test skips where either is not to be had.
func New(t *testing.T) *Compiler {
	t.Helper()
	icds, err := filepath.Glob("/usr/share/vulkan/icd.d/radeon_icd*.json")
	if err != nil || len(icds) == 0 {
		t.Skip("needs Mesa's RADV (Debian: mesa-vulkan-drivers)")
	}
	return Of(t, icds[0])
}

// Of is the driver of a manifest, which may be of another Mesa than the system's.
func Of(t *testing.T, icd string) *Compiler {
	t.Helper()
	return &Compiler{vklayer.Build(t, "statistics", "internal/radv/testdata/statistics.c"), icd}
}

func (c *Compiler) output() string { return filepath.Join(c.layer.Dir, "statistics") }

// Enter makes a GPU of the family the only Vulkan device of this process until the test ends.
func (c *Compiler) Enter(t *testing.T, family string) {
	vklayer.Enter(t, append(c.layer.Environment(), "RADV_FORCE_FAMILY="+family, "VK_ICD_FILENAMES="+c.icd, "VK_DRIVER_FILES="+c.icd,
		"ULLM_VKSTATISTICS="+c.output())...)
}

// Last is what the compiler said of the pipeline made last.
func (c *Compiler) Last() (Shader, error) {
	b, err := os.ReadFile(c.output())
	if err != nil {
		return Shader{}, err
	}
	return parse(string(b))
}

// Shader is a pipeline as the compiler left it.
type Shader struct {
	statistics map[string]int
	Assembly   string
}

func parse(text string) (Shader, error) {
	head, assembly, ok := strings.Cut(text, "\n\n")
	if !ok {
		return Shader{}, fmt.Errorf("radv: there is no disassembly: the driver was built without one")
	}
	s := Shader{map[string]int{}, assembly}
	for line := range strings.SplitSeq(head, "\n") {
		name, value, _ := strings.Cut(line, "\t")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return Shader{}, fmt.Errorf("radv: %q is no statistic", line)
		}
		s.statistics[name] = int(n)
	}
	return s, nil
}
