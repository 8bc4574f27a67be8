//go:build cgo && linux

package vulkan_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/internal/radv"
	"github.com/ullm/ullm/tensor"
)

// openFamily opens RADV's device without hardware of a family; later Mesas have none.
func openFamily(t *testing.T, c *radv.Compiler, family string) tensor.Device {
	t.Helper()
	c.Enter(t, family)
	d, err := vulkan.Open(vulkan.Options{})
	if errors.Is(err, vulkan.ErrNoVulkan) {
		t.Skipf("RADV has no device without hardware (Mesa 25.0 is the last known to): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mostPerMatrix is how many instructions that are not scalar the inner loop of the matrix shader's tiled geometry may have for
// each product of tiles, which itself takes 32 clocks.
const mostPerMatrix = 13

// TestMatricesCompiledForAMD holds products by cooperative matrices as TestCompiledForAMD holds the rest. RADV has them since
// Mesa 23.3, for RDNA 3.
func TestMatricesCompiledForAMD(t *testing.T) {
	manifests := filepath.SplitList(os.Getenv("VK_DRIVER_FILES"))
	i := slices.IndexFunc(manifests, func(path string) bool { return strings.Contains(filepath.Base(path), "radeon") })
	if i < 0 {
		t.Skip("needs RADV of Mesa 24 or 25, named by VK_DRIVER_FILES")
	}
	c := radv.Of(t, manifests[i])
	// A family that a Mesa does not know ends the process: RDNA 3 was GFX1100 before it was NAVI31.
	var driver string
	var major int
	t.Run("version", func(t *testing.T) {
		d := openFamily(t, c, "NAVI21")
		driver = mesaOf(t, d, "NAVI21")
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if n, _ := fmt.Sscanf(driver, "Mesa %d", &major); n != 1 {
			t.Fatalf("%q is no Mesa", driver)
		}
	})
	if major < 24 {
		t.Skipf("needs RADV of Mesa 24 or 25; have %q", driver)
	}
	const family = "NAVI31"
	d := openFamily(t, c, family)
	if !vulkan.Matrices(d) {
		t.Fatalf("%s of %s has no cooperative matrices", family, driver)
	}
	var rows []radv.Row
	everyPipeline(t, d, []tensor.Format{tensor.BF16}, []int{1, 32, 64, 128, 512}, collect(t, c, family, &rows, lean))
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if !t.Failed() {
		holdTable(t, fmt.Sprintf("testdata/radv%d.tsv", major), "pipelines of Qwen3 0.6B and 8B in bf16, compiled by RADV of "+driver, rows)
	}
}

// lean checks the inner loop of a product by cooperative matrices.
func lean(s radv.Shader, kernel string) error {
	var threads, shape, geometry, flags int
	if n, _ := fmt.Sscanf(kernel, "matrix[%d %d %d %d]", &threads, &shape, &geometry, &flags); n != 4 {
		return nil
	}
	loop := s.Loop("v_wmma")
	products, other := 0, 0
	for _, code := range loop {
		switch {
		case strings.HasPrefix(code, "v_wmma"):
			products++
		case !strings.HasPrefix(code, "s_"):
			other++
		}
	}
	if products == 0 {
		return errors.New("there is no loop with products of matrices")
	}
	if split := flags&1 != 0; !split && other > mostPerMatrix*products {
		return fmt.Errorf("the inner loop has %d instructions beside %d products\n%s", other, products, strings.Join(loop, "\n"))
	}
	return nil
}
