//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	shadercode "github.com/ullm/ullm/shaders"
)

// A pipeline cache file is a seal and the driver's data. Its name has the device and the driver's own key for what its caches
// are good for; the seal is a hash of the data and of the shaders of this build. A file that is damaged or another build's is
// ignored and replaced, and a cache that cannot be read or written is none: it saves time and nothing else.

// seal puts before the driver's data what unseal checks.
func seal(build, data []byte) []byte {
	sum := sha256.Sum256(append(build[:len(build):len(build)], data...))
	return append(sum[:], data...)
}

// unseal is the data in a file; nil if the file is not what seal made with these shaders.
func unseal(build, file []byte) []byte {
	if len(file) <= sha256.Size {
		return nil
	}
	if data := file[sha256.Size:]; bytes.Equal(seal(build, data), file) {
		return data
	}
	return nil
}

// build is what the shaders of this build are told by.
func build() []byte {
	h := sha256.New()
	for _, name := range shadercode.SPIRV {
		code, err := shadercode.LoadSPIRV(name)
		fmt.Fprintf(h, "%s %d %v\n", name, len(code), err)
		h.Write(code)
	}
	return h.Sum(nil)
}

// cachePath is "" where nothing is kept.
func (s *shaders) cachePath() string {
	p := s.d.physical
	if s.d.options.CacheDir == "" {
		return ""
	}
	uuid := C.GoBytes(unsafe.Pointer(&p.cache_uuid[0]), C.int(len(p.cache_uuid)))
	return filepath.Join(s.d.options.CacheDir, fmt.Sprintf("vulkan-%04x-%04x-%x-%x.cache", p.vendor, p.device, p.driver_version, uuid))
}

func (s *shaders) loadCache() error {
	var data []byte
	if path := s.cachePath(); path != "" {
		if file, err := os.ReadFile(path); err == nil {
			data = unseal(build(), file)
		}
	}
	if err := s.d.Fault("vkCreatePipelineCache"); err != nil {
		return err
	}
	return s.d.check(C.ullm_cache_create(s.d.raw, unsafe.Pointer(first(data)), C.size_t(len(data)), &s.cache), "make a pipeline cache")
}

// saveCache writes the file anew when pipelines were made, by way of another name, so that it is whole or not there.
func (s *shaders) saveCache() {
	path := s.cachePath()
	if path == "" || len(s.made) == 0 || s.d.Ledger.Stats().Lost {
		return
	}
	var n C.size_t
	if C.ullm_cache_data(s.d.raw, s.cache, nil, &n) != 0 || n == 0 {
		return
	}
	data := make([]byte, n)
	if C.ullm_cache_data(s.d.raw, s.cache, unsafe.Pointer(&data[0]), &n) != 0 {
		return
	}
	b := seal(build(), data[:n])
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b) {
		return
	}
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), "vulkan-*.tmp")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if closed := f.Close(); err != nil || closed != nil || os.Rename(f.Name(), path) != nil {
		_ = os.Remove(f.Name())
	}
}
