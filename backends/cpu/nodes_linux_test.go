package cpu

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestMemoryNodes reads a machine of three nodes: one without processors, one with none that we may use.
func TestMemoryNodes(t *testing.T) {
	dir := t.TempDir()
	for name, list := range map[string]string{"node0": "0-2,8\n", "node1": "\n", "node10": "5\n", "node2": "3-4\n"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "cpulist"), []byte(list), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := memoryNodes(dir, func(processor int) bool { return processor != 5 && processor != 1 })
	if want := []node{{0, []int{0, 2, 8}}, {2, []int{3, 4}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("nodes %v, want %v", got, want)
	}
}

// TestMachinePlaces places memory and threads as the machine's nodes allow, and asks the system where they are.
func TestMachinePlaces(t *testing.T) {
	nodes := machineNodes()
	if len(nodes) == 0 {
		t.Skip("Linux tells of no memory nodes here")
	}
	b, err := allocate(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer release(b)
	half := len(b) / 2
	last := nodes[len(nodes)-1]
	if err := setPolicy(b[half:], policyPreferred, []node{last}); errors.Is(err, unix.ENOSYS) {
		t.Skip("this system, as QEMU's user mode, has no mbind")
	} else if err != nil {
		t.Fatal(err)
	}
	b[half] = 1
	policy := func(at int) (policy int32) {
		const ofAddress = 2
		if _, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&policy)), 0, 0,
			uintptr(unsafe.Pointer(&b[at])), ofAddress, 0); errno != 0 {
			t.Fatal(errno)
		}
		return policy
	}
	if first, second := policy(0), policy(half); first != 0 || second != policyPreferred {
		t.Errorf("memory policies %d and %d, want 0 and %d", first, second, policyPreferred)
	}
	page, at := unsafe.Pointer(&b[half]), int32(-1)
	if _, _, errno := unix.Syscall6(unix.SYS_MOVE_PAGES, 0, 1, uintptr(unsafe.Pointer(&page)), 0, uintptr(unsafe.Pointer(&at)), 0); errno != 0 {
		t.Fatal(errno)
	}
	if int(at) != last.id {
		t.Errorf("the memory is at node %d, want %d", at, last.id)
	}
	if len(nodes) < 2 {
		return
	}
	// More than one node: the threads of a pool compute beside their pieces.
	p := newPlacement(nodes, 2*len(nodes))
	for thread, at := range p.thread {
		done := make(chan int)
		go func() {
			p.stay(thread)
			runtime.Gosched()
			var cpu, node uint32
			_, _, _ = unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), uintptr(unsafe.Pointer(&node)), 0)
			done <- int(node)
		}()
		if got := <-done; got != nodes[at].id {
			t.Errorf("thread %d runs at node %d, want %d", thread, got, nodes[at].id)
		}
	}
}
