//go:build cgo && (linux || windows)

package vulkan

/*
#cgo linux LDFLAGS: -ldl
#include "vk.h"
#include <stdlib.h>
*/
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/ullm/ullm/tensor"
)

// The binding keeps one table of functions for the process, so the loader is opened once, and instances are made one at
// a time.
var loader struct {
	sync.Mutex
	getProc unsafe.Pointer // vkGetInstanceProcAddr
}

// ErrNoVulkan: the machine has no Vulkan loader, or no driver behind it.
var ErrNoVulkan = errors.New("no Vulkan")

// ErrNoLayers: validation was asked for, and its layers are not installed.
var ErrNoLayers = errors.New("no validation layers")

// instance is a connection to the loader and, for tests, to the validation layers.
type instance struct {
	getProc unsafe.Pointer
	handle  vk.Instance
	log     *C.ullm_log // nil: not validated
}

const validationLayer = "VK_LAYER_KHRONOS_validation\x00"

func newInstance(validate bool) (*instance, error) {
	loader.Lock()
	defer loader.Unlock()
	if loader.getProc == nil {
		p := C.ullm_loader_open()
		if p == nil {
			return nil, fmt.Errorf("vulkan: %w: the loader (libvulkan.so.1 or vulkan-1.dll) is not installed; it comes with a GPU's driver, or as Debian's libvulkan1", ErrNoVulkan)
		}
		vk.SetGetInstanceProcAddr(p)
		if err := vk.Init(); err != nil {
			return nil, fmt.Errorf("vulkan: the loader lacks basic functions: %w", err)
		}
		loader.getProc = p
	}
	in := &instance{getProc: loader.getProc}
	info := vk.InstanceCreateInfo{
		SType: vk.StructureTypeInstanceCreateInfo,
		PApplicationInfo: &vk.ApplicationInfo{
			SType:            vk.StructureTypeApplicationInfo,
			PApplicationName: "ullm\x00",
			PEngineName:      "ullm\x00",
			ApiVersion:       vk.MakeVersion(1, 3, 0),
		},
	}
	if validate {
		in.log = C.ullm_log_new()
		info.PNext = unsafe.Pointer(C.ullm_log_chain(in.log))
		info.EnabledLayerCount, info.PpEnabledLayerNames = 1, []string{validationLayer}
		info.EnabledExtensionCount, info.PpEnabledExtensionNames = 2, []string{"VK_EXT_debug_utils\x00", "VK_EXT_validation_features\x00"}
	}
	r := vk.CreateInstance(&info, nil, &in.handle)
	if r != vk.Success {
		C.ullm_log_free(in.log)
		if r == vk.ErrorIncompatibleDriver {
			return nil, fmt.Errorf("vulkan: %w: the loader finds no driver", ErrNoVulkan)
		}
		if r == vk.ErrorLayerNotPresent || r == vk.ErrorExtensionNotPresent {
			return nil, fmt.Errorf("vulkan: %w: %s is not installed", ErrNoLayers, validationLayer[:len(validationLayer)-1])
		}
		return nil, result(r, "create an instance")
	}
	if err := vk.InitInstance(in.handle); err != nil {
		vk.DestroyInstance(in.handle, nil)
		C.ullm_log_free(in.log)
		return nil, fmt.Errorf("vulkan: the loader lacks basic functions: %w", err)
	}
	if validate {
		if r := C.ullm_log_start(in.getProc, in.raw(), in.log); r != 0 {
			vk.DestroyInstance(in.handle, nil)
			C.ullm_log_free(in.log)
			return nil, result(vk.Result(r), "listen to the validation layers")
		}
	}
	return in, nil
}

func (in *instance) raw() unsafe.Pointer { return unsafe.Pointer(in.handle) }

// close ends the instance; it fails with what the validation layers said.
func (in *instance) close() error {
	if in.log != nil {
		C.ullm_log_stop(in.getProc, in.raw(), in.log)
	}
	vk.DestroyInstance(in.handle, nil)
	if in.log == nil {
		return nil
	}
	defer C.ullm_log_free(in.log)
	return in.complaints()
}

// complaints takes the messages that the validation layers have left.
func (in *instance) complaints() error {
	if in.log == nil {
		return nil
	}
	const most = 1 << 12
	text := (*C.char)(C.malloc(most))
	defer C.free(unsafe.Pointer(text))
	var list []error
	seen := map[string]bool{}
	for C.ullm_log_take(in.log, text, most) != 0 {
		m := C.GoString(text)
		if !seen[m] && !excused(m) {
			list = append(list, fmt.Errorf("vulkan: validation: %s", m))
		}
		seen[m] = true
	}
	return errors.Join(list...)
}

type facts = C.ullm_physical

// physical is a physical device and all that is known of it.
type physical struct {
	handle vk.PhysicalDevice
	index  int // in the loader's order
	facts
}

// result turns a Vulkan result into an error that callers can act on.
func result(r vk.Result, what string) error {
	switch r {
	case vk.Success:
		return nil
	case vk.ErrorOutOfHostMemory, vk.ErrorOutOfDeviceMemory, vk.ErrorTooManyObjects:
		return fmt.Errorf("vulkan: %s: %w (result %d)", what, tensor.ErrOutOfMemory, r)
	case vk.ErrorDeviceLost:
		return fmt.Errorf("vulkan: %s: %w", what, tensor.ErrDeviceLost)
	}
	return fmt.Errorf("vulkan: %s: result %d (%w)", what, r, vk.Error(r))
}
