//go:build cgo && (linux || windows)

package vulkan

// #include "vk.h"
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	vk "github.com/vulkan-go/vulkan"

	"github.com/ullm/ullm/tensor"
)

// What every shader assumes of a device.
const (
	minInvocations = 256
	minShared      = 17 << 10
	minPush        = 128
)

// physicals lists the devices, those that can run the shaders first: discrete GPUs, integrated ones, virtual ones, software.
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
	for i, h := range handles[:n] {
		p := &physical{handle: h, index: i}
		C.ullm_physical_probe(in.getProc, in.raw(), unsafe.Pointer(h), &p.facts)
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("vulkan: %w: the loader finds no device", ErrNoVulkan)
	}
	order(list)
	return list, nil
}

// order puts the devices that one would choose first.
func order(list []*physical) {
	slices.SortStableFunc(list, func(a, b *physical) int { return a.rank() - b.rank() })
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
		{p.shuffle != 0 && p.leastSubgroup() >= groupChunks, fmt.Sprintf("shuffles in subgroups of %d or more", groupChunks)},
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

// leastSubgroup is how narrow a subgroup may be.
func (p *physical) leastSubgroup() int {
	if p.min_subgroup_size > 0 {
		return int(p.min_subgroup_size)
	}
	return int(p.subgroup_size)
}

// rank orders devices: discrete, integrated, virtual, other, software; then those that cannot be used.
func (p *physical) rank() int {
	kinds := []C.uint32_t{2, 1, 3, 0, 4}
	rank := slices.Index(kinds, p._type)
	if rank < 0 {
		rank = len(kinds)
	}
	if len(p.lacks()) > 0 {
		rank += len(kinds) + 1
	}
	return rank
}

// software tells whether a processor plays a GPU.
func (p *physical) software() bool { return p._type == 4 }

// reuse is how many rows of a weight a kernel's invocations take at once, and half of it how many query heads: each more is
// one read less of what they share. A GPU that is asked for more spills registers, or runs too few subgroups to hide latency
// (testdata/radv.tsv); a processor has its stack near by.
func (p *physical) reuse() int {
	if p.software() {
		return 8
	}
	return 4
}

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
	i := tensor.Info{
		Backend: "vulkan",
		Name:    p.name(),
		Detail: fmt.Sprintf("%s, %s, Vulkan %d.%d.%d", kinds[min(p._type, 4)],
			strings.TrimSpace(C.GoString(&p.driver[0])+" "+C.GoString(&p.driver_info[0])), v>>22, v>>12&0x3ff, v&0xfff),
		Lacks: strings.Join(p.lacks(), ", "),
	}
	if i.Lacks != "" {
		return i
	}
	i = tensor.Info{
		Backend:   i.Backend,
		Name:      i.Name,
		Detail:    i.Detail,
		Limits:    p.limits(),
		Shared:    p._type != 2,
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

// limits says what the driver allows and has.
func (p *physical) limits() []string {
	flags := func(list []feature) string {
		var has, not []string
		for _, f := range list {
			if f.on != 0 {
				has = append(has, f.name)
			} else {
				not = append(not, f.name)
			}
		}
		s := strings.Join(has, ", ")
		if len(not) > 0 {
			s += "; not " + strings.Join(not, ", ")
		}
		return s
	}
	weights := "copied through a staging buffer"
	if p.mapped() {
		weights = "written in place"
	}
	budget := "the driver does not tell what others use"
	if p.memory_budget != 0 {
		budget = "the driver tells what others use"
	}
	stamps := "none"
	if p.timestamp_bits > 0 {
		stamps = fmt.Sprintf("%d bits of %g ns", p.timestamp_bits, float64(p.timestamp_period))
	}
	return []string{
		fmt.Sprintf("workgroups of %d invocations with %d KiB of shared memory, grids of %d × %d", p.max_workgroup_invocations,
			p.max_shared_memory>>10, p.max_workgroup_count_x, p.max_workgroup_count_y),
		fmt.Sprintf("subgroups of %d (%d to %d), push constants of %d bytes", p.subgroup_size, p.min_subgroup_size, p.max_subgroup_size, p.max_push_constants),
		fmt.Sprintf("buffers of %d MiB in %d allocations, bindings of %d MiB", p.max_allocation>>20, p.max_allocations, p.max_storage_range>>20),
		fmt.Sprintf("weights are %s; %s; timestamps: %s", weights, budget, stamps),
		flags(p.features()),
	}
}

// feature is something that a device may have.
type feature struct {
	name string
	on   C.uint32_t
}

// features are those that better paths are chosen by.
func (p *physical) features() []feature {
	matrices, has := "cooperative matrices", C.uint32_t(0)
	if m := p.matrix(); m.m > 0 {
		matrices, has = fmt.Sprintf("cooperative matrices of %d × %d × %d", m.m, m.n, m.k), 1
	}
	return []feature{
		{"16-bit storage", p.storage16}, {"8-bit storage", p.storage8}, {"f16 arithmetic", p.float16}, {"int8 arithmetic", p.int8},
		{"integer dot product", p.integer_dot}, {matrices, has},
		{"subgroup size control", p.subgroup_control}, {"pipeline statistics", p.executable_properties},
	}
}
