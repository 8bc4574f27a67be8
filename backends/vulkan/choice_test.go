//go:build cgo && (linux || windows)

package vulkan

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"
)

// fake is a device of a type (VkPhysicalDeviceType) that has all that is needed.
func fake(name string, kind uint32) *physical {
	p := &physical{}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&p.facts.name[0])), len(p.facts.name)-1), name)
	*(*uint32)(unsafe.Pointer(&p._type)) = kind
	p.api_version, p.int64, p.buffer_address = 1<<22|3<<12, 1, 1
	p.max_workgroup_invocations, p.max_shared_memory, p.max_push_constants = 1024, 32<<10, 256
	p.subgroup_size, p.shuffle = 32, 1
	p.memory_types, p.heaps = 1, 1
	p.type_flags[0] = 1
	p.heap_size[0] = 8 << 30
	return p
}

// TestOrder checks that discrete GPUs come before integrated ones, these before virtual ones and software, and all that can
// be used before those that cannot.
func TestOrder(t *testing.T) {
	poor := fake("poor", 2)
	poor.buffer_address = 0
	list := []*physical{fake("software", 4), poor, fake("strange", 99), fake("integrated", 1), fake("other", 0), fake("virtual", 3),
		fake("discrete", 2), fake("second", 2)}
	order(list)
	var names []string
	for _, p := range list {
		names = append(names, p.name())
	}
	if have, want := strings.Join(names, " "), "discrete second integrated virtual other software strange poor"; have != want {
		t.Errorf("the order is %s, want %s", have, want)
	}
	if i := poor.info(); i.Lacks != "buffer device addresses" || len(i.Formats) != 0 {
		t.Errorf("%+v", i)
	}
	if i := list[0].info(); i.Lacks != "" || i.Shared || Software(i) || i.Memory != 8<<30 || len(i.Limits) == 0 {
		t.Errorf("%+v", i)
	}
	if i := list[5].info(); !i.Shared || !Software(i) {
		t.Errorf("%+v", i)
	}
}

// TestNarrow checks that a device is refused where a cluster's invocations may not lie in one subgroup.
func TestNarrow(t *testing.T) {
	for _, c := range []struct {
		name           string
		size, min, can uint32
		lacks          bool
	}{
		{"as wide as a cluster", 8, 0, 1, false},
		{"64 or 32", 64, 32, 1, false},
		{"may be narrower than it says", 16, 4, 1, true},
		{"narrow", 4, 0, 1, true},
		{"without shuffles", 32, 32, 0, true},
	} {
		p := fake("gpu", 2)
		*(*uint32)(unsafe.Pointer(&p.subgroup_size)), *(*uint32)(unsafe.Pointer(&p.min_subgroup_size)) = c.size, c.min
		*(*uint32)(unsafe.Pointer(&p.shuffle)) = c.can
		if lacks := p.lacks(); len(lacks) > 0 != c.lacks {
			t.Errorf("%s: it lacks %q", c.name, lacks)
		}
	}
}

// TestMatrixShape checks which shape of cooperative matrices a device is used with, and that it has all that they need.
func TestMatrixShape(t *testing.T) {
	type shape [3]uint32
	for _, c := range []struct {
		name   string
		shapes []shape
		want   matrix
	}{
		{"AMD", []shape{{16, 16, 16}}, matrix{16, 16, 16, 32}},
		{"NVIDIA", []shape{{16, 16, 16}, {16, 8, 8}, {16, 8, 16}}, matrix{16, 8, 16, 32}},
		{"Intel", []shape{{8, 16, 16}, {8, 8, 16}}, matrix{8, 8, 16, 32}},
		{"software", []shape{{8, 8, 8}}, matrix{8, 8, 8, 32}},
		{"too large", []shape{{32, 32, 16}, {16, 16, 32}, {64, 64, 64}}, matrix{}},
		{"none", nil, matrix{}},
	} {
		able := func() *physical {
			p := fake("gpu", 2)
			p.cooperative_matrix, p.memory_model, p.float16, p.storage16, p.subgroup_control, p.full_subgroups = 1, 1, 1, 1, 1, 1
			p.min_subgroup_size = 32
			p.shapes = 0
			for i, s := range c.shapes {
				at := (*[3]uint32)(unsafe.Pointer(&p.shape[i]))
				*at = s
				p.shapes++
			}
			return p
		}
		if have := able().matrix(); have != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, have, c.want)
		}
		for i, lack := range []func(*physical){
			func(p *physical) { p.cooperative_matrix = 0 },
			func(p *physical) { p.memory_model = 0 },
			func(p *physical) { p.float16 = 0 },
			func(p *physical) { p.storage16 = 0 },
			func(p *physical) { p.full_subgroups = 0 },
			func(p *physical) { p.max_shared_memory = 16 << 10 },
			func(p *physical) { p.max_workgroup_invocations = 128 },
		} {
			p := able()
			lack(p)
			if have := p.matrix(); have != (matrix{}) {
				t.Errorf("%s, lack %d: %+v", c.name, i, have)
			}
		}
		p := able()
		if MatrixNever.on(p) != (matrix{}) || MatrixAlways.on(p) != c.want || MatrixFast.on(p) != c.want {
			t.Errorf("%s: options do not choose", c.name)
		}
		*(*uint32)(unsafe.Pointer(&p._type)) = 4
		if MatrixFast.on(p) != (matrix{}) || MatrixAlways.on(p) != c.want {
			t.Errorf("%s: in software it is left to tests", c.name)
		}
	}
}

