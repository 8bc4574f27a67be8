package cpu

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nodesDir is where Linux describes memory nodes.
const nodesDir = "/sys/devices/system/node"

// memoryNodes lists the nodes under dir that have processors which allowed lets us use; none where that cannot be told.
func memoryNodes(dir string, allowed func(processor int) bool) (nodes []node) {
	paths, _ := filepath.Glob(filepath.Join(dir, "node[0-9]*", "cpulist"))
	for _, path := range paths {
		id, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "node"))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		n := node{id: id}
		for _, span := range strings.Split(strings.TrimSpace(string(text)), ",") {
			var lo, hi int
			if c, _ := fmt.Sscanf(span, "%d-%d", &lo, &hi); c == 1 {
				hi = lo
			} else if c != 2 {
				continue
			}
			for i := lo; i <= hi; i++ {
				if allowed(i) {
					n.processors = append(n.processors, i)
				}
			}
		}
		if len(n.processors) > 0 {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return a.id - b.id })
	return nodes
}

// machineNodes are the memory nodes of the processors that the process may use.
func machineNodes() []node {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	return memoryNodes(nodesDir, set.IsSet)
}

// bind keeps the calling thread on some processors. A refusal makes it slower, not wrong.
func bind(processors []int) {
	var set unix.CPUSet
	for _, i := range processors {
		set.Set(i)
	}
	_ = unix.SchedSetaffinity(0, &set)
}

// Memory policies of Linux's mbind.
const (
	policyPreferred  = 1
	policyInterleave = 3
)

// prefer puts the whole pages of b, untouched yet, on a node while that has room.
func prefer(b []byte, id int) { _ = setPolicy(b, policyPreferred, []node{{id: id}}) }

// interleave puts the whole pages of b, untouched yet, on the nodes in turn.
func interleave(b []byte, nodes []node) { _ = setPolicy(b, policyInterleave, nodes) }

// setPolicy sets where the pages that begin in b come to lie. A refusal (some containers forbid the call) matters no more
// than bind's.
func setPolicy(b []byte, policy uintptr, nodes []node) error {
	if len(b) == 0 {
		return nil
	}
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	from, to := (start+page-1)&^(page-1), (start+uintptr(len(b))+page-1)&^(page-1)
	if from >= to {
		return nil
	}
	var mask [1024 / 64]uint64
	for _, n := range nodes {
		if n.id < 1024 {
			mask[n.id/64] |= 1 << (n.id % 64)
		}
	}
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, from, to-from, policy, uintptr(unsafe.Pointer(&mask)), 1024+1, 0)
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}
