//go:build cgo && (linux || windows)

package backends

import (
	"os"
	"path/filepath"

	gpu "github.com/ullm/ullm/backends/vulkan"
	"github.com/ullm/ullm/tensor"
)

// vulkan runs on any GPU whose driver has Vulkan; auto leaves software ones alone, since the CPU backend is faster.
func vulkan() Backend {
	return Backend{
		Name:    "vulkan",
		Auto:    func(i tensor.Info) bool { return !gpu.Software(i) },
		Devices: gpu.Devices,
		Open: func(id int, o Options) (tensor.Device, error) {
			return gpu.Open(gpu.Options{Device: id, Fraction: o.MemoryUtilization, CacheDir: cacheDir(), Profile: o.Profile})
		},
	}
}

// cacheDir is where compiled pipelines are kept; "" where the user has no such place.
func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ullm")
}