// TestMemoryTypes checks where weights go: on a GPU that shares the processor's memory to what both reach, else to the
// device's own, and to all of that within reach only if it is all of it.
func TestMemoryTypes(t *testing.T) {
	const local, visible, coherent, cached = 1, 2, 4, 8
	for _, c := range []struct {
		name   string
		kind   uint32
		small  bool // the second heap, of the types 2 and 3, is a window of 256 MiB
		device int
		mapped bool
	}{
		{"integrated", 1, false, 2, true},
		{"discrete, with a window", 2, true, 0, false},
		{"software", 4, false, 2, true},
	} {
		p := fake(c.name, c.kind)
		p.memory_types, p.heaps = 3, 2
		p.type_flags[0], p.type_flags[1], p.type_flags[2] = local, visible|coherent|cached, local|visible|coherent
		p.type_heap[1] = 1
		if c.small {
			p.heaps, p.type_heap[2], p.heap_size[2] = 3, 2, 256<<20
		}
		if d := p.deviceType(); d != c.device || p.mapped() != c.mapped || p.hostType() != 1 {
			t.Errorf("%s: weights go to type %d (mapped: %t), what passes to %d; want %d (%t) and 1", c.name, d, p.mapped(), p.hostType(), c.device, c.mapped)
		}
	}
}

// TestAvailable checks what a budget and a share of the memory leave.
func TestAvailable(t *testing.T) {
	const gib = 1 << 30
	at := func(budget, usage int64) *physical {
		p := fake("gpu", 2)
		p.memory_budget = 1
		*(*int64)(unsafe.Pointer(&p.heap_budget[0])) = budget
		*(*int64)(unsafe.Pointer(&p.heap_usage[0])) = usage
		return p
	}
	for _, c := range []struct {
		name       string
		then, now  *physical
		held       int64
		fraction   float64
		want, slop int64
	}{
		{"nothing held", at(6*gib, 0), at(6*gib, 0), 0, 0, 6 * gib, 0},
		{"half of it", at(6*gib, 0), at(6*gib, 0), 0, 0.5, 3 * gib, 3 * gib / 32},
		{"half of what others left", at(6*gib, 2*gib), at(6*gib, 2*gib), 0, 0.5, 2 * gib, 2 * gib / 32},
		{"half of it is held", at(6*gib, 0), at(6*gib, 3*gib), 3 * gib, 0.5, 0, 3 * gib / 32},
		{"others took the rest", at(6*gib, 0), at(2*gib, 1*gib), 1 * gib, 0.9, 1 * gib, 0},
		{"the driver tells nothing", fake("gpu", 2), fake("gpu", 2), 6 * gib, 0, 2 * gib, 0},
		{"more than all is held", at(6*gib, 0), at(6*gib, 7*gib), 7 * gib, 0.9, 0, 0},
	} {
		if have := available(c.then, c.now, c.held, c.fraction); have < c.want || have > c.want+c.slop {
			t.Errorf("%s: %d bytes, want %d", c.name, have, c.want)
		}
	}
}

// TestSeal damages a cache file at every byte, and cuts it.
func TestSeal(t *testing.T) {
	file := seal([]byte("this build"), []byte("what the driver keeps"))
	if data := unseal([]byte("this build"), file); string(data) != "what the driver keeps" {
		t.Errorf("have %q", data)
	}
	if data := unseal([]byte("another build"), file); data != nil {
		t.Errorf("another build reads %q", data)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		if data := unseal([]byte("this build"), bad); data != nil {
			t.Errorf("byte %d is damaged, and it reads %q", i, data)
		}
		if data := unseal([]byte("this build"), file[:i]); data != nil {
			t.Errorf("cut to %d bytes, it reads %q", i, data)
		}
	}
	if a, b := build(), build(); len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("the build is %x, then %x", a, b)
	}
}
