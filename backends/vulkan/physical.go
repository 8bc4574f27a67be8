//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"sort"
	"strings"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/ullm/ullm/tensor"
)

// What every shader assumes of a device.
const (
	minInvocations = 256
	minShared      = 16 << 10
	minPush        = 128
)

// physicals lists the devices that can run the shaders. An error says why none of those found can.
func (in *instance) physicals() ([]*physical, error) {
	loader.Lock()
	defer loader.Unlock()
	var n uint32
	if r := vk.EnumeratePhysicalDevices(in.handle, &n, nil); r != vk.Success {
		return nil, result(r, "list devices")
	}
	handles := make([]vk.PhysicalDevice, n)
	if r := vk.EnumeratePhysicalDevices(in.handle, &n, handles); r != vk.Success && r != vk.Incomplete {
		return nil, result(r, "list devices")
	}
	var list []*physical
	var why []string
	for i, h := range handles[:n] {
		p := &physical{handle: h, index: i}
		C.ullm_physical_probe(in.getProc, in.raw(), unsafe.Pointer(h), &p.facts)
		if lacks := p.lacks(); len(lacks) > 0 {
			why = append(why, fmt.Sprintf("%s lacks %s", p.name(), strings.Join(lacks, ", ")))
			continue
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		if len(why) == 0 {
			return nil, fmt.Errorf("vulkan: %w: the loader finds no device", ErrNoVulkan)
		}
		return nil, fmt.Errorf("vulkan: no usable device: %s", strings.Join(why, "; "))
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].rank() < list[j].rank() })
	return list, nil
}

// lacks lists what the shaders need and the device has not.
func (p *physical) lacks() (list []string) {
	version := uint32(p.api_version)
	for _, c := range []struct {
		ok   bool
		what string
	}{
		{version >= vk.MakeVersion(1, 1, 0), "Vulkan 1.1"},
		{p.queue_family != ^C.uint32_t(0), "a queue that computes"},
		{p.int64 != 0, "64-bit integers in shaders"},
		{p.buffer_address != 0, "buffer device addresses"},
		{p.max_workgroup_invocations >= minInvocations, fmt.Sprintf("workgroups of %d invocations", minInvocations)},
		{p.max_shared_memory >= minShared, fmt.Sprintf("%d bytes of shared memory", minShared)},
		{p.max_push_constants >= minPush, fmt.Sprintf("%d bytes of push constants", minPush)},
		{p.deviceType() >= 0, "memory"},
	} {
		if !c.ok {
			list = append(list, c.what)
			if c.what == "Vulkan 1.1" {
				return list // nothing else was asked
			}
		}
	}
	return list
}

// rank orders devices: discrete, integrated, virtual, other, software.
func (p *physical) rank() int {
	return slices.Index([]C.uint32_t{2, 1, 3, 0, 4}, p._type)
}

// software tells whether a processor plays a GPU.
func (p *physical) software() bool { return p._type == 4 }

func (p *physical) name() string { return C.GoString(&p.facts.name[0]) }

func (p *physical) has(kind int, flag vk.MemoryPropertyFlagBits) bool {
	return uint32(p.type_flags[kind])&uint32(flag) != 0
}

// deviceType is the memory type for weights, caches and scratch memory: on the device and, of those, reachable by the
// processor if it shares memory anyway. -1: there is none.
func (p *physical) deviceType() int {
	best, score := -1, -1
	for i := range int(p.memory_types) {
		if !p.has(i, vk.MemoryPropertyDeviceLocalBit) {
			continue
		}
		s := 0
		if uint32(p.type_flags[i])&^0xf != 0 {
			s -= 10 // protected, or a vendor's uncached kinds
		}
		heap := uint64(p.heap_size[p.type_heap[i]])
		mapped := p.has(i, vk.MemoryPropertyHostVisibleBit) && p.has(i, vk.MemoryPropertyHostCoherentBit)
		switch {
		case mapped && p._type != 2:
			s += 4 // integrated: no copy
		case mapped && heap >= 1<<30:
			s += 2 // a discrete GPU whose whole memory is in the processor's reach
		case !mapped:
			s += 2
		}
		if s > score {
			best, score = i, s
		}
	}
	return best
}

// mapped tells whether the processor reaches memory of deviceType by itself.
func (p *physical) mapped() bool {
	t := p.deviceType()
	return p.has(t, vk.MemoryPropertyHostVisibleBit) && p.has(t, vk.MemoryPropertyHostCoherentBit)
}

// hostType is the memory type for what passes between processor and device: coherent, and cached if there is such.
func (p *physical) hostType() int {
	best, score := -1, -1
	for i := range int(p.memory_types) {
		if !p.has(i, vk.MemoryPropertyHostVisibleBit) || !p.has(i, vk.MemoryPropertyHostCoherentBit) || uint32(p.type_flags[i])&^0xf != 0 {
			continue
		}
		s := 0
		if p.has(i, vk.MemoryPropertyHostCachedBit) {
			s = 1
		}
		if s > score {
			best, score = i, s
		}
	}
	return best
}

// total and free are the bytes of the device's memory.
func (p *physical) total() int64 { return int64(p.heap_size[p.type_heap[p.deviceType()]]) }

func (p *physical) free() int64 {
	h := p.type_heap[p.deviceType()]
	if p.memory_budget == 0 {
		return int64(p.heap_size[h])
	}
	return max(0, int64(p.heap_budget[h])-int64(p.heap_usage[h]))
}

var kinds = []string{"other", "integrated", "discrete", "virtual", "software"}

func (p *physical) info() tensor.Info {
	v := uint32(p.api_version)
	detail := []string{kinds[min(p._type, 4)], strings.TrimSpace(C.GoString(&p.driver[0]) + " " + C.GoString(&p.driver_info[0])),
		fmt.Sprintf("Vulkan %d.%d.%d", v>>22, v>>12&0x3ff, v&0xfff), fmt.Sprintf("subgroups of %d", p.subgroup_size)}
	for _, f := range []struct {
		on   C.uint32_t
		what string
	}{{p.storage16, "16-bit storage"}, {p.float16, "f16"}, {p.integer_dot, "integer dot product"}, {p.cooperative_matrix, "cooperative matrices"},
		{p.subgroup_control, "subgroup size control"}, {p.memory_budget, "memory budget"}} {
		if f.on != 0 {
			detail = append(detail, f.what)
		}
	}
	i := tensor.Info{
		Backend:   "vulkan",
		Name:      p.name(),
		Detail:    strings.Join(detail, ", "),
		Memory:    p.total(),
		Free:      p.free(),
		Depth:     2,
		HeadRows:  64,
		Formats:   tensor.WeightFormats(),
		KVFormats: kvFormats(),
	}
	if p.software() {
		i.Threads = runtime.NumCPU()
	}
	return i
}

// kvFormats are the caches that attention reads, the default first.
func kvFormats() []tensor.Format {
	return []tensor.Format{tensor.F16, tensor.BF16, tensor.F32, tensor.Q8_0}
}
