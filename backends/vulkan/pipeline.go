//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"

	shadercode "github.com/ullm/ullm/shaders"
)

// numConstants is how many specialization constants a shader may have.
const numConstants = 5

// kernel is a shader with its specialization constants.
type kernel struct {
	name      string
	constants [numConstants]uint32
}

// String is "dot[4 1 4 256]"; few shaders have a fifth constant.
func (k kernel) String() string {
	if k.constants[4] == 0 {
		return fmt.Sprintf("%s%v", k.name, k.constants[:4])
	}
	return fmt.Sprintf("%s%v", k.name, k.constants)
}

// shaders are the pipelines that were made, which programs share and which live as long as the device.
type shaders struct {
	d     *device
	mu    sync.Mutex
	made  map[kernel]unsafe.Pointer
	cache unsafe.Pointer
}

func (s *shaders) init(d *device) error {
	s.d, s.made = d, map[kernel]unsafe.Pointer{}
	return s.loadCache()
}

// pipeline makes a kernel's pipeline on first use.
func (s *shaders) pipeline(k kernel) (unsafe.Pointer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.made[k]; p != nil {
		return p, nil
	}
	code, err := shadercode.LoadSPIRV(k.name)
	if err != nil {
		return nil, err
	}
	if err := s.d.Fault(fmt.Sprintf("vkCreateComputePipelines, %s", k)); err != nil {
		return nil, err
	}
	var p unsafe.Pointer
	constants := (*C.uint32_t)(unsafe.Pointer(&k.constants[0]))
	subgroup := C.uint32_t(0)
	if k.name == "matrix" {
		subgroup = C.uint32_t(s.d.matrix.subgroup)
	}
	// The binary is Go memory without pointers, held until the call returns.
	r := C.ullm_pipeline_create(s.d.raw, s.cache, unsafe.Pointer(&code[0]), C.size_t(len(code)), constants, C.uint32_t(len(k.constants)), subgroup, &p)
	if err := s.d.check(r, "compile "+k.String()); err != nil {
		return nil, err
	}
	s.made[k] = p
	return p, nil
}

func (s *shaders) destroy() {
	if s.cache != nil {
		s.saveCache()
	}
	for _, p := range s.made {
		C.ullm_pipeline_destroy(s.d.raw, p)
	}
	if s.cache != nil {
		C.ullm_cache_destroy(s.d.raw, s.cache)
	}
}
