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
)

// A pipeline cache file is the hash of what follows, and the driver's data. Its name has the device and the driver's own
// key for what its caches are good for; a new build's shaders are new entries. A file that is damaged is ignored, and a
// cache that cannot be read or written is none: it saves time and nothing else.

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
		if b, err := os.ReadFile(path); err == nil && len(b) > sha256.Size {
			if sum := sha256.Sum256(b[sha256.Size:]); bytes.Equal(sum[:], b[:sha256.Size]) {
				data = b[sha256.Size:]
			}
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
	b := make([]byte, sha256.Size+int(n))
	if C.ullm_cache_data(s.d.raw, s.cache, unsafe.Pointer(&b[sha256.Size]), &n) != 0 {
		return
	}
	b = b[:sha256.Size+int(n)]
	sum := sha256.Sum256(b[sha256.Size:])
	copy(b, sum[:])
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
